"""What is observed of a rollout: each window once, of its own devices alone, the same whoever reads it and when."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from edge_agent.contract.windows import LATENCY_BUCKETS, Feedback, Window, WindowCounts
from fleet_server.core.canary import BEFORE_LOOKS, Observed
from fleet_server.core.policies import Amount, Metric, MetricRule, Policy
from fleet_server.core.rollouts import DeviceState, Rollout, RolloutDevice, RolloutView
from fleet_server.services.canary import Observer
from fleet_server.store import windows
from fleet_server.store.database import Database
from tests.fakes.server_app import served

LOOK_S, BEGAN_MS = 600, 1_800_000_000_000
LOOK_MS = LOOK_S * 1000
POLICY = Policy(
    (Amount(2, percent=False), Amount(100, percent=True)),
    metrics={Metric.ERROR_RATIO: MetricRule(0.005)},
    look_s=LOOK_S,
    min_inferences=1,
)
CANARY, STABLE, STRANGER = ("pi-0", "pi-1"), ("pi-2", "pi-3", "pi-4"), "pi-5"


@dataclass
class Fleet:
    """Boards of a real database that send windows of a hundred rows."""

    database: Database
    numbers: dict[str, int] = field(default_factory=dict)

    def send(self, device: str, received: int, version: int = 1, errors: int = 2, number: int | None = None) -> None:
        if number is None:
            number = self.numbers[device] = self.numbers.get(device, 0) + 1
        latency = (100,) + (0,) * (LATENCY_BUCKETS - 1)
        counts = WindowCounts(100, errors, 0, (), (60, 40), (), latency, Feedback())
        window = Window(device, 1, number, "digits", version, "a" * 64, received - LOOK_MS + 2, received, counts)
        with self.database.write() as connection:
            assert windows.save_window(connection, window, received)

    def live(self, look: int) -> None:
        """Everybody's windows of one look; those from 1 on are after the first offer."""
        for place, device in enumerate((*CANARY, *STABLE, STRANGER)):
            new = look > 0 and device in CANARY
            self.send(device, BEGAN_MS + look * LOOK_MS - 1, 2 if new else 1, errors=2 + place + 3 * new)

    def see(self, observer: Observer, look: int, view: RolloutView | None = None) -> Observed:
        with self.database.read() as connection:
            return observer.observe(connection, view or view_of(*STABLE), (BEGAN_MS + look * LOOK_MS) / 1000)


def view_of(*stable: str) -> RolloutView:
    began = BEGAN_MS / 1000
    canary = [RolloutDevice(name, 0, state=DeviceState.SUCCEEDED, offered_at=began) for name in CANARY]
    waiting = [RolloutDevice(name, 1, from_version=1) for name in stable]
    return RolloutView(Rollout("ro", "digits", 2, "all", POLICY, phase_started=began), (*canary, *waiting))


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with served(tmp_path) as made:
        for name in (*CANARY, *STABLE, STRANGER):
            made.enrol(name)
        found = Fleet(made.server.controller._database)
        for look in range(-2, 1):
            found.live(look)
        yield found


def test_a_restarted_server_sees_what_the_other_saw_look_by_look(fleet: Fleet) -> None:
    observer = Observer()
    for look in (1, 2, 3):
        fleet.live(look)
        seen = fleet.see(observer, look)
    assert seen == fleet.see(Observer(), 3)
    assert seen.inferences == {"pi-0": 300, "pi-1": 300}
    (difference,) = seen.differences
    assert (difference.canary_devices, difference.stable_devices) == (2, 3)
    assert difference.difference == pytest.approx(0.03)


def test_a_repeat_counts_once_and_a_late_window_when_it_comes(fleet: Fleet) -> None:
    observer = Observer()
    fleet.live(1)
    before = fleet.see(observer, 1)
    repeated = fleet.numbers["pi-0"]
    fleet.send("pi-0", BEGAN_MS + LOOK_MS + 20_000, version=2, number=repeated)
    fleet.send("pi-1", BEGAN_MS + LOOK_MS + 20_000, version=2)
    after = fleet.see(observer, 2)
    assert before.inferences == {"pi-0": 100, "pi-1": 100}
    assert after.inferences == {"pi-0": 100, "pi-1": 200}


def test_a_device_that_joins_brings_what_it_showed_before(fleet: Fleet) -> None:
    observer = Observer()
    fleet.live(1)
    assert fleet.see(observer, 1, view_of(*STABLE[:2])).differences[0].stable_devices == 2
    fleet.live(2)
    joined = fleet.see(observer, 2)
    assert joined.differences[0].stable_devices == 3
    assert joined == fleet.see(Observer(), 2)


def test_what_came_too_long_before_is_not_read(fleet: Fleet) -> None:
    fleet.live(1)
    plain = fleet.see(Observer(), 1)
    fleet.send("pi-2", BEGAN_MS - BEFORE_LOOKS * LOOK_MS - 1, errors=90)
    assert fleet.see(Observer(), 1) == plain
    fleet.send("pi-2", BEGAN_MS - BEFORE_LOOKS * LOOK_MS, errors=90)
    assert fleet.see(Observer(), 1) != plain


def test_whoever_brings_windows_does_not_wait_for_a_look(tmp_path: Path) -> None:
    """Were it taken while the database is written, the window within it would wait for its turn in vain."""
    with served(tmp_path) as made:
        made.upload("v1", b"one")
        made.group()
        board = made.enrol("pi-0")
        fleet, looks = Fleet(made.server.controller._database), []

        class Interrupted(Observer):
            def observe(self, connection: Connection, view: RolloutView, now: float) -> Observed:
                seen = super().observe(connection, view, now)
                fleet.send("pi-0", made.clock())
                looks.append(replace(seen))
                return seen

        made.server.controller.observer = Interrupted()
        made.roll(1, phases=["100%"])
        board.succeed()
        assert looks
        assert made.rollout(made.call("GET", "/rollouts")["items"][0]["id"])["state"] == "succeeded"
