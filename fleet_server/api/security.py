"""What every answer and every body passes: security headers, and limits on what is read.

Sources: OWASP Secure Headers; Content Security Policy Level 3; Trusted Types (W3C); RFC 6797.
"""

import contextlib
from collections.abc import Callable
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleet_server.api.problems import problem

SMALL_BODY_BYTES = 1024 * 1024
_UPLOADS = ("/versions", "/builds", "/releases")
_NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# Text becomes markup nowhere in the page's code, and with Trusted Types a browser would refuse if it did.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
# Swagger UI sets style attributes and markup; scripts stay this server's own there as well.
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
# Half a year; for this host alone, since what else is in its domain is not ours to say.
_STRICT_TRANSPORT = "max-age=15768000"
_KEPT_BY_BROWSERS = ("/static/", "/docs/")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


Refusal = tuple[HTTPStatus, str]


class BodyTooLargeError(Exception):
    """More of a body came than is taken here."""


class SecurityMiddleware:
    """Adds the headers, and ends a request whose body is over its limit.

    An upload may have `upload_bytes`, where `refuse_upload` (which may wait for the database) has nothing against who
    sends it: a body is read and spooled before any route is asked, and a stranger's must not fill the disk.
    """

    def __init__(self, app: ASGIApp, upload_bytes: int, refuse_upload: Callable[[Scope], Refusal | None]) -> None:
        self._app = app
        self._upload_bytes = upload_bytes
        self._refuse_upload = refuse_upload

    async def _limit(self, scope: Scope) -> tuple[int, Refusal]:
        """Return how many bytes a body may have, and what is answered when it has more."""
        limit, refusal = SMALL_BODY_BYTES, None
        if scope["path"].endswith(_UPLOADS) and scope["method"] == "POST":
            refusal = await run_in_threadpool(self._refuse_upload, scope)
            limit = self._upload_bytes if refusal is None else SMALL_BODY_BYTES
        too_large = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body here has {limit} bytes at most")
        return limit, refusal or too_large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        limit, (status, detail) = await self._limit(scope)
        seen, started, over = 0, False, False

        async def counted() -> Message:
            nonlocal seen, over
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                over = True
                raise BodyTooLargeError
            return message

        async def guarded(message: Message) -> None:
            nonlocal started
            if over and not started:
                return  # whatever the application makes of the cut body: the answer is ours, below
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers["Content-Security-Policy"] = _policy(path)
                if scope["scheme"] == "https":
                    headers["Strict-Transport-Security"] = _STRICT_TRANSPORT
                if not (path == "/" or path.startswith(_KEPT_BY_BROWSERS)):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        over = _declared(scope) > limit
        if not over:
            with contextlib.suppress(BodyTooLargeError):
                await self._app(scope, counted, guarded)
        if over and not started:
            over = False
            await problem(status, detail, path)(scope, receive, guarded)


def _policy(path: str) -> str:
    if path.startswith("/docs"):
        return _DOCS_POLICY
    return _NOTHING if path.startswith("/api/") else PAGE_POLICY


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
