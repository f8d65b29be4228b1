"""Models that go bad after they were committed, beside one that is well: on virtual time, with the real service.

The other model serves again within 2 s of each end of a worker, the guilty one is left out after three ends and
reported with its reason, and what serves is what is reported.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.contract.messages import Event, Soak
from edge_agent.contract.states import EventCode, Result
from tests.fakes.agent_bundles import make_bundle
from tests.fakes.virtual_device import DEVICE, TOPICS, VirtualDevice
from tests.fakes.worker import Behaviour

HOUR_S = 3600.0
SOAK = Soak(min_s=0.5, max_s=3.0, min_rows=5)


@pytest.fixture
def folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


class Watch:
    """A device that serves `good` and `bad`, and how long no worker accepted."""

    def __init__(self, folder: Path, bad: Behaviour, beat_s: float = 0.1) -> None:
        self.device = VirtualDevice(folder, beat_s=beat_s)
        self.device.world.patience_s = 4 * HOUR_S
        self.begun = False
        self.silent_since: float | None = None
        self.gaps: list[float] = []
        bundles = [make_bundle("good", behaviour=Behaviour(tag="good")), make_bundle("bad", behaviour=bad)]
        for bundle in bundles:
            self.device.server.release(bundle)
        document = self.device.server.desired(1, *bundles, soak=SOAK)
        self.device.server.retained[TOPICS.desired(DEVICE)] = document

    @property
    def events(self) -> list[Event]:
        return self.device.server.events

    def codes(self, code: EventCode) -> list[Event]:
        return [event for event in self.events if event.code is code]

    def run(self, until: Callable[[], bool]) -> None:
        assert self.device.live(lambda: self._look(until))

    def _look(self, until: Callable[[], bool]) -> bool:
        """Note when nobody accepts, from the first installation on."""
        self.begun = self.begun or bool(self.device.server.outcomes(1))
        if self.begun:
            now, accepting = self.device.world.now, self.device.accepting
            if not accepting and self.silent_since is None:
                self.silent_since = now
            if accepting and self.silent_since is not None:
                self.gaps.append(now - self.silent_since)
                self.silent_since = None
        return self.begun and until()

    def settled_without(self, model: str) -> Callable[[], bool]:
        """Whether the model was reported as disabled, and the others serve."""

        def look() -> bool:
            told = [event.model for event in self.codes(EventCode.MODEL_DISABLED)]
            return told == [model] and list(self.device.served) == ["good"] and not self.device.journal.reports()

        return look

    def assert_the_other_went_on(self) -> None:
        (outcome,) = self.device.server.outcomes(1)
        assert outcome.result is Result.SUCCEEDED
        assert self.silent_since is None
        assert max(self.gaps, default=0.0) <= 2.0
        assert [one.model for one in self.device.server.reports[-1].running] == ["good"]


@pytest.mark.parametrize(
    ("bad", "code", "reason"),
    [
        (Behaviour(tag="b", crash_after_s=HOUR_S), EventCode.WORKER_CRASHED, "worker_crashed"),
        (Behaviour(tag="b", crash_after_s=30.0), EventCode.WORKER_CRASHED, "worker_crashed"),
        (Behaviour(tag="b", stuck_after_s=40.0), EventCode.WORKER_HUNG, "worker_hung"),
    ],
    ids=["crashes-every-hour", "crashes-after-30-s", "hangs-in-a-request"],
)
def test_the_third_end_names_the_guilty_model(bad: Behaviour, code: EventCode, reason: str, folder: Path) -> None:
    watch = Watch(folder, bad, beat_s=1.0)
    watch.run(watch.settled_without("bad"))
    watch.assert_the_other_went_on()
    assert [event.fields["reason"] for event in watch.codes(code)] == [reason] * 3
    assert len(watch.gaps) == 3
    (disabled,) = watch.codes(EventCode.MODEL_DISABLED)
    assert reason in disabled.detail


@pytest.mark.parametrize("reload", ["crash", "oom"])
def test_a_model_that_ends_the_worker_that_loads_it_does_not_keep_the_others_away(reload: str, folder: Path) -> None:
    watch = Watch(folder, Behaviour(tag="b", reload=reload))
    watch.device.world.after(30.0, watch.device.kill_workers)
    watch.run(watch.settled_without("bad"))
    watch.assert_the_other_went_on()
    assert len(watch.gaps) == 1


def test_a_model_that_answers_nothing_right_any_more_is_left_out_without_a_gap(folder: Path) -> None:
    watch = Watch(folder, Behaviour(tag="b", errs_after_s=30.0))
    watch.run(watch.settled_without("bad"))
    watch.assert_the_other_went_on()
    assert watch.gaps == []
    (disabled,) = watch.codes(EventCode.MODEL_DISABLED)
    assert "in error" in disabled.detail


def test_a_leak_is_replaced_before_it_dies_without_a_gap(folder: Path) -> None:
    watch = Watch(folder, Behaviour(tag="b", grows_mb=1.0))
    watch.run(lambda: len(watch.codes(EventCode.WORKER_RESTARTED)) == 3)
    assert watch.gaps == []
    assert watch.silent_since is None
    assert {event.fields["reason"] for event in watch.codes(EventCode.WORKER_RESTARTED)} == {"out_of_memory"}
    assert not watch.codes(EventCode.WORKER_CRASHED)
    assert set(watch.device.status.running if watch.device.status else ()) == set(
        watch.device.server.reports[-1].running
    )


def test_a_leak_in_the_soak_restores(folder: Path) -> None:
    watch = Watch(folder, Behaviour(tag="b", grows_mb=200.0))
    watch.run(lambda: True)
    (outcome,) = watch.device.server.outcomes(1)
    assert (outcome.result, outcome.reason) == (Result.FAILED, "out_of_memory")


def test_workers_that_are_killed_again_and_again_come_back_ever_more_slowly(folder: Path) -> None:
    watch = Watch(folder, Behaviour(tag="b"))

    def killer() -> None:
        watch.device.kill_workers()
        watch.device.world.after(0.5, killer)

    watch.device.world.after(30.0, killer)
    end_at = watch.device.world.now + 30.0 + 1800.0
    watch.run(lambda: watch.device.world.now >= end_at)
    assert not watch.codes(EventCode.MODEL_DISABLED), "nobody was at work: nobody is blamed"
    assert 20 <= len(watch.codes(EventCode.WORKER_CRASHED)) <= 90
    assert any("again and again" in event.detail for event in watch.codes(EventCode.WORKER_CRASHED))
    assert watch.gaps[0] <= 2.0
    assert max(watch.gaps[-5:]) > 10.0
