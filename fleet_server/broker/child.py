"""A broker as a child process: started with a guard, watched, started again when it dies, never left behind.

House rules: the kernel ends the child when the server's process dies (PR_SET_PDEATHSIG). It is set by a small program
that then becomes the child, because code between fork and exec is unsafe in a process with threads. The signal is bound
to the *thread* that started the child, so one thread starts it, watches it and stays until `stop`.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

_RESTART_FIRST_S = 0.2
_RESTART_MAX_S = 30.0
_STEADY_S = 60.0
_POLL_S = 0.05
_LEAVE_S = 10.0
_HOPELESS = 2
_TERM_TIMEOUT_S = 5.0
_MAX_LOG_BYTES = 10 * 2**20

# prctl(PR_SET_PDEATHSIG = 1, SIGTERM = 15); a parent that died before that is known by another parent's id.
_GUARD = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 15)\n"
    "if os.getppid() != int(sys.argv[1]): sys.exit(1)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


class ChildFailedError(OSError):
    """The child did not begin to listen; the message holds the end of its log."""


class Child:
    """Keeps `command` running and `port` on loopback or `host` answering, from `start` to `stop`."""

    def __init__(self, command: Sequence[str], host: str, port: int, log_path: Path) -> None:
        self._command = tuple(command)
        self._host = host
        self._port = port
        self._log_path = log_path
        self._stopping = threading.Event()
        self._listening = threading.Event()
        self._known = threading.Event()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._restarts = 0

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return self._restarts

    def start(self, timeout_s: float = 15.0) -> None:
        """Start the child and wait until it listens.

        Raises:
            ChildFailedError: the port is taken, or it ended twice or did not listen within `timeout_s` seconds.
        """
        self._stopping.clear()
        # The broker of a server that was killed a moment ago may still be writing its state.
        free_by = time.monotonic() + _LEAVE_S
        while answers(self._host, self._port) and time.monotonic() < free_by:
            self._stopping.wait(_POLL_S)
        if answers(self._host, self._port):
            raise ChildFailedError(
                f"port {self._port} on {self._host} is taken by another program; choose another port"
            )
        self._thread = threading.Thread(target=self._watch, name=f"child-{Path(self._command[0]).name}", daemon=True)
        self._thread.start()
        self._known.wait(timeout_s)
        if not self._listening.is_set():
            self.stop()
            raise ChildFailedError(f"{self._command[0]} does not listen on port {self._port}: {self.log_tail()}")

    def stop(self) -> None:
        """End the child and the thread that watches it. Safe to call twice."""
        self._stopping.set()
        thread = self._thread
        if thread is not None:
            thread.join(2 * _TERM_TIMEOUT_S + 1)
        self._thread = None
        self._listening.clear()
        self._known.clear()

    def signal(self, number: int) -> bool:
        """Send a signal to the child; False where it does not run at the moment."""
        process = self._process
        if process is None or process.poll() is not None:
            return False
        process.send_signal(number)
        return True

    def log_tail(self, size_bytes: int = 600) -> str:
        """Return the end of the child's log."""
        try:
            return self._log_path.read_bytes()[-size_bytes:].decode(errors="replace").strip() or "its log is empty"
        except OSError as error:
            return f"its log cannot be read: {error}"

    def _watch(self) -> None:
        pause_s = _RESTART_FIRST_S
        while not self._stopping.is_set():
            began = time.monotonic()
            self._run_once()
            if self._stopping.is_set():
                return
            steady = time.monotonic() - began >= _STEADY_S
            pause_s = _RESTART_FIRST_S if steady else min(_RESTART_MAX_S, pause_s * 2)
            self._restarts += 1
            if self._restarts >= _HOPELESS and not self._listening.is_set():
                self._known.set()
            log.error("broker_ended", command=self._command[0], restart_in_s=pause_s, log=self.log_tail())
            self._stopping.wait(pause_s)

    def _run_once(self) -> None:
        """Run the child until it ends or is to stop."""
        if self._log_path.exists() and self._log_path.stat().st_size > _MAX_LOG_BYTES:
            self._log_path.replace(self._log_path.with_suffix(".old"))
        with self._log_path.open("ab") as sink:
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", _GUARD, str(os.getpid()), *self._command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        self._process = process
        try:
            while process.poll() is None and not self._stopping.wait(_POLL_S):
                if not self._listening.is_set() and answers(self._host, self._port):
                    self._listening.set()
                    self._known.set()
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_TERM_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait(_TERM_TIMEOUT_S)


def free_port(host: str) -> int:
    """Return a TCP port that nothing listens on at the moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def answers(host: str, port: int) -> bool:
    """Say whether something listens there."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False
