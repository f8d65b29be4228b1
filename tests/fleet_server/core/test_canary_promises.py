"""What the canary's evidence promises, by seeded simulation: few false rollbacks, harm found at once, honest promotion.

Reduced: `benchmarks/decisions/canary.py` runs hundreds of rollouts of each kind and compares with other rules.
Fifty devices against five hundred, 24 looks; see `tests/fakes/canary_fleet.py` for what is simulated.
"""

from dataclasses import replace

import numpy as np
import pytest

from fleet_server.core.newly_bad import BadDevice, weigh_newly_bad
from fleet_server.core.policies import MetricRule
from fleet_server.core.sprt import Sprt, SprtState
from tests.fakes.canary_fleet import LOOKS, POLICY, Harm, draw_fleet, halted_at

_STRICT = replace(POLICY, metrics={metric: MetricRule(0.0) for metric in POLICY.metrics})


def halts(harm: Harm, seeds: range, looks: int = LOOKS) -> int:
    """How many of these rollouts are rolled back."""
    return sum(halted_at(draw_fleet(np.random.default_rng(seed), harm), looks=looks) > 0 for seed in seeds)


def test_a_version_that_changes_nothing_is_kept_through_every_look() -> None:
    assert halts(Harm(), range(6)) == 0


def test_nor_is_it_rolled_back_without_any_margin() -> None:
    fleets = (draw_fleet(np.random.default_rng(seed)) for seed in range(100, 103))
    assert sum(halted_at(fleet, _STRICT) > 0 for fleet in fleets) == 0


def test_what_befalls_the_whole_fleet_rolls_back_nothing() -> None:
    """Three times the errors, slower by half, wronger by half and five times as many bad devices, for six looks."""
    assert halts(Harm(surge=True), range(5)) == 0


@pytest.mark.parametrize(
    "harm",
    [Harm(errors=2.0), Harm(bad_devices=5), Harm(wrong=2.0), Harm(latency=2.0)],
    ids=["twice the errors", "a tenth of the devices bad", "twice as often wrong", "twice as slow"],
)
def test_harm_is_found_at_the_first_look(harm: Harm) -> None:
    assert halts(harm, range(25), looks=1) == 25


def test_newly_bad_devices_seldom_mislead_at_any_moment() -> None:
    """Each device that goes bad is of either arm by chance: the e-value reaches 20 in at most 1 of 20 rollouts."""
    rng, crossed = np.random.default_rng(1), 0
    for _ in range(400):
        devices = rng.permutation(550)[:40]
        bad = [BadDevice(float(at), str(number), bool(number < 50)) for at, number in enumerate(devices)]
        crossed += any(weigh_newly_bad(50, 500, bad[: n + 1]).e_value >= 20 for n in range(len(bad)))
    assert crossed / 400 <= 0.05


@pytest.mark.parametrize(("share", "state", "bound"), [(0.10, SprtState.GOOD, 0.05), (0.01, SprtState.BAD, 0.05)])
def test_promotion_errs_as_seldom_as_it_says(share: float, state: SprtState, bound: float) -> None:
    """A version bad on 10 % of the devices is seldom promoted, one bad on 1 % seldom called bad; by groups of five."""
    rng, test, wrong = np.random.default_rng(2), Sprt(), 0
    for _ in range(3000):
        bad = np.cumsum(rng.random(200) < share)
        verdicts = (test.judge(n, int(bad[n - 1])) for n in range(5, 201, 5))
        wrong += next((found for found in verdicts if found is not SprtState.OPEN), None) is state
    assert wrong / 3000 <= bound


def test_so_many_clean_devices_promote() -> None:
    assert Sprt().clean_needed == 31
    assert Sprt(p1=0.05).clean_needed == 72
    assert Sprt().judge(31, 0) is SprtState.GOOD
    assert Sprt().judge(30, 0) is SprtState.OPEN
