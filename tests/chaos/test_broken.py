"""The simulation can fail: each of these breaks one promise of the product, and some seed sees it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from edge_agent.adapters.journal import Journal
from edge_agent.contract.messages import Reported
from edge_agent.core import offer_rules
from edge_agent.core.update_machine import Update
from fleet_server.core import rollout_rules
from fleet_server.core.rollouts import DeviceState
from fleet_server.services import devices
from tests.chaos.watch import BrokenPromiseError
from tests.chaos.world import run_all
from tests.fakes.virtual_trust import VirtualVerifier

_SEEDS = 60

Break = Callable[[pytest.MonkeyPatch], None]


def _takes_any_document(patch: pytest.MonkeyPatch) -> None:
    """An older document is taken in like a newer one."""
    start = VirtualVerifier.start
    patch.setattr(offer_rules, "judge_document", lambda *_: None)
    patch.setattr(offer_rules, "offer", lambda update, new: replace(update, waiting=new, highest_seq=new.seq))
    patch.setattr(VirtualVerifier, "start", lambda self, packs, _floor: start(self, packs, 0))


def _writes_no_journal(patch: pytest.MonkeyPatch) -> None:
    """Transitions are reported and not written."""

    def save(self: Journal, update: Update, report: Any = None) -> None:
        if report is not None:
            self.queue_report(report)

    patch.setattr(Journal, "save", save)


def _forgets_the_highest(patch: pytest.MonkeyPatch) -> None:
    """A restart begins to count documents anew."""
    load = Journal.load
    patch.setattr(Journal, "load", lambda self: replace(load(self), highest_seq=0))


def _believes_any_outcome(patch: pytest.MonkeyPatch) -> None:
    """A device counts as done when it has heard of the version, attested or not."""

    def judge(member: Any, model: str, report: Reported, attested: bool, now: float) -> Any:
        if report.desired_seq >= member.offered_seq:
            return replace(member, state=DeviceState.SUCCEEDED, changed_at=now)
        return member

    patch.setattr(rollout_rules, "_judge_offered", judge)


def _takes_old_reports(patch: pytest.MonkeyPatch) -> None:
    """The server takes reports in the order in which they come."""
    patch.setattr(devices, "judge_reported", lambda last, new: True)
    patch.setattr("fleet_server.broker.ingest.judge_reported", lambda last, new: True)


def _leaves_devices_on_a_halted_version(patch: pytest.MonkeyPatch) -> None:
    """A halted rollout's devices are marked, and nothing is sent to them."""
    patch.setattr("fleet_server.services.assignments.Assigner.give_back", lambda *_, **__: 0)


# Where to begin to look, so that a rare misfortune is met soon.
_BREAKS: dict[Break, int] = {
    _takes_any_document: 310,
    _writes_no_journal: 0,
    _forgets_the_highest: 0,
    _believes_any_outcome: 0,
    _takes_old_reports: 0,
    _leaves_devices_on_a_halted_version: 0,
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("breaks", _BREAKS, ids=lambda one: one.__name__.strip("_"))
def test_a_broken_promise_is_seen(breaks: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(monkeypatch)
    first = _BREAKS[breaks]
    with pytest.raises(BrokenPromiseError):
        run_all(range(first, first + _SEEDS))
