"""One connection of the local API: read, parse, answer, in the order of the requests.

House rules: sockets are non-blocking and every wait is a poll with a deadline: for the next request, for the rest of a
request, for room to send. The poll for a next request also wakes when the server begins to drain.
"""

import contextlib
import json
import logging
import select
import socket
from collections.abc import Callable
from typing import Protocol

from edge_agent.adapters.http_message import Answer, HttpError, Limits, Request, head_of
from edge_agent.adapters.http_parser import new_parser

_log = logging.getLogger(__name__)
_RECEIVE_BYTES = 64 * 1024
_LINGER_S = 0.5
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Handler = Callable[[Request], Answer]
Refused = Callable[[Exception], None]


class Host(Protocol):
    """What a connection asks of its server."""

    @property
    def draining(self) -> bool:
        """Whether answers must end their connections."""

    def now(self) -> float:
        """Return the monotonic time in seconds."""

    def drain_deadline(self) -> float | None:
        """Return the monotonic time by which a draining server ends, None while it serves."""

    def note_refused(self, error: Exception) -> None:
        """Count a refusal by the HTTP layer."""


class Connection:
    """One accepted socket; `serve` runs in its own thread."""

    def __init__(self, sock: socket.socket, handler: Handler, limits: Limits, host: Host, drain_fd: int) -> None:
        self._sock = sock
        self._handler = handler
        self._limits = limits
        self._host = host
        self._drain_fd = drain_fd
        self._parser = new_parser(limits)
        self._buffer = memoryview(bytearray(_RECEIVE_BYTES))
        self._poll = select.poll()
        self._watches_drain = True
        self._request_deadline = 0.0
        self.idle_since: float | None = host.now()

    def serve(self) -> None:
        """Answer requests until the peer, a deadline, a refusal or a drain ends the connection."""
        sock = self._sock
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll.register(sock, select.POLLIN)
        self._poll.register(self._drain_fd, select.POLLIN)
        with contextlib.suppress(ConnectionError, TimeoutError):
            while self._receive() and self._answer_all():
                pass

    def interrupt(self) -> None:
        """Make a waiting connection end; what has arrived is still answered. From any thread."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def _receive(self) -> bool:
        """Read what the peer sends next into the parser; False where the connection is over."""
        parser, now = self._parser, self._host.now()
        if parser.mid_request:
            deadline = self._request_deadline
        else:
            deadline = now + self._limits.idle_s
            self.idle_since = now
            self._request_deadline = deadline + self._limits.request_s
        if not self._wait_readable(deadline):
            if parser.mid_request:
                self._refuse(HttpError(408, f"the request was not complete after {self._limits.request_s:g} s"))
            return False
        count = self._sock.recv_into(self._buffer)
        self.idle_since = None
        if not count:
            return False
        if not parser.mid_request:
            self._request_deadline = self._host.now() + self._limits.request_s
        parser.feed(self._buffer[:count])
        if parser.awaits_continue and not parser.requests and parser.error is None:
            self._send(_CONTINUE)
        return True

    def _wait_readable(self, deadline: float) -> bool:
        while True:
            now = self._host.now()
            drain_deadline = self._host.drain_deadline()
            until = deadline if drain_deadline is None or self._parser.mid_request else min(deadline, drain_deadline)
            ready = self._poll.poll(max(0.0, until - now) * 1000)
            if not ready:
                return False
            fd = self._sock.fileno()
            if any(found == fd for found, _events in ready):
                return True
            if self._watches_drain:  # only the drain: wait on without it
                self._poll.unregister(self._drain_fd)
                self._watches_drain = False

    def _answer_all(self) -> bool:
        """Answer every complete request; False where the connection ends with that."""
        parser = self._parser
        while parser.requests:
            request = parser.requests.popleft()
            answer = self._handle(request)
            keep_alive = request.keep_alive and not (self._host.draining and not parser.requests)
            head = head_of(answer, keep_alive=keep_alive)
            self._send(head if request.method == "HEAD" else head + answer.body)
            if not keep_alive:
                self._linger()
                return False
        if parser.error is not None:
            self._refuse(parser.error)
            return False
        return True

    def _handle(self, request: Request) -> Answer:
        try:
            return self._handler(request)
        except Exception as error:  # noqa: BLE001 - a bug answers 500 and is logged; the worker serves on
            _log.exception("handler_failed")
            return _error_answer(500, f"the worker failed on this request: {type(error).__name__}")

    def _refuse(self, error: HttpError) -> None:
        self._host.note_refused(error)
        answer = _error_answer(error.status, error.message)
        self._send(head_of(answer, keep_alive=False) + answer.body)
        self._linger()

    def _send(self, data: bytes) -> None:
        sent = self._try_send(data)
        if sent == len(data):
            return
        view = memoryview(data)[sent:]
        room = select.poll()
        room.register(self._sock, select.POLLOUT)
        deadline = self._host.now() + self._limits.send_s
        while view:
            if not room.poll(max(0.0, deadline - self._host.now()) * 1000):
                raise TimeoutError("the peer does not read its answer")
            view = view[self._try_send(view) :]

    def _try_send(self, data: bytes | memoryview) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    def _linger(self) -> None:
        """Read on a little before the close.

        Unread bytes at a close make the system reset the connection, and the peer may lose the answer
        (RFC 9112 section 9.6).
        """
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
            deadline = self._host.now() + _LINGER_S
            poll = select.poll()
            poll.register(self._sock, select.POLLIN)
            while poll.poll(max(0.0, deadline - self._host.now()) * 1000) and self._sock.recv(_RECEIVE_BYTES):
                pass


def _error_answer(status: int, message: str) -> Answer:
    return Answer(status, json.dumps({"error": message}).encode())
