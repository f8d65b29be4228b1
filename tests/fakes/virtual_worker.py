"""A worker on virtual time: the same conversation as `tests.fakes.worker` has, without a process."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

from edge_agent.adapters.worker_process import WorkerGone, WorkerInput, WorkerProcess, WorkerSaid
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
    WindowUnderWay,
)
from tests.fakes.virtual import Cutter, World
from tests.fakes.worker import MODEL_FILE, Behaviour

_PIDS = itertools.count(50_000)
_REQUESTED = {"fail": (Reason.LOAD_FAILED, "does not load"), "golden": (Reason.GOLDEN_MISMATCH, "0.5 off")}


class VirtualWorker(WorkerProcess):
    """One worker; `put` takes what it says, until it or its supervisor is gone."""

    def __init__(self, number: int, world: World, cutter: Cutter, put: Callable[[WorkerInput], None]) -> None:
        self.number = number
        self._pid = next(_PIDS)
        self._world = world
        self._cutter = cutter
        self._put = put
        self.alive = True
        self.serves = False
        self._load = Load((), (), None, "", 1.0)  # type: ignore[arg-type]  # before the first load there is nothing
        self._models: list[tuple[LoadModel, Behaviour]] = []
        self._rows: dict[str, list[int]] = {}
        self._windows_at: float = 0.0
        self._copied_at: float = 0.0
        self._closed: dict[str, list[int]] = {}
        self._beats = 0
        self._at_work: tuple[int, ...] = ()
        self._since = 0.0

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def served(self) -> dict[str, int]:
        """What it serves: versions by model."""
        return {model.model: model.version for model, _ in self._models} if self.alive and self.serves else {}

    def send(self, command: Command) -> None:
        name = type(command).__name__.lower()
        self._cutter.at(f"{name}<")
        match command:
            case Load():
                self._begin_load(command)
            case Serve():
                self._after(max((one.serve_delay_s for _, one in self._models), default=0.0), self._serve)
            case Drain():
                self._after(0.05, self._drain)
            case Configure():
                pass
        self._cutter.at(f"{name}>")

    def kill(self) -> None:
        self.die(Reason.OUT_OF_MEMORY, "the worker was ended by SIGKILL")

    def die(self, reason: Reason, detail: str, *suspects: int) -> None:
        """End at once, as a signal or a crash does it, with these models at work."""
        suspects = suspects or self._at_work
        if self.alive:
            self.alive = self.serves = False
            self._world.after(0.01, lambda: self._put(WorkerGone(self.number, False, reason, detail, suspects)))

    def vanish(self) -> None:
        """End with the supervisor, whom nobody tells any more."""
        self.alive = self.serves = False

    def _after(self, delay_s: float, act: Callable[[], None]) -> None:
        self._world.after(delay_s, lambda: act() if self.alive else None)

    def _say(self, answer: Answer) -> None:
        self._put(WorkerSaid(self.number, answer))

    def _begin_load(self, load: Load) -> None:
        self._load = load
        self._models = [(m, Behaviour(**json.loads((Path(m.path) / MODEL_FILE).read_text()))) for m in load.models]
        delays = [one.load_delay_s if m.digest in load.prove else one.reload_delay_s for m, one in self._models]
        self._after(0.2 + sum(delays), self._loaded)

    def _loaded(self) -> None:
        for place, (model, behaviour) in enumerate(self._models):
            fate = behaviour.load if model.digest in self._load.prove else behaviour.reload
            match fate:
                case "crash":
                    return self.die(Reason.WORKER_CRASHED, "the worker was ended by SIGABRT", place)
                case "oom":
                    return self.die(Reason.OUT_OF_MEMORY, "the worker ended with status 1: MemoryError", place)
                case "hang":
                    self._at_work = (place,)
                    return None
                case "ok":
                    self._rows[model.model] = [0, 0]
                case _:
                    return self._say(LoadFailed(model.digest, *_REQUESTED[fate]))
        proven = [model.digest for model, _ in self._models if model.digest in self._load.prove]
        return self._say(Loaded(tuple(Proof(digest, 8, 0.0, 1.0, 10.0, 20.0, 1.0, 10.0, 12.0) for digest in proven)))

    def _serve(self) -> None:
        self.serves = True
        self._since = self._windows_at = self._copied_at = self._world.now
        self._say(Serving())
        self._beat()

    def _beat(self) -> None:
        age, oldest = self._world.now - self._since, 0.0
        beats = []
        for place, (model, behaviour) in enumerate(self._models):
            if 0 < behaviour.crash_after_s <= age:
                return self.die(Reason.WORKER_CRASHED, "the worker was ended by SIGABRT", place)
            if 0 < behaviour.silent_after_s <= age:
                return None
            if 0 < behaviour.stuck_after_s <= age:
                oldest, self._at_work = 3600.0, (place,)
            rows = self._rows[model.model]
            rows[0] += behaviour.rows_per_beat
            self._world.rows += behaviour.rows_per_beat
            sick = 0 < behaviour.errs_after_s <= age
            rows[1] += behaviour.rows_per_beat if sick else behaviour.errors_per_beat
            beats.append(ModelBeat(model.model, model.version, rows[0], rows[1], 0, 0.1, 0.2, 0.3, 0.9, 0, 0, 0))
        if self._world.now - self._windows_at >= self._load.settings.window_s:
            self._close_windows()
        if self._world.now - self._copied_at >= self._load.snapshot_s:
            self._copied_at = self._world.now
            self._tell_windows(WindowUnderWay)
        self._beats += 1
        grown = self._beats * sum(one.grows_mb for _, one in self._models)
        self._say(Beat(tuple(beats), oldest, 10.0 + grown, 40.0 + grown))
        return self._after(self._load.beat_s, self._beat)

    def _close_windows(self) -> None:
        self._windows_at = self._world.now
        self._tell_windows(WindowClosed)
        self._closed = {name: list(rows) for name, rows in self._rows.items()}

    def _tell_windows(self, kind: type[WindowClosed | WindowUnderWay]) -> None:
        for model, _ in self._models:
            (rows, errors), before = self._rows[model.model], self._closed.get(model.model, [0, 0])
            counts = WindowCounts(rows - before[0], errors - before[1], 0, (), (), (), (0,) * LATENCY_BUCKETS)
            self._say(kind(model.model, model.version, model.digest, 1, 2, counts))

    def _drain(self) -> None:
        self._close_windows()
        self._say(Drained())
        self.alive = self.serves = False
        self._world.after(0.01, lambda: self._put(WorkerGone(self.number, True, Reason.OK, "drained")))
