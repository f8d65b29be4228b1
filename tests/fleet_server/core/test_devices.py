"""Whether a device takes part, and what tells a copied identity from a repeated message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_server.core.devices import (
    MAX_RETURNS,
    Act,
    CloneEvidence,
    Heard,
    Standing,
    decide_standing,
    judge_report,
    needs_new_keys,
)


def test_every_way_in_passes_an_approval_a_release_or_an_enrolment() -> None:
    ways = {(before, act) for before in Standing for act in Act if decide_standing(before, act) is Standing.ACTIVE}
    assert ways == {
        (Standing.PENDING, Act.APPROVE),
        (Standing.QUARANTINED, Act.RELEASE),
        (Standing.ACTIVE, Act.ENROL),
        (Standing.REVOKED, Act.ENROL),
    }
    assert decide_standing(Standing.REVOKED, Act.ENROL, approved=False) is Standing.PENDING
    assert decide_standing(Standing.QUARANTINED, Act.ENROL) is Standing.QUARANTINED


@pytest.mark.parametrize("standing", Standing)
def test_revoking_and_what_is_not_listed(standing: Standing) -> None:
    expected = None if standing is Standing.REVOKED else Standing.REVOKED
    assert decide_standing(standing, Act.REVOKE) is expected
    assert needs_new_keys(standing) == (standing in (Standing.QUARANTINED, Standing.REVOKED))
    if standing is not Standing.PENDING:
        assert decide_standing(standing, Act.APPROVE) is None


def play(*reports: tuple[int, int, str], at_once: bool = False) -> CloneEvidence | None:
    """Hear (boot, seq, content) one after the other; return the first evidence.

    They were made in the order of their numbers, or `at_once` in the order in which they are heard.
    """
    heard, known = Heard(), dict[tuple[int, int], str]()
    for place, (boot, seq, content) in enumerate(reports):
        ts = place if at_once else boot * 1000 + seq
        heard, evidence = judge_report(heard, (boot, ts), content, known.get((boot, seq)))
        if evidence is not None:
            return evidence
        known.setdefault((boot, seq), content)
    return None


def test_the_same_report_again_shows_nothing() -> None:
    assert play((1, 1, "a"), (1, 2, "b"), (1, 1, "a"), (2, 1, "c"), (1, 2, "b"), (2, 1, "c")) is None


def test_two_contents_under_one_number_show_two_boards() -> None:
    assert play((1, 1, "a"), (1, 2, "b"), (1, 1, "other")) is CloneEvidence.SAME_NUMBER


def test_a_retained_report_that_overtook_the_waiting_ones_shows_nothing() -> None:
    assert play((3, 9, "newest"), (1, 1, "a"), (2, 1, "b"), (2, 2, "c"), (3, 9, "newest"), (3, 10, "d")) is None


def test_two_boards_that_take_turns_are_found_without_a_common_number() -> None:
    turns = [report for n in range(MAX_RETURNS + 2) for report in ((8, n, f"new {n}"), (7, 100 + n, f"old {n}"))]
    assert play(*turns, at_once=True) is CloneEvidence.WENT_BACK
    assert play(*turns[: 2 * MAX_RETURNS], at_once=True) is None


def test_a_board_that_lost_its_counters_is_heard_of_once_only() -> None:
    assert play((57, 1, "a"), *((1, seq, f"b{seq}") for seq in range(1, 50))) is None


@given(st.permutations([(boot, seq, f"{boot}/{seq}") for boot in (1, 2, 3) for seq in range(1, 8)]))
def test_one_honest_board_whose_reports_come_in_any_order_is_never_suspected(wire: list[tuple[int, int, str]]) -> None:
    assert play(*wire) is None


@given(st.lists(st.integers(0, 2), max_size=60), st.data())
def test_one_honest_board_over_a_wire_that_repeats_is_never_suspected(boots: list[int], data: st.DataObject) -> None:
    """It counts up; the wire delivers in order, and any prefix again after any message, as a reconnection does."""
    numbers, boot, seq = [], 1, 0
    for step in boots:
        boot, seq = (boot + 1, 1) if step == 0 else (boot, seq + 1)
        numbers.append((boot, seq, f"{boot}/{seq}"))
    wire: list[tuple[int, int, str]] = []
    for place, report in enumerate(numbers):
        wire.append(report)
        if data.draw(st.booleans()):
            wire += numbers[data.draw(st.integers(0, place)) : place + 1]
    assert play(*wire) is None
