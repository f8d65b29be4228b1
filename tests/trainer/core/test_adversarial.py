"""Hard rows stand on and beside thresholds, lack what may be missing, and reach beyond the ends of the columns."""

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from edge_agent.contract.manifest import Feature
from tests.fakes.trainer_models import rows
from trainer.core.adversarial import Kind, make_hard_rows
from trainer.core.arrays import as_singles
from trainer.core.golden import choose_hard_rows
from trainer.stages.lower.estimators import lower


def features(x: np.ndarray, *, missing: tuple[int, ...] = ()) -> tuple[Feature, ...]:
    return tuple(
        Feature(f"c{index}", float(x[:, index].min()), float(x[:, index].max()), index in missing)
        for index in range(x.shape[1])
    )


def test_every_threshold_of_a_small_tree_is_stood_on_and_stepped_over() -> None:
    x, y = rows(0)
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(x, y)
    hard = make_hard_rows(lower(model, x.shape[1]), features(x), as_singles(x))
    on = hard.x[hard.kinds == Kind.THRESHOLD]
    for node in np.flatnonzero(model.tree_.children_left >= 0):
        column, threshold = model.tree_.feature[node], model.tree_.threshold[node]
        near = on[np.isclose(on[:, column], np.float32(threshold), rtol=1e-6), column]
        assert (near.astype(np.float64) <= threshold).any()
        assert (near.astype(np.float64) > threshold).any()


def test_only_what_may_be_missing_is_missing() -> None:
    x, _ = rows(1)
    hard = make_hard_rows(None, features(x, missing=(1, 3)), as_singles(x))
    gaps = np.isnan(hard.x)
    assert gaps[:, [1, 3]].any(axis=0).all()
    assert not gaps[:, [0, 2, 4]].any()
    assert not np.isnan(make_hard_rows(None, features(x), as_singles(x)).x).any()


def test_extremes_reach_beyond_the_range_and_off_a_constant() -> None:
    x, _ = rows(2)
    x[:, 2] = 5.0
    hard = make_hard_rows(None, features(x), as_singles(x)).x
    moving = [0, 1, 3, 4]
    assert (hard.min(axis=0) < x.min(axis=0))[moving].all()
    assert (hard.max(axis=0) > x.max(axis=0))[moving].all()
    assert (hard[:, 2] != 5).any()


def test_golden_vectors_take_rows_as_they_come_in_service() -> None:
    x, y = rows(0)
    model = DecisionTreeClassifier(random_state=0).fit(x, y)
    hard = make_hard_rows(lower(model, x.shape[1]), features(x, missing=(0,)), as_singles(x))
    chosen = choose_hard_rows(hard)
    assert 0 < len(chosen) <= 8
    assert set(hard.kinds[chosen]) == {Kind.THRESHOLD, Kind.MISSING}
