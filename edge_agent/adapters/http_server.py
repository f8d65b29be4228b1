"""A small threaded HTTP/1.1 server on inherited listening sockets: one thread accepts, one serves each connection.

House rules: every wait has a deadline. A request that arrived is answered. Draining stops accepting at once, then every
answer says `Connection: close`, and idle connections may send once more until the drain's deadline. Threads beat
asyncio here (45 against 87 µs a request), and one client costs one thread.
"""

import contextlib
import logging
import math
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence

from edge_agent.adapters.http_connection import Connection, Handler, Refused
from edge_agent.adapters.http_message import Limits

_log = logging.getLogger(__name__)
_STACK_BYTES = 1024 * 1024
_ACCEPT_RETRY_S = 0.1


class HttpServer:
    """Serves `handler` on `listeners` until drained."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        handler: Handler,
        limits: Limits,
        refused: Refused = lambda _error: None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listeners = tuple(listeners)
        self._handler = handler
        self._limits = limits
        self._refused = refused
        self._clock = clock
        self._drain_reader, self._drain_writer = os.pipe()
        self._drain_deadline: float | None = None
        self._connections: dict[Connection, threading.Thread] = {}
        self._changed = threading.Condition()
        self._acceptor: threading.Thread | None = None
        self._draining = False

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    @property
    def draining(self) -> bool:
        """Whether `drain` was called."""
        return self._draining

    def start(self) -> None:
        """Begin to accept."""
        # 64 stacks of glibc's default 8 MiB would fill the worker's memory limit on their own.
        threading.stack_size(_STACK_BYTES)
        for listener in self._listeners:
            listener.setblocking(False)
        self._acceptor = threading.Thread(target=self._accept_forever, name="accept", daemon=True)
        self._acceptor.start()

    def drain(self, deadline_s: float) -> None:
        """Stop accepting now; open connections end with their next answer, idle ones within `deadline_s`."""
        with self._changed:
            if self._draining:
                return
            self._draining = True
            self._drain_deadline = self._clock() + deadline_s
            self._changed.notify_all()
        os.close(self._drain_writer)  # readable for every poll that includes the reader
        if self._acceptor is not None:
            self._acceptor.join()
        for listener in self._listeners:
            listener.close()

    def wait_drained(self, timeout_s: float) -> bool:
        """Wait until no connection is open, at most `timeout_s`; say whether it is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._connections, timeout_s)

    def close(self) -> None:
        """End at once whatever is still open."""
        self.drain(0.0)
        with self._changed:
            threads = list(self._connections.items())
        for connection, _thread in threads:
            connection.interrupt()
        for _connection, thread in threads:
            thread.join(1.0)
        os.close(self._drain_reader)

    def _accept_forever(self) -> None:
        poll = select.poll()
        poll.register(self._drain_reader, select.POLLIN)
        for listener in self._listeners:
            poll.register(listener, select.POLLIN)
        by_fd = {listener.fileno(): listener for listener in self._listeners}
        while not self._draining:
            for fd, _events in poll.poll():
                if fd in by_fd and self._await_room():
                    self._accept(by_fd[fd])

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _address = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker on the same listener was faster, or the peer has left
        except OSError as error:
            _log.error("accept_failed", extra={"error": str(error)})
            with self._changed:
                self._changed.wait(_ACCEPT_RETRY_S)  # out of file descriptors: do not spin
            return
        connection = Connection(sock, self._handler, self._limits, self, self._drain_reader)
        thread = threading.Thread(target=self._serve, args=(connection,), name="connection", daemon=True)
        with self._changed:
            self._connections[connection] = thread
        try:
            thread.start()
        except RuntimeError as error:  # no memory for a stack
            _log.error("thread_failed", extra={"error": str(error)})
            self._forget(connection)

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        except Exception:  # noqa: BLE001 - a bug ends this connection and is logged; the worker serves on
            _log.exception("connection_failed")
        finally:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        connection.close()
        with self._changed:
            self._connections.pop(connection, None)
            self._changed.notify_all()

    def _await_room(self) -> bool:
        """Wait until the newcomer may come, ending the connection that idles longest; False when draining.

        One that idles for less than `yield_s` is left alone: its client's next request may be on the way.
        """
        with self._changed:
            while not self._draining and len(self._connections) >= self._limits.connections:
                since, longest = min(
                    ((idle, item) for item in self._connections if (idle := item.idle_since) is not None),
                    key=lambda pair: pair[0],
                    default=(math.inf, None),
                )
                if longest is not None and self._clock() - since >= self._limits.yield_s:
                    longest.interrupt()
                self._changed.wait(_ACCEPT_RETRY_S)
            return not self._draining

    # What a connection asks of its server.

    def now(self) -> float:
        """Return the monotonic time in seconds."""
        return self._clock()

    def drain_deadline(self) -> float | None:
        """Return the monotonic time by which a draining server ends, None while it serves."""
        return self._drain_deadline

    def note_refused(self, error: Exception) -> None:
        """Hand a refusal by the HTTP layer to whoever counts them."""
        with contextlib.suppress(ValueError):
            self._refused(error)
