"""Requests by llhttp, by way of httptools; see `http_parser` for the promise."""

from collections import deque
from typing import Any

import httptools

from edge_agent.adapters.http_message import HEAD_SLACK, HeadReader, HttpError, Limits, Request, too_large


class HttptoolsParser:
    """llhttp by way of httptools."""

    def __init__(self, limits: Limits) -> None:
        self.requests: deque[Request] = deque()
        self.error: HttpError | None = None
        self._limits = limits
        self._heads = HeadReader(limits)
        self._parser: Any = httptools.HttpRequestParser(self)
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
            self._feed_on(data)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__ or error.__cause__
            if not isinstance(cause, HttpError):
                raise
            self.error = cause
        except httptools.HttpParserInvalidMethodError:
            self.error = HttpError(501, "the method is not known here")
        except httptools.HttpParserError as error:
            if not self._ended:
                self.error = HttpError(400, f"no valid HTTP/1.1 request: {error}")
        if self._begun and self._request is None and self.error is None:
            # A single endless line never reaches a callback; this bounds what the library gathers.
            if self._head_bytes > HEAD_SLACK * self._limits.head_bytes:
                self.error = HttpError(431, f"the request's head is over the limit of {self._limits.head_bytes} bytes")
        else:
            self._head_bytes = 0

    def _feed_on(self, data: bytes | memoryview) -> None:
        """Feed the library; an upgrade that is offered is passed over, as a server may (RFC 9110 section 7.8)."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # The library stops behind such a head, body unread, and tells how far it came: read it without the offer.
            method = self._parser.get_method()
            lines = [b"%s: %s" % pair for pair in self._headers if pair[0].lower() != b"upgrade"]
            head = b"\r\n".join((b"%s %s HTTP/1.1" % (method, self._target), *lines, b"", b""))
            self._parser = httptools.HttpRequestParser(self)
            self._feed_on(head + bytes(memoryview(data)[int(upgrade.args[0]) :]))

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
        """Called by the library at a request's last byte, or behind the head of one that offers an upgrade."""
        if self._parser.should_upgrade():
            return
        request, self._request = self._request, None
        self._begun = False
        if request is None:
            return
        request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._ended = not request.keep_alive
        self.requests.append(request)
