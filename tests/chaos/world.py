"""One simulated fleet: everything that happens follows from one seed.

While faults last, messages are lost, doubled and late, links break, and processes crash at any of their steps. Then it
is calm, and the fleet must come to rest.
"""

import gc
import os
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from edge_agent.contract.messages import Soak
from fleet_server.core.rollout_machine import Move
from fleet_server.core.rollout_policy import parse_policy
from fleet_server.services.errors import InvalidError
from fleet_server.services.rollouts import RolloutRequest
from fleet_server.store.errors import ConflictError, NotFoundError, UnavailableError
from tests.chaos.board import Flaw
from tests.chaos.broker import SimBroker
from tests.chaos.device import Device, capabilities
from tests.chaos.ground import MODELS, VERSIONS, seeded_chance
from tests.chaos.policies import draw_policy
from tests.chaos.server import SimServer
from tests.chaos.timeline import Timeline, Weather
from tests.chaos.watch import BrokenPromiseError, Watch, complaints

_SOAK = Soak(min_s=3.0, max_s=12.0, min_rows=20)
_PATIENCE_S = 6000.0
_HOP_S = 60.0
_KEPT = 60


class World:
    """A fleet, and what befalls it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = rng = random.Random(seed)
        self.timeline = Timeline(rng)
        self.weather = Weather(self.timeline, rng.uniform(0, 0.2), rng.uniform(0, 0.2), rng.uniform(0.5, 20.0))
        self.watch = Watch()
        self.broker = SimBroker(self.timeline, self.weather)
        self.server = SimServer(self.timeline, self.weather, self.broker, self.watch)
        self.devices: list[Device] = []
        self.models = MODELS[: rng.randint(1, 2)]
        self.story: deque[str] = deque(maxlen=_KEPT)
        self._names = 0
        self._flaws: dict[str, tuple[Flaw, frozenset[str] | None]] = {}
        self.trouble_s = rng.uniform(60.0, 140.0)

    def live(self) -> None:
        """Let everything happen.

        Raises:
            BrokenPromiseError: a promise was broken, or the fleet does not come to rest.
        """
        with seeded_chance(self.rng):
            self._draw_flaws()
            self.server.start()
            for _ in range(self.rng.choice((2, 2, 2, 3, 3, 4))):
                self.timeline.after(self.rng.uniform(0.0, 5.0), self._join)
            self._plan()
            self.timeline.run_until(self.trouble_s)
            self._calm_down()
            self._come_to_rest()

    def _come_to_rest(self) -> None:
        end, left, rested = self.timeline.now + _PATIENCE_S, ["?"], 0
        while self.timeline.now < end and rested < 2:
            self.timeline.run_until(self.timeline.now + _HOP_S)
            left = complaints(self.server, self.devices, self.watch)
            rested = 0 if left else rested + 1
        if left:
            raise BrokenPromiseError("the fleet does not come to rest:\n  " + "\n  ".join(left))

    # What befalls it.

    def _plan(self) -> None:
        rng = self.rng
        plan: tuple[tuple[int, int, Callable[[], None]], ...] = (
            (1, 4, self._roll),
            (0, 3, self._move),
            (0, 5, self._crash_device),
            (0, 3, self._crash_server),
            (0, 3, self._part_device),
            (0, 1, self._part_server),
            (0, 2, self._restart_broker),
            (0, 1, self._fill_disk),
            (0, 1, self._join),
            (0, 1, self._leave),
        )
        for least, most, action in plan:
            for _ in range(rng.randint(least, most)):
                self.timeline.after(rng.uniform(5.0, self.trouble_s - 10.0), action)

    def _draw_flaws(self) -> None:
        rng = self.rng
        for model in self.models:
            for version in range(1, VERSIONS + 1):
                flaw, where = Flaw.NONE, None
                if rng.random() < (0.1 if version == 1 else 0.4):
                    flaw = rng.choice([one for one in Flaw if one is not Flaw.NONE])
                    where = (
                        frozenset(f"d{n}" for n in range(1, 7) if rng.random() < 0.5) if rng.random() < 0.6 else None
                    )
                self._flaws[f"{model} {version}"] = (flaw, where)

    def flaw(self, device: str, version: str) -> Flaw:
        """What is wrong with a version on a board."""
        flaw, where = self._flaws[version]
        return flaw if where is None or device in where else Flaw.NONE

    def _tell(self, *what: object) -> None:
        self.story.append(f"{self.timeline.now:8.1f} " + " ".join(map(str, what)))

    def _ask(self, *what: object, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._tell(*what)

        def tried() -> None:
            try:
                work(*arguments)
            except (InvalidError, ConflictError, NotFoundError, UnavailableError) as error:
                self._tell("  refused:", error)

        self.server.do(tried)

    def _roll(self) -> None:
        rng = self.rng
        policy = parse_policy(draw_policy(rng))
        request = RolloutRequest(rng.choice(self.models), rng.randint(1, VERSIONS), "all", policy, _SOAK)
        what = (f"roll out {request.model} {request.version} by {policy}",)
        self._ask(*what, work=lambda: self.server.create(request), arguments=())

    def _move(self) -> None:
        move = self.rng.choice((Move.PAUSE, Move.RESUME, Move.ABORT, Move.PROMOTE))
        rows = self.server.database.raw.execute("SELECT id FROM rollouts ORDER BY n DESC LIMIT 3").fetchall()
        if rows and self.server.alive:
            (rollout,) = self.rng.choice(rows)
            if move is Move.PROMOTE:
                self.watch.promoted.add(rollout)
            self._ask(move, rollout, work=lambda: self.server.move(rollout, move), arguments=())

    def _crash_device(self) -> None:
        if self.devices:
            device = self.rng.choice(self.devices)
            device.points.crash_in = self.rng.randint(1, 30)
            self._tell(device.id, "crashes at its step", device.points.crash_in)

    def _crash_server(self) -> None:
        self.server.database.points.crash_in = self.rng.randint(1, 40)
        self._tell("the server crashes at its step", self.server.database.points.crash_in)

    def _part_device(self) -> None:
        if self.devices:
            device = self.rng.choice(self.devices)
            self._tell(device.id, "is cut off")
            self.broker.unreachable.add(device.id)
            device.lose_link()
            self.timeline.after(self.rng.uniform(5.0, 100.0), self.broker.unreachable.discard, device.id)

    def _part_server(self) -> None:
        self._tell("the server is cut off")
        self.broker.unreachable.add("server")
        self.broker.cut_server()
        self.timeline.after(self.rng.uniform(5.0, 60.0), self.broker.unreachable.discard, "server")

    def _restart_broker(self) -> None:
        forget = self.rng.random() < 0.5
        self._tell("the broker restarts", "and forgets" if forget else "and remembers")
        self.broker.restart(forget=forget, down_s=self.rng.uniform(0.5, 20.0))
        for device in self.devices:
            device.lose_link()

    def _fill_disk(self) -> None:
        self._tell("the server's disk is full")
        self.server.database.full = True
        self.timeline.after(self.rng.uniform(5.0, 40.0), self._free_disk)

    def _free_disk(self) -> None:
        self.server.database.full = False

    def _join(self) -> None:
        self._names += 1
        device = Device(
            f"d{self._names}",
            self.timeline,
            self.weather,
            self.broker,
            self.flaw,
            self.watch,
        )
        self._enrol(device)

    def _enrol(self, device: Device) -> None:
        """Enrol until it holds, then boot."""
        arguments = (device.id, device.public_key, capabilities())
        self._ask(device.id, "enrols", work=lambda *one: self.server.enrol(*one), arguments=arguments)
        if self._is_enrolled(device):
            device.gone = False
            self.devices.append(device)
            device.boot()
        else:
            self.timeline.after(10.0, self._enrol, device)

    def _is_enrolled(self, device: Device) -> bool:
        rows = self.server.database.raw.execute("SELECT count(*) FROM devices WHERE id = ?", (device.id,))
        return bool(rows.fetchone()[0])

    def _leave(self) -> None:
        if len(self.devices) > 1:
            device = self.rng.choice(self.devices)
            self.devices.remove(device)
            device.leave()
            self._remove(device)

    def _remove(self, device: Device) -> None:
        """Remove until it holds; perhaps it comes back some day, with what it had or anew."""
        self._ask("remove", device.id, work=lambda: self.server.identities.remove(device.id, "operator"), arguments=())
        if self._is_enrolled(device):
            self.timeline.after(10.0, self._remove, device)
        elif self.rng.random() < 0.5:
            self.timeline.after(self.rng.uniform(5.0, 60.0), self._come_back, device)

    def _come_back(self, device: Device) -> None:
        self.watch.renewed(device.id)
        if self.rng.random() < 0.5:
            fresh = Device(
                device.id,
                self.timeline,
                self.weather,
                self.broker,
                self.flaw,
                self.watch,
            )
            self._enrol(fresh)
        else:
            self._enrol(device)

    def _calm_down(self) -> None:
        self._tell("calm")
        self.weather.calm = True
        self.broker.unreachable.clear()
        self.server.database.points.crash_in, self.server.database.full = 0, False
        for device in self.devices:
            device.points.crash_in = 0


def run(seed: int) -> World:
    """Live one world to its end.

    Raises:
        BrokenPromiseError: with the seed, how to repeat it, and what happened before.
    """
    world = World(seed)
    gc.disable()  # an eighth of the time, and a world is small
    try:
        world.live()
    except Exception as error:
        story = "\n".join(world.story)
        raise BrokenPromiseError(
            f"seed {seed} at {world.timeline.now:.1f} s: {error}\n"
            f"repeat: EDGELOOP_SEED={seed} pytest tests/chaos/test_chaos.py -k one_seed\n{story}"
        ) from error
    finally:
        gc.enable()
    return world


def run_all(seeds: Iterable[int]) -> None:
    """Live the worlds of these seeds, one after the other.

    Raises:
        BrokenPromiseError: in one of them, which it names.
    """
    for seed in seeds:
        run(seed)


def chosen_seed() -> int | None:
    """The seed that was asked for by `EDGELOOP_SEED`."""
    text = os.environ.get("EDGELOOP_SEED")
    return None if text is None else int(text)
