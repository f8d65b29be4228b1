"""What a browser opens: the page, the API's documentation, and the plain words at the edge."""

from pathlib import Path
from typing import Literal

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from starlette.staticfiles import StaticFiles

from fleet_server.api.answers import Answer
from fleet_server.api.askers import Reader, limited
from fleet_server.api.context import Context
from fleet_server.services.throttles import Kind
from fleet_server.web import STATIC

router = APIRouter(tags=["server"])
_SWAGGER = Path(__file__).parent / "static" / "swagger"


class Healthy(Answer):
    """The server answers."""

    status: Literal["ok"]


@router.get("/healthz", dependencies=[limited(Kind.OPEN)])
def healthz(context: Context) -> Healthy:
    """Say that the server answers and its database can be read."""
    context.auth.check_session("")
    return Healthy(status="ok")


class PemResponse(PlainTextResponse):
    """A certificate in PEM."""

    media_type = "application/x-pem-file"


@router.get("/ca.pem", response_class=PemResponse, dependencies=[limited(Kind.OPEN)])
def ca_certificate(context: Context) -> PemResponse:
    """Return the certificate of the fleet's own authority; a token's pin says whether it is the right one."""
    return PemResponse(context.ca_pem)


@router.get("/docs", include_in_schema=False)
def docs(_asker: Reader) -> FileResponse:
    """Show the API's documentation; every file of it is this server's own."""
    return FileResponse(_SWAGGER / "docs.html", media_type="text/html")


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request, _asker: Reader) -> JSONResponse:
    """Return the API's own description."""
    return JSONResponse(request.app.openapi())


def mount(app: FastAPI) -> None:
    """Mount the plain files: they hold no state and no secret, so they need no key."""
    app.mount("/docs", StaticFiles(directory=_SWAGGER), name="swagger")
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.mount("/", StaticFiles(directory=STATIC, html=True), name="page")
