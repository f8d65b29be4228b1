"""Who is to blame for the ends of workers, and when one is worn."""

import pytest

from edge_agent.core.control import Beat, ModelBeat
from edge_agent.core.suspect_rules import SICK_ROWS, SICK_S, STRIKE_SPAN_S, SickLog, StrikeLog, judge_memory


def ends(*crashes: tuple[float, str], loading: bool = False) -> StrikeLog:
    log = StrikeLog()
    for at, suspects in crashes:
        log = log.add(suspects, at, loading=loading)
    return log


@pytest.mark.parametrize(
    ("crashes", "guilty"),
    [
        ([(0, "a"), (1, "a")], None),
        ([(0, "a"), (1, "a"), (2, "a")], "a"),
        ([(0, "a"), (3600, "a"), (7200, "a")], "a"),  # once an hour
        ([(0, "a"), (1, "a"), (2 + STRIKE_SPAN_S, "a")], None),
        ([(0, ""), (1, ""), (2, ""), (3, "")], None),  # nobody was at work
        ([(0, "ab"), (1, "b"), (2, "ab")], "b"),
        ([(0, "ab"), (1, "bc"), (2, "bd")], "b"),
        ([(0, "ab"), (1, "a"), (2, "ab"), (3, "b"), (4, "b")], "b"),  # alone more often
    ],
)
def test_ends_while_serving(crashes: list[tuple[float, str]], guilty: str | None) -> None:
    assert ends(*crashes).guilty() == guilty


def test_two_ends_while_loading_are_enough() -> None:
    assert ends((0, "a"), loading=True).guilty() is None
    assert ends((0, "a"), (1, "a"), loading=True).guilty() == "a"


def test_who_was_dealt_with_is_forgotten() -> None:
    log = ends((0, "ab"), (1, "ab"), (2, "a"))
    assert log.without("a").guilty() is None
    assert log.without("a").add("b", 3, loading=False).guilty() == "b"


@pytest.mark.parametrize(
    ("first", "now", "worn"), [(40, 435, False), (40, 436, True), (430, 436, False), (384, 436, True), (40, 60, False)]
)
def test_a_leak_is_growth_near_the_limit(first: float, now: float, worn: bool) -> None:
    why = judge_memory(Beat((), 0.0, 1.0, first), Beat((), 0.0, 1.0, now), 512.0)
    assert (why is not None) == worn
    assert why is None or f"from {first:.0f} to {now:.0f} MiB of 512" in why


def beat(right: int, wrong: int) -> ModelBeat:
    return ModelBeat("digits", 1, right + wrong, wrong, 0, 0, 0, 0, 0, 0, 0, 0)


def test_a_model_is_sick_when_nothing_was_right_for_long_and_for_many_rows() -> None:
    log = SickLog()
    assert not log.sick((beat(5, 0),), 0.0)
    assert not log.sick((beat(5, SICK_ROWS),), SICK_S - 1)
    assert not log.sick((beat(5, SICK_ROWS - 1),), SICK_S)
    assert log.sick((beat(5, SICK_ROWS),), SICK_S)
    assert not log.sick((beat(6, SICK_ROWS),), SICK_S + 1), "one right row, and the count begins anew"
    assert not log.sick((beat(6, 2 * SICK_ROWS - 1),), 3 * SICK_S)
