"""The REST API over httpx: authorization, pages, uploads, the event stream, and errors as `CommandError`."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet_server.cli.context import Context, context_path, load_context
from fleet_server.cli.failures import CommandError, Exit
from fleet_server.cli.problems import explain_problem

if TYPE_CHECKING:
    import httpx

API = "/api/v1"
PAGE_LIMIT = 200
TIMEOUT_S = 30.0
UPLOAD_TIMEOUT_S = 600.0

# Fields of a form; one of several values is sent once for each.
Fields = dict[str, str | list[str]]


class FleetClient:
    """Calls one server's REST API; every method raises `CommandError` with what, why and a command that helps."""

    def __init__(self, context: Context, http: "httpx.Client") -> None:
        self.context = context
        self._http = http

    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON at a path below /api/v1; parameters that are None are left out."""
        return self._call("GET", path, params=_given(params))

    def pages(self, path: str, *, most: int | None = None, **params: Any) -> list[dict[str, Any]]:
        """Return all items of a list, or the first `most`, following its cursors."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            limit = PAGE_LIMIT if most is None else min(PAGE_LIMIT, most - len(items))
            page = self.get(path, cursor=cursor, limit=limit, **params)
            items += page["items"]
            cursor = page.get("next")
            if cursor is None or (most is not None and len(items) >= most):
                return items if most is None else items[:most]

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send JSON (or nothing) and return the answer."""
        return self._call("POST", path, json=body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Change what the body names and return the answer."""
        return self._call("PATCH", path, json=body)

    def replace(self, path: str, body: Mapping[str, Any]) -> Any:
        """Put a document in the place of the one at a path."""
        return self._call("PUT", path, json=dict(body))

    def delete(self, path: str, **params: Any) -> Any:
        """Remove what is at a path; parameters that are None are left out."""
        return self._call("DELETE", path, params=_given(params))

    def upload(self, path: str, files: list[tuple[str, str, Path]], form: Fields) -> Any:
        """Send files as multipart parts of (field, name on the server, local path) with form fields."""
        return self._send_files("POST", path, files, form)

    def _send_files(self, method: str, path: str, files: list[tuple[str, str, Path]], form: Fields) -> Any:
        with ExitStack() as opened:
            parts = [
                (field, (name, opened.enter_context(local.open("rb")), "application/octet-stream"))
                for field, name, local in files
            ]
            return self._call(method, path, files=parts, data=dict(form), timeout=UPLOAD_TIMEOUT_S)

    def put(self, path: str, files: list[tuple[str, str, Path]], form: Fields) -> Any:
        """Send files as `upload` does, in the place of what is at the path."""
        return self._send_files("PUT", path, files, form)

    def stream(self) -> Iterator[tuple[str, Any]]:
        """Yield (event, data) of the server's event stream until the server ends it."""
        import httpx

        quiet = httpx.Timeout(TIMEOUT_S, read=None)
        try:
            with self._http.stream("GET", f"{API}/stream", timeout=quiet) as answer:
                if answer.is_error:
                    answer.read()
                    raise explain_problem(answer.status_code, "/stream", _json(answer))
                yield from read_events(answer.iter_lines())
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _call(self, method: str, path: str, **options: Any) -> Any:
        import httpx

        try:
            answer = self._http.request(method, API + path, **options)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if answer.is_error:
            raise explain_problem(answer.status_code, path, _json(answer))
        if not answer.content:
            return None
        body = _json(answer)
        if body is None:
            raise CommandError(
                f"{self.context.url} answered something else than JSON",
                f"{answer.headers.get('content-type', 'no content type')}: is it an Edgeloop server?",
                "edgeloop doctor",
            )
        return body

    def _unreachable(self, error: Exception) -> CommandError:
        known = context_path(os.environ)
        return CommandError(
            f"the server at {self.context.url} cannot be reached",
            f"{error} (the address is from $EDGELOOP_URL or {known})",
            "edgeloop up        # starts a server on this machine",
        )


def read_events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Parse server-sent events (WHATWG HTML, section 9.2); data that is not JSON is skipped."""
    kind, data = "message", ""
    for line in lines:
        if line == "":
            if data:
                with suppress(ValueError):
                    yield kind, json.loads(data)
            kind, data = "message", ""
        elif line.startswith("event:"):
            kind = line[6:].strip()
        elif line.startswith("data:"):
            data += line[5:].strip()


@contextmanager
def connect() -> Iterator[FleetClient]:
    """Open the client for the server that the context names.

    Raises:
        CommandError: no server is known, or its certificate file cannot be read.
    """
    import ssl

    import httpx

    context = load_context(os.environ)
    try:
        verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=context.ca) if context.ca else True
        if context.url.startswith("http://"):
            verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, and loads no certificates to speak no TLS
    except OSError as error:
        raise CommandError(
            f"the certificate {context.ca} cannot be read", str(error), "edgeloop up", Exit.CONFIGURATION
        ) from error
    headers = {"Authorization": f"Bearer {context.api_key}"} if context.api_key else {}
    # trust_env=False: a proxy of the environment must not see a fleet's key on the way to loopback.
    with httpx.Client(base_url=context.url, headers=headers, verify=verify, timeout=TIMEOUT_S, trust_env=False) as http:
        yield FleetClient(context, http)


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _json(answer: "httpx.Response") -> Any:
    try:
        return answer.json()
    except ValueError:
        return None
