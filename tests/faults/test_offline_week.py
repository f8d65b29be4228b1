"""Seven days without a broker: what the device keeps, what it gives up, and how it catches up.

On virtual time, and a twelfth in scale: days of two hours, and a spool of a twelfth and less of the smallest one.
"""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.contract.messages import AgentSettings, Soak
from edge_agent.contract.states import EventCode
from edge_agent.core.backfill_rules import FRESH, new_pace
from edge_agent.supervisor.worker_phases import ServiceTimes
from tests.fakes.agent_bundles import make_bundle
from tests.fakes.virtual_device import DEVICE, TOPICS, VirtualDevice
from tests.fakes.worker import Behaviour

DAY_S = 7_200.0
WINDOW_S = 300.0
RATE_S = 2.0
MODELS = ("digits", "wine")


@pytest.fixture
def folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


class Absence:
    """A device with two models whose broker goes away for some days."""

    def __init__(self, folder: Path, days: float, spool_mb: float) -> None:
        self.device = VirtualDevice(
            folder, spool_mb=spool_mb, beat_s=60.0, times=ServiceTimes(hang_s=300.0, load_timeout_s=300.0)
        )
        self.device.world.patience_s = (days + 2) * DAY_S
        self.days = days
        self.largest_bytes = 0
        self.back_at = float("inf")

    def run(self) -> None:
        """Install, leave, come back, and wait until nothing is left to be sent."""
        device = self.device
        bundles = [make_bundle(name, behaviour=Behaviour(tag=name)) for name in MODELS]
        for bundle in bundles:
            device.server.release(bundle)
        soak = Soak(min_s=0.0, max_s=60.0, min_rows=1)
        device.server.retained[TOPICS.desired(DEVICE)] = device.server.desired(
            1, *bundles, soak=soak, settings=AgentSettings(health_s=60.0, window_s=WINDOW_S)
        )
        device.world.after(600.0, self._leave)
        assert device.live(self._caught_up)

    def _leave(self) -> None:
        self.device.server.away = True
        self.device.broker.lose()
        self.device.world.after(self.days * DAY_S, self._come_back)
        self._measure()

    def _come_back(self) -> None:
        self.back_at = self.device.world.now
        self.device.server.away = False

    def _caught_up(self) -> bool:
        return self.device.world.now > self.back_at + 600.0

    def _measure(self) -> None:
        files = [path for path in self.device.folder.iterdir() if path.name.startswith("spool.db")]
        self.largest_bytes = max(self.largest_bytes, sum(path.stat().st_size for path in files))
        if self.device.server.away:
            self.device.world.after(WINDOW_S, self._measure)


@pytest.mark.parametrize("spool_mb", [0.3, 0.1])
def test_a_week_offline(spool_mb: float, folder: Path) -> None:
    absence = Absence(folder, 7, spool_mb)
    absence.run()
    assert_disk_is_bounded(absence, spool_mb)
    assert_losses_are_counted(absence, some_windows=spool_mb < 0.3)
    assert_fresh_came_first(absence)
    assert_backlog_came_steadily(absence)


def assert_disk_is_bounded(absence: Absence, spool_mb: float) -> None:
    """The file and its log stay within what `Spool` promises: half as much again, a megabyte, and the log's pages."""
    assert 0 < absence.largest_bytes <= (spool_mb * 1.5 + 1 + 0.5) * 1024 * 1024


def assert_losses_are_counted(absence: Absence, *, some_windows: bool) -> None:
    """Every number that never came is in a reported count of its priority; events are not lost."""
    server = absence.device.server
    told = [event.fields for event in server.events if event.code is EventCode.SPOOL_DROPPED]
    lost = {name: sum(int(fields.get(name, "0")) for fields in told) for name in ("health", "window", "event")}
    missing_health = 0
    for model in MODELS:
        numbers = [body["seq"] for _, body in server.healths if body["model"] == model]
        assert numbers == sorted(set(numbers))
        missing_health += numbers[-1] - len(numbers)
    windows = [window.number for window in server.windows]
    assert len(windows) == len(set(windows))
    assert lost == {"health": missing_health, "window": max(windows) - len(windows), "event": 0}
    assert lost["health"] > 500
    assert (lost["window"] > 0) == some_windows
    counted = [event.n for event in server.events]
    assert sorted(counted) == list(range(1, max(counted) + 1))
    assert len(told) <= 2, "an event of a loss is not told each time"


def assert_fresh_came_first(absence: Absence) -> None:
    """The newest came before the old, and no live message waited behind the backlog."""
    server, back_at = absence.device.server, absence.back_at
    first = [topic for at, topic, _ in server.taken if back_at <= at <= back_at + 3.0]
    assert any("/health/" in topic for topic in first), "the newest health is among the first"
    started = absence.device.telemetry._started
    live = [(at, started + body["uptime_s"]) for at, body in server.healths if started + body["uptime_s"] > back_at + 2]
    assert len(live) > 15
    assert max(at - made_at for at, made_at in live) < 0.5


def assert_backlog_came_steadily(absence: Absence) -> None:
    """Oldest first, and never faster than the rate of this connection."""
    server, back_at = absence.device.server, absence.back_at
    late = [(at, topic) for at, topic, _ in server.taken if at > back_at and "/health/" not in topic]
    for index, (at, _) in enumerate(late):
        within = sum(1 for other, _ in late[index:] if other <= at + 30.0)
        assert within <= 30.0 * RATE_S * 1.25 + FRESH + 8
    arrived = [window.number for window in server.windows]
    jumps = sum(after < before for before, after in itertools.pairwise(arrived))
    assert jumps <= 3, "fresh before old, and live between, are the only turns in the order"


def test_a_kill_in_the_middle_of_catching_up_repeats_but_loses_nothing(folder: Path) -> None:
    absence = Absence(folder, 2, 0.3)
    device = absence.device

    def caught_up() -> bool:
        return device.world.now > absence.back_at + 5.0

    absence._caught_up = caught_up  # type: ignore[method-assign]
    absence.run()
    before = len(device.server.windows)
    device.world.patience_s = DAY_S
    assert device.live(lambda: device.world.now > absence.back_at + 600.0)
    keys = [(window.boot, window.number) for window in device.server.windows if window.boot == 1]
    assert before < len(device.server.windows)
    assert {number for _, number in keys} == set(range(1, max(number for _, number in keys) + 1))


def test_the_rate_differs_a_little_between_devices_and_a_short_absence_is_no_backlog() -> None:
    slow, fast = new_pace(2.0, 0.0, 0.0), new_pace(2.0, 0.0, 0.999)
    assert slow.allowed(0.0) == fast.allowed(0.0) == 0
    assert slow.next_at(0.0) == pytest.approx(1 / 1.5)
    assert fast.next_at(0.0) == pytest.approx(1 / 2.5, rel=1e-3)
    assert slow.spent(1, 10.0).allowed(10.0) == 3
    assert FRESH == 16
