"""float32: a column of epoch seconds is refused by name, ordinary columns are not."""

import numpy as np

from trainer.core.resolution import judge_resolution

CHANCE = np.random.default_rng(0)
PLAIN = CHANCE.normal(size=100)


def test_ordinary_and_constant_columns_pass() -> None:
    x = np.column_stack([PLAIN, np.full(100, 0.1), PLAIN * 1e6, np.full(100, np.nan)])
    assert judge_resolution(("a", "b", "c", "d"), x) == ((), None)


def test_epoch_seconds_are_refused_by_name() -> None:
    _, refusal = judge_resolution(("a", "when"), np.column_stack([PLAIN, 1.7e9 + 300 * PLAIN]))
    assert "'when' does not fit float32" in str(refusal)


def test_a_coarse_column_is_warned_of_by_name() -> None:
    warnings, refusal = judge_resolution(("a", "height"), np.column_stack([PLAIN, 1e5 + PLAIN]))
    assert refusal is None
    assert len(warnings) == 1
    assert "'height'" in warnings[0]
