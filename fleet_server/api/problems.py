"""Errors as HTTP: one table from what services and the store raise to problem details (RFC 9457).

House rules: nothing else knows status codes of errors; a problem's title is its kind, its detail the error's own words.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from edge_agent.contract.codec import MalformedError
from fleet_server.services.errors import BrokerError, DeniedError, InvalidError, TooLargeError, UnequippedError
from fleet_server.services.throttles import ThrottledError
from fleet_server.store.errors import ConflictError, NotFoundError, UnavailableError
from fleet_server.store.pages import CursorError

_log = structlog.get_logger(__name__)
MEDIA_TYPE = "application/problem+json"
_RETRY_S = "5"
# What a multipart form adds to the files in it: headers of its parts, and the fields.
FORM_OVERHEAD_BYTES = 1024 * 1024


class UnauthenticatedError(Exception):
    """Nobody known asks."""


PROBLEMS: Mapping[type[Exception], HTTPStatus] = {
    UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    DeniedError: HTTPStatus.FORBIDDEN,
    ThrottledError: HTTPStatus.TOO_MANY_REQUESTS,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    TooLargeError: HTTPStatus.CONTENT_TOO_LARGE
    if hasattr(HTTPStatus, "CONTENT_TOO_LARGE")
    else HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    InvalidError: HTTPStatus.UNPROCESSABLE_ENTITY,
    MalformedError: HTTPStatus.UNPROCESSABLE_ENTITY,
    CursorError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnequippedError: HTTPStatus.NOT_IMPLEMENTED,
    BrokerError: HTTPStatus.SERVICE_UNAVAILABLE,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
    },
}
# What any route may answer, for its description: problem details by RFC 9457.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "The request was refused; nothing was changed.",
        "content": {MEDIA_TYPE: {"schema": _PROBLEM}},
    },
    "5XX": {
        "description": "503: the database or the broker is away; try again after `Retry-After`. 501: not equipped.",
        "content": {MEDIA_TYPE: {"schema": _PROBLEM}},
    },
}


def problem(status: HTTPStatus, detail: str, instance: str, **more: Any) -> JSONResponse:
    """Return a problem's response."""
    body = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail}
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = _RETRY_S
    return JSONResponse(body | {"instance": instance} | more, int(status), headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Have the application answer every error as a problem."""
    for kind, status in PROBLEMS.items():
        app.add_exception_handler(kind, _handler(status))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)


def _handler(status: HTTPStatus) -> Any:
    async def answer(request: Request, error: Exception) -> JSONResponse:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("request_unavailable", path=request.url.path, error=str(error))
        made = problem(status, str(error), request.url.path)
        if isinstance(error, ThrottledError):
            made.headers["Retry-After"] = str(error.retry_after_s)
        return made

    return answer


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """Say which fields are wrong; what was sent is not repeated, since it may hold a secret."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    fields = [{"at": ".".join(str(part) for part in item["loc"]), "message": item["msg"]} for item in found]
    detail = "; ".join(f"{item['at']}: {item['message']}" for item in fields) or "the request is malformed"
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, request.url.path, errors=fields)


async def _http(request: Request, error: Exception) -> JSONResponse:
    code, detail = (error.status_code, str(error.detail)) if isinstance(error, HTTPException) else (500, str(error))
    answer = problem(HTTPStatus(code), detail, request.url.path)
    if isinstance(error, HTTPException) and error.headers:
        answer.headers.update(error.headers)
    return answer


async def _bug(request: Request, error: Exception) -> JSONResponse:
    _log.error("request_failed", path=request.url.path, error=repr(error), exc_info=error)
    detail = "the server met a defect of its own; its log says more"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, request.url.path)
