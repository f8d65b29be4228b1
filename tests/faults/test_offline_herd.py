"""Ten thousand devices that come back together: how many a second, on virtual time, whatever the outage was."""

import random
from collections import Counter

import pytest

from edge_agent.core.retry import Backoff, Spread, first_delay_s

N = 10_000
LIMIT = 1.3
WINDOWS = (5.0, 30.0, 60.0, 300.0)
_PIECES = 30  # a second of the default window


def peak(times: list[float], window_s: float) -> float:
    """The most arrivals in any thirtieth of a window, as a multiple of N / window."""
    piece = window_s / _PIECES
    return max(Counter(int(time // piece) for time in times).values()) / (N / _PIECES)


def back_at(spread: Spread, outage_s: float, chance: random.Random) -> float:
    """When a device that lost its connection at 0 is back, with a broker that is away for `outage_s` seconds."""
    attempt, time = 0, spread.delay_s(0, chance.random())
    while time < outage_s:
        attempt += 1
        time += spread.delay_s(attempt, chance.random())
    return time


@pytest.mark.parametrize("window_s", WINDOWS)
@pytest.mark.parametrize("outage_s", [0.0, 0.7, 3.0, 31.0, 90.0, 1234.5])
def test_after_an_outage_of_any_length_no_second_sees_more_than_its_share(window_s: float, outage_s: float) -> None:
    chance = random.Random(f"{window_s} {outage_s}")
    times = [back_at(Spread(window_s), outage_s, chance) for _ in range(N)]
    assert peak(times, window_s) <= LIMIT
    assert max(times) <= outage_s + window_s


@pytest.mark.parametrize("window_s", WINDOWS)
def test_a_factory_that_gets_its_power_back_at_once(window_s: float) -> None:
    chance = random.Random(window_s)
    spread = Spread(window_s)
    boots = [chance.gauss(20.0, 0.5) for _ in range(N)]  # boards of one kind start in nearly the same time
    times = [up_s + first_delay_s(spread, uptime_s=up_s, boots=7, place=chance.random()) for up_s in boots]
    assert peak(times, window_s) <= LIMIT


def test_the_desired_documents_fetched_on_return_are_as_spread_as_the_connections() -> None:
    """Each connection subscribes once to one retained document, so its fetches are the arrivals, a trip later."""
    chance = random.Random(5)
    times = [back_at(Spread(30.0), 600.0, chance) + chance.uniform(0.01, 0.2) for _ in range(N)]
    assert peak(times, 30.0) <= LIMIT


def test_health_of_a_fleet_that_started_at_once_is_spread_over_its_interval() -> None:
    chance = random.Random(7)
    health_s = 60.0
    places = [chance.random() for _ in range(N)]
    for beat in range(3):
        assert peak([health_s * (1.0 - place) + beat * health_s for place in places], health_s) <= LIMIT


def test_what_is_lost_one_after_another_stays_apart() -> None:
    """Devices that lose their connections at moments of their own gain nothing by a spread, and lose nothing either."""
    chance = random.Random(9)
    times = []
    for _ in range(N):
        lost_at = chance.uniform(0.0, 45.0)
        times.append(lost_at + back_at(Spread(30.0), 90.0 - lost_at, chance))
    assert peak(times, 30.0) <= LIMIT


def test_jitter_drawn_anew_for_each_attempt_would_not_do() -> None:
    """The usual rule, for comparison: in the first moment after a long outage it has twice the rate."""
    chance, backoff = random.Random(11), Backoff(1.0, 30.0)
    times = []
    for _ in range(N):
        attempt, time = 0, 0.0
        while time < 600.0:
            time += backoff.delay_s(attempt, chance.random())
            attempt += 1
        times.append(time)
    assert peak(times, 30.0) > 1.7


def test_somebodys_work_is_not_made_to_wait() -> None:
    spread = Spread(300.0)
    assert first_delay_s(spread, uptime_s=20.0, boots=1, place=0.9) == 0.0
    assert first_delay_s(spread, uptime_s=86_400.0, boots=40, place=0.9) == 0.0
    assert first_delay_s(spread, uptime_s=20.0, boots=2, place=0.5) == 150.0
