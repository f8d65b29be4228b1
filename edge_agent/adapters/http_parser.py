"""Bytes in, complete requests out, by httptools where it is installed and by h11 elsewhere.

House rules: both parsers give the same requests and the same refusals under every split of the bytes. After a refusal
or a request that ends the connection, further bytes are ignored. Requests that were complete before a refusal are
still answered.
"""

import importlib
from collections import deque
from typing import Any, Protocol

import h11

from edge_agent.adapters.http_message import HeadReader, HttpError, Limits, Request, too_large

try:
    httptools: Any = importlib.import_module("httptools")
except ImportError:  # no wheel on 32-bit boards
    httptools = None

_TRANSPORT_SLACK = 4
_MAX_CHUNK_BYTES = 256 * 1024


class RequestParser(Protocol):
    """An incremental parser of one connection's requests."""

    requests: deque[Request]
    error: HttpError | None

    @property
    def mid_request(self) -> bool:
        """Whether a part of a request was received."""

    @property
    def awaits_continue(self) -> bool:
        """Whether the peer waits for `100 Continue` before it sends a body."""

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes; complete requests are appended to `requests`, a refusal is left in `error`."""


def new_parser(limits: Limits) -> RequestParser:
    """Return a parser of the fastest library that is installed."""
    return H11Parser(limits) if httptools is None else HttptoolsParser(limits)


class HttptoolsParser:
    """llhttp by way of httptools."""

    def __init__(self, limits: Limits) -> None:
        self.requests: deque[Request] = deque()
        self.error: HttpError | None = None
        self._limits = limits
        self._heads = HeadReader(limits)
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._request: Request | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._head_bytes = 0
        self._ended = False
        self._begun = False

    @property
    def mid_request(self) -> bool:
        """See `RequestParser`."""
        return self._begun

    @property
    def awaits_continue(self) -> bool:
        """See `RequestParser`."""
        return self._request is not None and not self._body_bytes and "expect" in self._request.headers

    def feed(self, data: bytes | memoryview) -> None:
        """See `RequestParser`."""
        if self._ended or self.error is not None:
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__ or error.__cause__
            if not isinstance(cause, HttpError):
                raise
            self.error = cause
        except httptools.HttpParserInvalidMethodError:
            self.error = HttpError(501, "the method is not known here")
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._ended:
                self.error = HttpError(400, f"no valid HTTP/1.1 request: {error}")
        if self._begun and self._request is None and self.error is None:
            # A single endless line never reaches a callback; this bounds what the library gathers.
            if self._head_bytes > _TRANSPORT_SLACK * self._limits.head_bytes:
                self.error = HttpError(431, f"the request's head is over the limit of {self._limits.head_bytes} bytes")
        else:
            self._head_bytes = 0

    def on_message_begin(self) -> None:
        """Called by the library at a request's first byte."""
        if self._ended:
            raise HttpError(400, "bytes after the last request of a connection")
        self._begun = True
        self._target = b""
        self._headers = []
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Called by the library with pieces of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the library with each header."""
        self._headers.append((name, value or b""))

    def on_headers_complete(self) -> None:
        """Called by the library at the end of the head."""
        method = self._parser.get_method().decode("latin-1")
        version = self._parser.get_http_version()
        self._request = self._heads.read(method, self._target, version, self._headers)

    def on_body(self, data: bytes) -> None:
        """Called by the library with pieces of the body, chunks already undone."""
        self._body_bytes += len(data)
        if self._request is not None and self._body_bytes > self._limits.body_bytes:
            raise too_large(self._request.path, self._limits)
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Called by the library at a request's last byte."""
        request, self._request = self._request, None
        self._begun = False
        if request is None:
            return
        request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._ended = not request.keep_alive
        self.requests.append(request)


class H11Parser:
    """h11, a fresh connection object for each request, since it is used for parsing alone."""

    def __init__(self, limits: Limits) -> None:
        self.requests: deque[Request] = deque()
        self.error: HttpError | None = None
        self._limits = limits
        self._heads = HeadReader(limits)
        self._connection = self._fresh()
        self._request: Request | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._ended = False

    @property
    def mid_request(self) -> bool:
        """See `RequestParser`."""
        return self._request is not None or bool(self._connection.trailing_data[0])

    @property
    def awaits_continue(self) -> bool:
        """See `RequestParser`."""
        return self._request is not None and not self._body_bytes and "expect" in self._request.headers

    def feed(self, data: bytes | memoryview) -> None:
        """See `RequestParser`."""
        if self._ended or self.error is not None or not data:
            return
        try:
            self._connection.receive_data(bytes(data))
            while self._step():
                pass
        except HttpError as error:
            self.error = error
        except h11.RemoteProtocolError as error:
            self.error = HttpError(error.error_status_hint, f"no valid HTTP/1.1 request: {error}")

    def _fresh(self) -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=_TRANSPORT_SLACK * self._limits.head_bytes)

    def _step(self) -> bool:
        """Handle one event; False where more bytes are needed."""
        event = self._connection.next_event()
        if isinstance(event, h11.Request):
            method, version = event.method.decode("latin-1"), event.http_version.decode("latin-1")
            self._request = self._heads.read(method, event.target, version, list(event.headers))
            self._body, self._body_bytes = [], 0
            return True
        if self._request is not None and isinstance(event, h11.Data):
            self._body_bytes += len(event.data)
            if self._body_bytes > self._limits.body_bytes:
                raise too_large(self._request.path, self._limits)
            self._body.append(bytes(event.data))
            return True
        if isinstance(event, h11.EndOfMessage):
            self._finish_request()
            rest = self._connection.trailing_data[0]
            self._connection = self._fresh()
            if rest and not self._ended:
                self._connection.receive_data(rest)
            return bool(rest) and not self._ended
        return False

    def _finish_request(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            request.body = b"".join(self._body)
            self._ended = not request.keep_alive
            self.requests.append(request)
