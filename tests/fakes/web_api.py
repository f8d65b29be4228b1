"""A fake of the server's REST API over real HTTP on loopback: for the command's and the page's tests, and to look at.

Run by itself, `python -m tests.fakes.web_api [port]`, it serves the page with a small fleet that moves.
"""

import json
import mimetypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from email.policy import HTTP
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fleet_server.api.security import PAGE_POLICY
from tests.fakes.web_routes import ROUTES, FakeFleet, ProblemError, full_fleet

KEY = "el_test_key"
SESSION = "a-session"
STATIC = Path(__file__).parents[2] / "fleet_server" / "web" / "static"


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        """Say nothing: a test's output is its own."""

    def _answer(self) -> None:
        split = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        try:
            body = self._body()
            if split.path.startswith("/api/v1/"):
                self._api(split.path.removeprefix("/api/v1"), query, body)
            else:
                self._page(split.path, query)
        except ProblemError as problem:
            self._send(problem.status, json.dumps(problem.body).encode(), "application/problem+json")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _body(self) -> Any:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/"):
            message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + data)
            heads = [part.get_params(header="content-disposition") for part in message.iter_parts()]
            return [(dict(head)["name"], dict(head).get("filename")) for head in heads]
        return json.loads(data) if data else None

    def _api(self, path: str, query: dict[str, str], body: Any) -> None:
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get("session")
        if self.headers.get("Authorization") != f"Bearer {KEY}" and (cookie is None or cookie.value != SESSION):
            raise ProblemError(401, "not signed in", "the API key or the session is missing or not known here")
        fleet = self.server.fleet
        fleet.calls.append((str(self.command), path, query, body))
        if path == "/stream":
            self._stream()
            return
        for method, pattern, answer in ROUTES:
            if method == self.command and (match := pattern.fullmatch(path)):
                status, found = answer(fleet, query, body, *match.groups())
                self._send(status, b"" if found is None else json.dumps(found).encode(), "application/json")
                return
        raise ProblemError(404, "no such route", f"{self.command} {path}")

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for kind, data in self.server.fleet.stream:
            self.wfile.write(f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode())
        while self.server.fleet.keep_streaming and not self.server.fleet.closing.wait(1.0):
            self.wfile.write(b": still here\n\n")

    def _page(self, path: str, query: dict[str, str]) -> None:
        if path == "/signin" and query.get("code") in self.server.fleet.codes:
            self.server.fleet.codes.discard(query["code"])
            self.send_response(303)
            self.send_header("Location", "/")
            self.send_header("Set-Cookie", f"session={SESSION}; HttpOnly; SameSite=Strict; Path=/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        file = STATIC / ("index.html" if path == "/" else path.removeprefix("/static/"))
        if STATIC not in file.resolve().parents or not file.is_file():
            raise ProblemError(404, "no such page", path)
        self._send(200, file.read_bytes(), mimetypes.guess_type(file.name)[0] or "application/octet-stream")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Security-Policy", PAGE_POLICY)
        self.end_headers()
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fleet: FakeFleet, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.fleet = fleet


@contextmanager
def serving(fleet: FakeFleet, port: int = 0) -> Iterator[str]:
    """Serve a fleet on loopback and yield the address."""
    server = _Server(fleet, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        fleet.closing.set()
        server.shutdown()
        thread.join(5)
        server.server_close()


if __name__ == "__main__":
    shown = full_fleet()
    shown.keep_streaming = True
    shown.codes |= {str(number) for number in range(100)}
    with serving(shown, int(sys.argv[1]) if len(sys.argv) > 1 else 8010) as address:
        print(f"{address}/signin?code=1")
        threading.Event().wait()
