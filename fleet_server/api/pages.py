"""What a browser opens: signing in, the page, the API's documentation, and the plain words at the edge."""

from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse
from starlette.staticfiles import StaticFiles

from fleet_server.api.answers import Answer, Time
from fleet_server.api.context import COOKIE, Asker, Context
from fleet_server.services.auth import CODE_MS, SESSION_MS
from fleet_server.services.clock import now_ms
from fleet_server.web import STATIC

router = APIRouter(tags=["access"])
_SWAGGER = Path(__file__).parent / "static" / "swagger"


class CodeMade(Answer):
    """A one-time sign-in link."""

    code: str
    url: str
    expires: Time


class Healthy(Answer):
    """The server answers."""

    status: Literal["ok"]


@router.get("/healthz")
def healthz(context: Context) -> Healthy:
    """Say that the server answers and its database can be read."""
    context.auth.check_session("")
    return Healthy(status="ok")


class PemResponse(PlainTextResponse):
    """A certificate in PEM."""

    media_type = "application/x-pem-file"


@router.get("/ca.pem", response_class=PemResponse)
def ca_certificate(context: Context) -> PemResponse:
    """Return the certificate of the fleet's own authority; a token's pin says whether it is the right one."""
    return PemResponse(context.ca_pem)


@router.get("/signin", status_code=303, response_class=RedirectResponse)
def sign_in(code: Annotated[str, Query(max_length=200)], context: Context, request: Request) -> RedirectResponse:
    """Open a session by a one-time code, and go to the page."""
    session = context.auth.open_session(code)
    answer = RedirectResponse("/", status_code=303)
    answer.set_cookie(
        COOKIE,
        session,
        max_age=SESSION_MS // 1000,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/api/v1/signin-codes", status_code=201)
def make_code(context: Context, _asker: Asker) -> CodeMade:
    """Make a one-time sign-in link for a browser."""
    code = context.auth.make_code()
    return CodeMade.model_validate(
        {"code": code, "url": f"{context.url}/signin?code={code}", "expires": now_ms() + CODE_MS}
    )


@router.get("/docs", include_in_schema=False)
def docs(_asker: Asker) -> FileResponse:
    """Show the API's documentation; every file of it is this server's own."""
    return FileResponse(_SWAGGER / "docs.html", media_type="text/html")


@router.get("/openapi.json", include_in_schema=False)
def openapi(request: Request, _asker: Asker) -> JSONResponse:
    """Return the API's own description."""
    return JSONResponse(request.app.openapi())


def mount(app: FastAPI) -> None:
    """Mount the plain files: they hold no state and no secret, so they need no key."""
    app.mount("/docs", StaticFiles(directory=_SWAGGER), name="swagger")
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.mount("/", StaticFiles(directory=STATIC, html=True), name="page")
