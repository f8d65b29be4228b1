"""Requests by h11, where httptools has no wheel; see `http_parser` for the promise."""

from collections import deque

import h11

from edge_agent.adapters.http_message import HEAD_SLACK, HeadReader, HttpError, Limits, Request, too_large


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
        return h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_SLACK * self._limits.head_bytes)

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
