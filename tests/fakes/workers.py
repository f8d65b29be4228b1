"""A real worker process at the end of a socket pair, on real listeners: the supervisor's side, for tests."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from edge_agent.contract.messages import AgentSettings
from edge_agent.core.control import (
    Answer,
    Command,
    Drain,
    Drained,
    Load,
    Loaded,
    LoadFailed,
    LoadModel,
    Serve,
    Serving,
    read_line,
    write_line,
)
from tests.fakes.bundles import FakeBundle

T = TypeVar("T")
ROOT = Path(__file__).parents[2]


def listen_tcp() -> socket.socket:
    """Return a listener on a free port of loopback."""
    return socket.create_server(("127.0.0.1", 0), backlog=128)


def listen_unix(path: Path) -> socket.socket:
    """Return a listener on a Unix socket."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(128)
    return sock


class WorkerProcess:
    """One worker; `expect` reads its answers in order and keeps all that it passes over in `seen`."""

    def __init__(self, listeners: Sequence[socket.socket], *options: str, env: dict[str, str] | None = None) -> None:
        ours, theirs = socket.socketpair()
        fds = [theirs.fileno(), *(listener.fileno() for listener in listeners)]
        command = [sys.executable, "-m", "edge_agent.worker", "--control-fd", str(fds[0])]
        for fd in fds[1:]:
            command += ["--listen-fd", str(fd)]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", **(env or {})}
        self.process = subprocess.Popen([*command, *options], pass_fds=fds, cwd=ROOT, env=environment)
        theirs.close()
        self._sock = ours
        self._buffer = b""
        self.seen: list[Answer] = []

    def send(self, command: Command) -> None:
        """Send one command."""
        self._sock.sendall(write_line(command))

    def read(self, timeout_s: float = 30.0) -> Answer:
        """Return the worker's next answer of any kind."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            self._sock.settimeout(max(0.01, deadline - time.monotonic()))
            data = self._sock.recv(65536)
            if not data:
                raise EOFError("the worker closed its control socket")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        answer = read_line(line)
        self.seen.append(answer)  # type: ignore[arg-type]  # a worker sends answers alone
        return answer  # type: ignore[return-value]  # as above

    def expect(self, kind: type[T], timeout_s: float = 30.0) -> T:
        """Return the next answer of `kind`."""
        deadline = time.monotonic() + timeout_s
        while True:
            answer = self.read(deadline - time.monotonic())
            if isinstance(answer, kind):
                return answer

    def load(
        self,
        *bundles: FakeBundle,
        prove: bool = True,
        version: int = 1,
        settings: AgentSettings | None = None,
        timeout_s: float = 30.0,
    ) -> Loaded | LoadFailed:
        """Load bundles under their own model names and return the worker's answer."""
        models = tuple(LoadModel(b.manifest.model, version, b.manifest.variant, b.digest, str(b.path)) for b in bundles)
        digests = tuple(b.digest for b in bundles) if prove else ()
        self.send(Load(models, digests, settings or AgentSettings(), "dev-1", beat_s=0.1))
        while True:
            answer = self.read(timeout_s)
            if isinstance(answer, (Loaded, LoadFailed)):
                return answer

    def serve(self) -> None:
        """Let it serve."""
        self.send(Serve())
        self.expect(Serving)

    def drain(self, deadline_s: float = 5.0) -> int:
        """Drain it and return its exit status."""
        self.send(Drain(deadline_s))
        self.expect(Drained)
        return self.process.wait(10)

    def close(self) -> None:
        """Close the control socket and wait for the process, killing it where it does not end."""
        self._sock.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


@contextlib.contextmanager
def worker(listeners: Sequence[socket.socket], *options: str, **more: Any) -> Iterator[WorkerProcess]:
    """A worker process that is gone at the end of the block."""
    process = WorkerProcess(listeners, *options, **more)
    try:
        yield process
    finally:
        process.close()


def post(port: int, body: bytes, path: str = "/predict") -> tuple[int, Any]:
    """Send one POST on a connection of its own: (status, JSON)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def ask(sock: socket.socket, data: bytes) -> bytes:
    """Send a request and return `status connection body`."""
    sock.sendall(data)
    return read_answer(sock)


def read_answer(sock: socket.socket) -> bytes:
    """Read one answer as `status connection body`."""
    response = http.client.HTTPResponse(sock)
    response.begin()
    body = response.read()
    return f"{response.status} {response.headers.get('connection', '')} ".encode() + body


def request(body: bytes, path: str = "/predict") -> bytes:
    """Return a POST's bytes."""
    return f"POST {path} HTTP/1.1\r\nHost: d\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
