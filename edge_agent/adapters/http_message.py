"""What the local API's HTTP layer speaks of: a request, an answer, a refusal; and the checks that every parser shares.

House rules: bytes are parsed by a library (see `http_parser`); what a library lets through and this server does not
understand is refused here, so that the answer is the same whichever library is installed. RFC 9110 and RFC 9112.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

_TARGET = re.compile(rb"[\x21-\x7e]*")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"})
# A library may gather this many times the limit before a head's end; what it then gives is measured exactly.
HEAD_SLACK = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection: sizes in bytes, times in seconds.

    With all `connections` taken, one that has idled for `yield_s` makes room for a newcomer.
    """

    head_bytes: int = 16 * 1024
    body_bytes: int = 1024 * 1024
    idle_s: float = 60.0
    request_s: float = 20.0
    send_s: float = 20.0
    yield_s: float = 1.0
    connections: int = 64


class HttpError(Exception):
    """A request that is answered by the HTTP layer itself; the connection ends after it."""

    def __init__(self, status: int, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.path = path


@dataclass(slots=True)
class Request:
    """One complete request. Header names are lower case; a repeated header's values are joined by a comma."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    keep_alive: bool
    body: bytes = b""

    def parameters(self) -> dict[str, str]:
        """Return the parameters of the query; of a repeated one the last."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = field(default=())


def begin_request(
    method: str, target: bytes, version: str, headers: list[tuple[bytes, bytes]], limits: Limits
) -> Request:
    """Check a request's head and return the request without its body.

    Raises:
        HttpError: a head that is malformed, too large, or asks for what is not offered.
    """
    if len(target) + sum(len(name) + len(value) + 4 for name, value in headers) > limits.head_bytes:
        raise HttpError(431, f"the request's head is over the limit of {limits.head_bytes} bytes")
    if version not in ("1.0", "1.1"):
        raise HttpError(505, f"HTTP {version} is not spoken here; expected 1.1")
    if method not in METHODS:
        raise HttpError(501, f"the method {method[:20]!r} is not known here")
    path, query = _split_target(target)
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip()
        if name in found and name in ("content-length", "host", "transfer-encoding"):
            raise HttpError(400, f"the header {name} stands twice", path=path)
        found[name] = f"{found[name]}, {value}" if name in found else value
    _check_headers(found, version, path, limits)
    return Request(method, path, query, found, _keeps_alive(found, version))


class HeadReader:
    """Reads the heads of one connection; a client that keeps it alive mostly repeats the same one."""

    __slots__ = ("_last", "_limits", "_request")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._last: tuple[str, bytes, str, list[tuple[bytes, bytes]]] | None = None
        self._request: Request | None = None

    def read(self, method: str, target: bytes, version: str, headers: list[tuple[bytes, bytes]]) -> Request:
        """See `begin_request`."""
        head = (method, target, version, headers)
        last = self._request
        if last is None or head != self._last:
            last = self._request = begin_request(method, target, version, headers, self._limits)
            self._last = head
        return Request(last.method, last.path, last.query, last.headers, last.keep_alive)


def _split_target(target: bytes) -> tuple[str, str]:
    if _TARGET.fullmatch(target) is None:
        raise HttpError(400, "the request's target has characters that must be percent-encoded")
    text = target.decode("ascii")
    if text.lower().startswith(("http://", "https://")):  # absolute form, RFC 9112 section 3.2.2
        text = "/" + text.split("://", 1)[1].partition("/")[2]
    if not text.startswith("/"):
        raise HttpError(400, "the request's target is no path; expected one that begins with '/'")
    path, _, query = text.partition("?")
    return unquote(path) if "%" in path else path, query


def _check_headers(headers: Mapping[str, str], version: str, path: str, limits: Limits) -> None:
    if version == "1.1" and "host" not in headers:
        raise HttpError(400, "the header Host is missing (RFC 9112 section 3.2)", path=path)
    if "expect" in headers and headers["expect"].lower() != "100-continue":
        raise HttpError(417, f"the expectation {headers['expect'][:40]!r} is not known here", path=path)
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked" or version == "1.0":
            raise HttpError(501, f"the transfer coding {coding[:40]!r} is not offered; expected chunked", path=path)
        if "content-length" in headers:
            raise HttpError(400, "Transfer-Encoding and Content-Length exclude each other", path=path)
    length = headers.get("content-length")
    if length is not None:
        if not (length.isascii() and length.isdigit() and len(length) <= 18):
            raise HttpError(400, f"Content-Length is {length[:20]!r}; expected a number of bytes", path=path)
        if int(length) > limits.body_bytes:
            raise too_large(path, limits)


def too_large(path: str, limits: Limits) -> HttpError:
    """Return the refusal of a body over the limit."""
    return HttpError(
        413, f"the body is over the limit of {limits.body_bytes} bytes; send fewer rows a request", path=path
    )


def _keeps_alive(headers: Mapping[str, str], version: str) -> bool:
    options = headers.get("connection", "").lower()
    if version == "1.0":
        return "keep-alive" in options
    return "close" not in options


def head_of(answer: Answer, *, keep_alive: bool) -> bytes:
    """Return the head of an answer, with Content-Length and, at the end of a connection, `Connection: close`.

    No Date is sent: a board without a network has no clock that would be worth it (RFC 9110 section 6.6.1).
    """
    if answer.status == 200 and keep_alive and not answer.headers:
        return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (
            answer.content_type.encode("latin-1"),
            len(answer.body),
        )
    lines = [
        f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, '')}",
        f"content-type: {answer.content_type}",
        f"content-length: {len(answer.body)}",
    ]
    lines.extend(f"{name}: {value}" for name, value in answer.headers)
    if not keep_alive:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


_PHRASES = {status.value: status.phrase for status in HTTPStatus}
