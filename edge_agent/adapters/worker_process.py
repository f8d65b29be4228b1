"""A worker as a child process: spawned with limits and the listening sockets, spoken to over a socket pair.

House rules: one thread reads the worker's messages and its standard error and hands both on as inputs; the main loop
never waits for a worker. No code runs between fork and exec. The worker dies with its supervisor, since the control
socket closes with it. Standard error goes on to ours, and its end is kept to tell exhausted memory from a crash.
"""

import resource
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from edge_agent.adapters.marks import Marks
from edge_agent.contract import codec
from edge_agent.contract.states import Reason
from edge_agent.core.control import (
    MAX_LINE_BYTES,
    Answer,
    Command,
    Configure,
    Drain,
    Drained,
    Load,
    Serve,
    read_line,
    write_line,
)

_TAIL_BYTES = 4096
_SEND_TIMEOUT_S = 5.0
_ENVIRONMENT = {
    # onnxruntime 1.29 and later report to their vendor unless told not to before import.
    "ORT_DISABLE_TELEMETRY": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "MALLOC_ARENA_MAX": "1",
    "PYTHONUNBUFFERED": "1",
}
_OUT_OF_MEMORY_MARKS = (b"MemoryError", b"bad_alloc", b"Cannot allocate memory", b"Failed to allocate memory")


@dataclass(frozen=True, slots=True)
class WorkerSaid:
    """A message of worker number `worker`."""

    worker: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class WorkerGone:
    """Worker number `worker` ended; `orderly` after it had drained, else with the reason and a short account.

    `suspects` are the places, in its load, of the models that were at work at that moment.
    """

    worker: int
    orderly: bool
    reason: Reason
    detail: str
    suspects: tuple[int, ...] = ()


WorkerInput = WorkerSaid | WorkerGone


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What a worker gets: the command that starts it, its limit of data memory, and extra environment."""

    command: tuple[str, ...]
    memory_mb: float
    environment: Mapping[str, str]


class WorkerProcess:
    """One running worker, known by its number."""

    def __init__(self, number: int, child: "subprocess.Popen[bytes]", control: socket.socket) -> None:
        self.number = number
        self._child = child
        self._control = control

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    def send(self, command: Command) -> None:
        """Send a command; a worker that is gone or does not read is found by its reader or its deadline."""
        with suppress(OSError):
            self._control.sendall(write_line(command))

    def kill(self) -> None:
        """End the process at once; its reader reports the end."""
        with suppress(ProcessLookupError):
            self._child.kill()


def spawn(
    number: int, limits: WorkerLimits, listeners: Sequence[socket.socket], put: Callable[[WorkerInput], None]
) -> WorkerProcess:
    """Start a worker; its messages and its end arrive at `put`, from its reader's thread.

    Raises:
        OSError: no process or socket can be made.
    """
    ours, theirs = socket.socketpair()
    marks = Marks()
    with theirs:
        ours.settimeout(_SEND_TIMEOUT_S)
        command = [*limits.command, "--control-fd", str(theirs.fileno()), "--marks-fd", str(marks.fd)]
        for listener in listeners:
            command += ["--listen-fd", str(listener.fileno())]
        handed = (theirs.fileno(), marks.fd, *(listener.fileno() for listener in listeners))
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=tuple(one for one in handed if one >= 0),
                env=_ENVIRONMENT | dict(limits.environment),
            )
        except OSError:
            ours.close()
            marks.close()
            raise
    _limit(child.pid, limits)
    reader = _Reader(number, child, ours, marks, put)
    threading.Thread(target=reader.run, name=f"worker-{number}", daemon=True).start()
    return WorkerProcess(number, child, ours)


def _limit(pid: int, limits: WorkerLimits) -> None:
    """Bound the data memory, leave no core file, and let the kernel take a worker before the supervisor."""
    size = int(limits.memory_mb * 1024 * 1024)
    with suppress(OSError):  # the child may have ended already; its reader will say so
        resource.prlimit(pid, resource.RLIMIT_DATA, (size, size))
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        Path(f"/proc/{pid}/oom_score_adj").write_text("500")


class _Reader:
    """Reads one worker until its end."""

    def __init__(
        self,
        number: int,
        child: "subprocess.Popen[bytes]",
        control: socket.socket,
        marks: Marks,
        put: Callable[[WorkerInput], None],
    ) -> None:
        self._number = number
        self._child = child
        self._control = control
        self._marks = marks
        self._put = put
        self._line = bytearray()
        self._tail = bytearray()
        self._drained = False
        self._broke_protocol = ""

    def run(self) -> None:
        errors = self._child.stderr
        if errors is None:  # pragma: no cover - `spawn` always asks for the pipe
            raise AssertionError("a worker without standard error")
        with selectors.DefaultSelector() as selector, errors:
            selector.register(self._control, selectors.EVENT_READ, self._read_control)
            selector.register(errors, selectors.EVENT_READ, lambda: self._read_errors(errors))
            while selector.get_map():
                for key, _ in selector.select():
                    if not key.data():
                        selector.unregister(key.fileobj)
        status = self._child.wait()
        self._control.close()
        gone = replace(self._gone(status), suspects=self._marks.read())
        self._marks.close()
        self._put(gone)

    def _read_control(self) -> bool:
        """Take in what has arrived; `False` at the end of the stream."""
        try:
            data = self._control.recv(65536)
        except OSError:
            data = b""
        if not data:
            return False
        self._line += data
        while (end := self._line.find(b"\n")) >= 0:
            line = bytes(self._line[:end])
            del self._line[: end + 1]
            self._take(line)
        if len(self._line) > MAX_LINE_BYTES:
            self._refuse(f"a line of over {MAX_LINE_BYTES} bytes")
        return not self._broke_protocol

    def _take(self, line: bytes) -> None:
        try:
            message = read_line(line)
        except codec.MalformedError as error:
            self._refuse(str(error))
            return
        match message:
            case Load() | Serve() | Configure() | Drain():
                self._refuse(f"a worker does not send {type(message).__name__}")
            case _:
                self._drained = self._drained or isinstance(message, Drained)
                self._put(WorkerSaid(self._number, message))

    def _refuse(self, why: str) -> None:
        self._broke_protocol = why
        self._child.kill()

    def _read_errors(self, errors: IO[bytes]) -> bool:
        data = errors.read1(65536) if hasattr(errors, "read1") else errors.read(4096)
        if not data:
            return False
        sys.stderr.buffer.write(data)
        sys.stderr.buffer.flush()
        self._tail += data
        del self._tail[:-_TAIL_BYTES]
        return True

    def _gone(self, status: int) -> WorkerGone:
        if self._broke_protocol:
            detail = f"the worker broke the control protocol: {self._broke_protocol}"
            return WorkerGone(self._number, orderly=False, reason=Reason.WORKER_CRASHED, detail=detail)
        if status == 0 and self._drained:
            return WorkerGone(self._number, orderly=True, reason=Reason.OK, detail="drained")
        reason = classify_exit(status, bytes(self._tail))
        last = bytes(self._tail).decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
        detail = f"the worker {_ended(status)}" + (f": {last}" if last else "")
        return WorkerGone(self._number, orderly=False, reason=reason, detail=detail)


def classify_exit(status: int, tail: bytes) -> Reason:
    """Tell exhausted memory (killed by the kernel, or an allocation that failed) from a crash."""
    if status == -signal.SIGKILL or any(mark in tail for mark in _OUT_OF_MEMORY_MARKS):
        return Reason.OUT_OF_MEMORY
    return Reason.WORKER_CRASHED


def _ended(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
