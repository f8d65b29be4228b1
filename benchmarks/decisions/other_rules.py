"""Rules that other systems judge a canary by, on the counts of the simulated fleet; they see errors and bad devices.

Every rule returns the look at which it rolls back, or 0. All of them look after every look, as their users do.
"""

import math

import numpy as np

from tests.fakes.canary_fleet import CANARY, Fleet

_Z = 1.96
_TUNING = 1e-4
_ALPHA = 0.05
# Student's 0.975 quantile at 49 degrees of freedom.
_T49 = 2.0096


def peeking_z(fleet: Fleet, looks: int) -> int:
    """Compare error ratios of all rows so far by a two-proportion z-test at 5 %, anew at every look."""
    for look in range(1, looks + 1):
        a, n, b, m = _pooled(fleet, look)
        share = (a + b) / (n + m)
        error = math.sqrt(share * (1 - share) * (1 / n + 1 / m))
        if error > 0 and (a / n - b / m) / error > _Z:
            return look
    return 0


def pooled_e_process(fleet: Fleet, looks: int) -> int:
    """Test rows sequentially by a mixture (R. Johari and others, 2022, Operations Research 70(3)): valid for rows."""
    for look in range(1, looks + 1):
        a, n, b, m = _pooled(fleet, look)
        share = (a + b) / (n + m)
        variance = share * (1 - share) * (1 / n + 1 / m)
        difference = a / n - b / m
        log_e = 0.5 * math.log(variance / (variance + _TUNING)) + difference**2 * _TUNING / (
            2 * variance * (variance + _TUNING)
        )
        if difference > 0 and log_e >= math.log(1 / _ALPHA):
            return look
    return 0


def before_after(fleet: Fleet, looks: int) -> int:
    """Compare each canary device's error ratio with its own before by a paired t-test at 5 %; no stable arm."""
    before = fleet.errors_before[:CANARY] / fleet.rows_before[:CANARY]
    for look in range(1, looks + 1):
        since = fleet.errors[:CANARY, :look].sum(axis=1) / fleet.rows[:CANARY, :look].sum(axis=1)
        change = since - before
        if change.mean() / (change.std(ddof=1) / math.sqrt(CANARY)) > _T49:
            return look
    return 0


def share_of_canary(fleet: Fleet, looks: int) -> int:
    """Roll back when more than 5 % of the canary's devices have gone bad."""
    for look in range(1, looks + 1):
        if np.count_nonzero(fleet.bad_look[:CANARY] <= look) > 0.05 * CANARY:
            return look
    return 0


def _pooled(fleet: Fleet, look: int) -> tuple[float, float, float, float]:
    errors, rows = fleet.errors[:, :look].sum(axis=1), fleet.rows[:, :look].sum(axis=1)
    return (
        float(errors[:CANARY].sum()),
        float(rows[:CANARY].sum()),
        float(errors[CANARY:].sum()),
        float(rows[CANARY:].sum()),
    )
