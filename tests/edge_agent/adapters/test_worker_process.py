"""How the end of a worker is told, and how a child is bounded."""

import queue
import sys
from pathlib import Path

import pytest

from edge_agent.adapters.worker_process import WorkerGone, WorkerInput, WorkerLimits, WorkerSaid, classify_exit, spawn
from edge_agent.contract.messages import AgentSettings
from edge_agent.contract.states import Reason
from edge_agent.core.control import Load, Loaded


@pytest.mark.parametrize(
    ("status", "tail", "reason"),
    [
        (-9, b"", Reason.OUT_OF_MEMORY),
        (-6, b"terminate called after throwing an instance of 'std::bad_alloc'", Reason.OUT_OF_MEMORY),
        (1, b"MemoryError", Reason.OUT_OF_MEMORY),
        (-11, b"", Reason.WORKER_CRASHED),
        (1, b"ValueError: no", Reason.WORKER_CRASHED),
        (0, b"", Reason.WORKER_CRASHED),
    ],
)
def test_exits_are_told_apart(status: int, tail: bytes, reason: Reason) -> None:
    assert classify_exit(status, tail) is reason


def run(script: str, memory_mb: float = 200) -> tuple[WorkerInput, ...]:
    """Run a worker of a few lines; its inputs up to its end."""
    inputs: queue.SimpleQueue[WorkerInput] = queue.SimpleQueue()
    head = "import socket, sys\ncontrol = socket.socket(fileno=int(sys.argv[sys.argv.index('--control-fd') + 1]))\n"
    limits = WorkerLimits((sys.executable, "-c", head + script), memory_mb, {})
    worker = spawn(1, limits, (), inputs.put)
    worker.send(Load((), (), AgentSettings(), "dev"))
    found = []
    while True:
        found.append(inputs.get(timeout=20))
        if isinstance(found[-1], WorkerGone):
            return tuple(found)


def test_messages_arrive_and_a_drained_end_is_orderly() -> None:
    said = 'control.recv(9999)\ncontrol.sendall(b\'{"kind":"Loaded","body":{"proofs":[]}}\\n{"kind":"Drained",\')\n'
    said += "control.sendall(b'\"body\":{}}\\n')"
    first, _, gone = run(said)
    assert first == WorkerSaid(1, Loaded(()))
    assert gone == WorkerGone(1, orderly=True, reason=Reason.OK, detail="drained")


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        ("sys.exit('ValueError: it broke')", Reason.WORKER_CRASHED, "it broke"),
        ("import os; os.abort()", Reason.WORKER_CRASHED, "SIGABRT"),
        ("control.recv(9)\nbytearray(10**9)", Reason.OUT_OF_MEMORY, "MemoryError"),
        ("control.sendall(b'nonsense\\n')\ncontrol.recv(9**9)\ncontrol.recv(9)", Reason.WORKER_CRASHED, "protocol"),
        ('control.sendall(b\'{"kind":"Serve","body":{}}\\n\')\ninput()', Reason.WORKER_CRASHED, "Serve"),
        ("sys.exit(0)", Reason.WORKER_CRASHED, "status 0"),
    ],
)
def test_ends_are_explained(script: str, reason: Reason, words: str) -> None:
    gone = run(script)[-1]
    assert isinstance(gone, WorkerGone)
    assert (gone.orderly, gone.reason) == (False, reason)
    assert words in gone.detail


def test_a_worker_gets_no_core_file_and_dies_first(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(
        f"control.recv(9999)\nimport resource\nopen({str(out)!r}, 'w').write(repr((resource.getrlimit(4),"
        " resource.getrlimit(resource.RLIMIT_DATA), open('/proc/self/oom_score_adj').read().strip())))"
    )
    assert out.read_text() == repr(((0, 0), (200 * 2**20, 200 * 2**20), "500"))
