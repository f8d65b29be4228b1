"""The worker on virtual time holds the same conversation as the fake worker that is a process."""

import queue
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.adapters.worker_process import WorkerGone, WorkerInput, WorkerLimits, WorkerProcess, WorkerSaid, spawn
from edge_agent.contract.messages import AgentSettings
from edge_agent.core.control import Beat, Drain, Load, Loaded, LoadFailed, LoadModel, Serve, Serving
from tests.fakes.virtual import Cutter, World
from tests.fakes.virtual_worker import VirtualWorker
from tests.fakes.worker import MODEL_FILE, Behaviour

DIGEST = "0" * 64
Read = Callable[[], WorkerInput]


def talk(worker: WorkerProcess, read: Read, folder: Path) -> list[str]:
    """Load and prove one model, serve, drain; what the worker said, and how it ended."""
    load = Load((LoadModel("digits", 1, "fp32", DIGEST, str(folder)),), (DIGEST,), AgentSettings(), "dev-1", 0.05)
    worker.send(load)
    said: list[str] = []
    while True:
        match read():
            case WorkerGone(orderly=orderly, reason=reason):
                return [*said, f"gone {orderly} {reason}"]
            case WorkerSaid(answer=Beat(models)):
                if said[-1] != "Beat":
                    said.append("Beat")
                    assert [(one.model, one.infer_n, one.err_n) for one in models] == [("digits", 5, 1)]
                    worker.send(Drain(1.0))
            case WorkerSaid(answer=answer):
                said.append(type(answer).__name__)
                match answer:
                    case Loaded(proofs):
                        assert [proof.digest for proof in proofs] == [DIGEST]
                        worker.send(Serve())
                    case LoadFailed(digest, reason, detail):
                        said.append(f"{digest == DIGEST} {reason} {detail}")
                        worker.kill()
                    case Serving() | _:
                        pass


def real(folder: Path) -> list[str]:
    inputs: queue.SimpleQueue[WorkerInput] = queue.SimpleQueue()
    limits = WorkerLimits((sys.executable, "-m", "tests.fakes.worker"), 512, {})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker = spawn(1, limits, (listener,), inputs.put)
        return talk(worker, lambda: inputs.get(timeout=30), folder)


def virtual(folder: Path) -> list[str]:
    world, inputs = World(), list[WorkerInput]()

    def read() -> WorkerInput:
        while not inputs:
            world.fire()
        return inputs.pop(0)

    return talk(VirtualWorker(1, world, Cutter(), inputs.append), read, folder)


@pytest.mark.parametrize("load", ["ok", "fail", "golden", "crash", "oom"])
def test_both_say_the_same(load: str, tmp_path: Path) -> None:
    (tmp_path / MODEL_FILE).write_bytes(Behaviour(load=load, errors_per_beat=1).encode())
    said = real(tmp_path)
    assert said == virtual(tmp_path)
    assert said[-1].startswith("gone")
