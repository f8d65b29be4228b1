"""Backoff and crash storms."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.retry import Backoff, CrashLog


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_delay_is_within_its_ceiling(attempt: int, jitter: float) -> None:
    backoff = Backoff(1.0, 60.0)
    assert 0.0 <= backoff.delay_s(attempt, jitter) <= 60.0
    assert backoff.delay_s(attempt, 0.0) == 0.0


def test_ceilings_double() -> None:
    assert [Backoff(1.0, 60.0).delay_s(attempt, 0.5) for attempt in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_three_crashes_in_the_span_are_a_storm_and_old_ones_are_forgotten() -> None:
    log = CrashLog(span_s=300, limit=3)
    storms = []
    for time in (0.0, 10.0, 20.0, 30.0, 1000.0):
        log = log.add(time)
        storms.append(log.is_storm)
    assert storms == [False, False, True, False, False]
    assert log.attempt == 0
