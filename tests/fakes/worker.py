"""A complete small worker without numpy: speaks the control protocol, answers HTTP, and misbehaves on demand.

Each fake bundle's model file is the JSON of a `Behaviour`; a real HTTP answer names the models served.
Run as: python -m tests.fakes.worker --control-fd N --listen-fd N --listen-fd N
"""

import argparse
import json
import os
import selectors
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_agent.adapters.marks import Marker
from edge_agent.contract.messages import Proof
from edge_agent.contract.states import Reason
from edge_agent.contract.windows import LATENCY_BUCKETS, WindowCounts
from edge_agent.core.control import (
    Answer,
    Beat,
    Command,
    Configure,
    Drain,
    Drained,
    Load,
    Loaded,
    LoadFailed,
    LoadModel,
    ModelBeat,
    Serve,
    Serving,
    WindowClosed,
    read_line,
    write_line,
)

MODEL_FILE = "model.bin"


@dataclass(frozen=True)
class Behaviour:
    """How a fake model behaves; `tag` makes a bundle differ. Delays in seconds."""

    tag: str = ""
    load: str = "ok"  # ok | fail | golden | crash | oom | hang
    reload: str = "ok"  # the same for loads without proof, after a restart
    load_delay_s: float = 0.0
    reload_delay_s: float = 0.0
    serve_delay_s: float = 0.0
    rows_per_beat: int = 5
    errors_per_beat: int = 0
    errs_after_s: float = 0.0  # from then on, every row is in error
    crash_after_s: float = 0.0
    silent_after_s: float = 0.0
    stuck_after_s: float = 0.0
    grows_mb: float = 0.0  # with each beat

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()


class FakeWorker:
    def __init__(self, control: socket.socket, listeners: list[socket.socket], marker: Marker) -> None:
        self._marker = marker
        self._control = control
        self._listeners = listeners
        self._load: Load | None = None
        self._models: list[tuple[LoadModel, Behaviour]] = []
        self._rows: dict[str, list[int]] = {}
        self._since = 0.0
        self._beats = 0
        self._threads: list[threading.Thread] = []
        self._selector = selectors.DefaultSelector()
        self._pause = threading.Event()

    def run(self) -> int:
        self._selector.register(self._control, selectors.EVENT_READ, "control")
        buffer, next_beat = b"", float("inf")
        while True:
            wait = None if next_beat == float("inf") else max(0.0, next_beat - time.monotonic())
            for key, _ in self._selector.select(wait):
                if key.data != "control":
                    self._answer(key.fileobj)  # type: ignore[arg-type]
                    continue
                data = self._control.recv(65536)
                if not data:
                    return 1
                buffer += data
                while b"\n" in buffer:
                    line, buffer = buffer.split(b"\n", 1)
                    if self._command(read_line(line)):
                        return 0
                    if self._since and next_beat == float("inf"):
                        next_beat = time.monotonic()
            if time.monotonic() >= next_beat:
                self._beat()
                assert self._load is not None
                next_beat = time.monotonic() + self._load.beat_s

    def _say(self, message: Answer) -> None:
        self._control.sendall(write_line(message))

    def _command(self, command: Command | Answer) -> bool:
        match command:
            case Load():
                self._do_load(command)
            case Serve():
                self._pause.wait(max((one.serve_delay_s for _, one in self._models), default=0.0))
                for listener in self._listeners:
                    listener.setblocking(False)
                    self._selector.register(listener, selectors.EVENT_READ, "listener")
                self._since = time.monotonic()
                self._say(Serving())
            case Configure():
                self._configured = command
            case Drain():
                self._drain()
                return True
            case _:
                raise AssertionError(command)
        return False

    def _do_load(self, load: Load) -> None:
        self._load = load
        proofs = []
        for place, model in enumerate(load.models):
            self._marker.set(place, 1)
            behaviour = Behaviour(**json.loads((Path(model.path) / MODEL_FILE).read_text()))
            proven = model.digest in load.prove
            self._pause.wait(behaviour.load_delay_s if proven else behaviour.reload_delay_s)
            match behaviour.load if proven else behaviour.reload:
                case "fail":
                    return self._say(LoadFailed(model.digest, Reason.LOAD_FAILED, "does not load"))
                case "golden":
                    return self._say(LoadFailed(model.digest, Reason.GOLDEN_MISMATCH, "0.5 off"))
                case "crash":
                    os.abort()
                case "oom":
                    print("MemoryError", file=sys.stderr, flush=True)
                    os._exit(1)
                case "hang":
                    self._pause.wait(3600)
                case _:
                    pass
            if proven:
                proofs.append(Proof(model.digest, 8, 0.0, 1.0, 10.0, 20.0, 1.0, 10.0, 12.0))
            self._models.append((model, behaviour))
            self._rows[model.model] = [0, 0]
            self._marker.set(place, 0)
        return self._say(Loaded(tuple(proofs)))

    def _beat(self) -> None:
        age = time.monotonic() - self._since
        beats = []
        oldest = 0.0
        for place, (model, behaviour) in enumerate(self._models):
            if 0 < behaviour.crash_after_s <= age:
                self._marker.set(place, 1)
                os.abort()
            if 0 < behaviour.silent_after_s <= age:
                self._pause.wait(3600)
            if 0 < behaviour.stuck_after_s <= age:
                self._marker.set(place, 1)
                oldest = 3600.0
            rows = self._rows[model.model]
            rows[0] += behaviour.rows_per_beat
            sick = 0 < behaviour.errs_after_s <= age
            rows[1] += behaviour.rows_per_beat if sick else behaviour.errors_per_beat
            beats.append(ModelBeat(model.model, model.version, rows[0], rows[1], 0, 0.1, 0.2, 0.3, 0.9, 0, 0, 0))
        self._beats += 1
        grown = self._beats * sum(one.grows_mb for _, one in self._models)
        self._say(Beat(tuple(beats), oldest, 10.0 + grown, 40.0 + grown))

    def _drain(self) -> None:
        for listener in self._listeners:
            self._selector.unregister(listener)
        for thread in self._threads:
            thread.join(5)
        for model, _ in self._models:
            rows, errors = self._rows[model.model]
            counts = WindowCounts(rows, errors, 0, (), (), (), (0,) * LATENCY_BUCKETS)
            self._say(WindowClosed(model.model, model.version, model.digest, 1, 2, counts))
        self._say(Drained())

    def _answer(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:  # the other worker was quicker
            return
        connection.setblocking(True)
        thread = threading.Thread(target=self._serve_one, args=(connection,))
        thread.start()
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]

    def _serve_one(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(5)
            connection.recv(65536)
            names = {model.model: model.version for model, _ in self._models}
            thresholds = {model.model: model.threshold for model, _ in self._models}
            configured = getattr(self, "_configured", None)
            thresholds |= dict(configured.thresholds) if configured else {}
            body = json.dumps({"models": names, "thresholds": thresholds, "pid": os.getpid()}).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--marks-fd", type=int, default=-1)
    parser.add_argument("--listen-fd", type=int, action="append", default=[])
    options = parser.parse_args()
    with socket.socket(fileno=options.control_fd) as control:
        listeners = [socket.socket(fileno=number) for number in options.listen_fd]
        return FakeWorker(control, listeners, Marker(options.marks_fd)).run()


if __name__ == "__main__":
    sys.exit(main())
