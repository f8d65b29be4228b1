"""Messages of a device are ordered by its own counters."""

from edge_agent.contract.messages import Status
from edge_agent.contract.states import Presence
from fleet_server.core.ordering import judge_reported, judge_status

READY = Status(Presence.READY, 7, 1000)


def test_a_stale_will_does_not_overrule_a_newer_birth() -> None:
    assert not judge_status(READY, Status(Presence.LOST, 6, 2000))
    assert judge_status(READY, Status(Presence.LOST, 7, 900))
    assert judge_status(READY, Status(Presence.READY, 8, 10))
    assert judge_status(None, READY)


def test_a_repeat_is_not_news() -> None:
    assert not judge_status(READY, READY)
    assert not judge_reported((3, 5), (3, 5))


def test_reports_are_ordered_by_boot_then_number() -> None:
    assert judge_reported(None, (1, 0))
    assert judge_reported((3, 900), (4, 0))
    assert not judge_reported((4, 0), (3, 901))
    assert judge_reported((4, 0), (4, 1))
