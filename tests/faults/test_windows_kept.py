"""Kills of workers and of the whole agent, at any moment: every counted row is in one window, but for the last seconds.

The real supervisor and spool on real files and on virtual time; a worker counts rows at a steady rate.
"""

import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.contract.messages import AgentSettings, Soak
from edge_agent.core.control import SNAPSHOT_S
from edge_agent.supervisor.worker_phases import ServiceTimes
from tests.fakes.agent_bundles import make_bundle
from tests.fakes.virtual import cut
from tests.fakes.virtual_device import DEVICE, TOPICS, VirtualDevice
from tests.fakes.worker import Behaviour

BEAT_S = 1.0
ROWS_PER_BEAT = 5
WINDOW_S = 600.0
END_S = 5_000.0
# What a power cut costs at most, as the documentation says it.
BOUND_S = 60.0


@pytest.fixture
def folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


class Life:
    """A device with two models that is killed now and then, and what became of the rows that it counted."""

    def __init__(self, folder: Path) -> None:
        self.device = VirtualDevice(folder, beat_s=BEAT_S, times=ServiceTimes(hang_s=30.0, load_timeout_s=30.0))
        self.device.world.patience_s = 2 * END_S
        self.begin_s = self.device.world.now
        self.kills = 0
        self.ending = False

    def run(self, acts: list[tuple[float, Callable[[], None]]]) -> None:
        """Live to the end, with these acts at their times, and until all that was kept is with the server."""
        device = self.device
        bundles = [
            make_bundle(name, behaviour=Behaviour(tag=name, rows_per_beat=ROWS_PER_BEAT)) for name in ("digits", "wine")
        ]
        for bundle in bundles:
            device.server.release(bundle)
        settings = AgentSettings(window_s=WINDOW_S)
        order = device.server.desired(1, *bundles, soak=Soak(0.0, 5.0, 1), settings=settings)
        device.server.retained[TOPICS.desired(DEVICE)] = order
        for at_s, act in acts:
            device.world.after(at_s, act)
        device.world.after(END_S, self.end)
        while not device.live(self.delivered):
            pass

    def kill_workers(self) -> None:
        self.kills += 1
        self.device.kill_workers()

    def cut(self) -> None:
        self.kills += 1
        cut()

    def end(self) -> None:
        """Let nothing be counted any more: the workers are killed, and the windows come of their copies."""
        self.ending = True
        self.counted = self.device.world.rows
        self.kill_workers()

    def delivered(self) -> bool:
        return self.ending and not len(self.device.spool) and self.device.world.now > self.begin_s + END_S + 1

    def arrived(self) -> int:
        """Rows of all windows, each key once."""
        windows = {(one.boot, one.number): one.counts.rows for one in self.device.server.windows}
        return sum(windows.values())

    def lost_s(self) -> float:
        """Seconds of counting that are in no window."""
        return (self.counted - self.arrived()) / (2 * ROWS_PER_BEAT / BEAT_S)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["workers", "power"])
def test_kills_at_any_moment_cost_the_last_seconds_and_count_nothing_twice(folder: Path, kind: str, seed: int) -> None:
    life = Life(folder)
    chance = random.Random(seed)
    act = life.kill_workers if kind == "workers" else life.cut
    times = sorted(chance.uniform(30.0, END_S - 30.0) for _ in range(8))
    life.run([(at, act) for at in times])
    assert life.kills == 9
    assert 0.0 <= life.lost_s() <= life.kills * BOUND_S
    sizes = {}
    for window in life.device.server.windows:
        assert sizes.setdefault((window.boot, window.number), window.counts) == window.counts
        assert window.counts.rows > 0


def test_what_a_copy_holds_survives_the_cut_right_after_the_bound(folder: Path) -> None:
    """Without any copy, all 500 s of the window would be gone; with it, the last minute at most."""
    life = Life(folder)
    life.run([(500.0, life.cut)])
    assert life.lost_s() <= 2 * BOUND_S
    assert SNAPSHOT_S + BEAT_S + 10.0 < BOUND_S
