"""The silent errors of the usual converter: the gate catches them, and what is lowered does not make them.

The converter is the last resort for what has no lowering. Each case here converts without a word, and answers wrongly.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from edge_agent.contract.manifest import Runtime
from tests.fakes.lowering import check_lowered, reference_scores
from tests.fakes.trainer_models import rows, run_here
from trainer.core.arrays import as_singles
from trainer.core.parity import compare, judge_exact
from trainer.stages.export_onnx import export


def neighbours_in_float32() -> tuple[Any, np.ndarray]:
    """Histogram boosting whose thresholds lie between neighbouring float32 numbers."""
    x = (np.float32(1.0) + np.arange(200, dtype=np.float32) * np.spacing(np.float32(1.0))).astype(np.float64)[:, None]
    model = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=1, max_leaf_nodes=None, random_state=0)
    return model.fit(x, np.arange(200) % 2), x


def tree_with_missing() -> tuple[Any, np.ndarray]:
    """A tree that learned to send missing values to the left."""
    x = np.array([[0.0], [1.0], [2.0], [3.0], [np.nan], [np.nan]] * 4)
    return DecisionTreeClassifier(random_state=0).fit(x, [0, 0, 1, 1, 0, 0] * 4), x


def forest_with_missing() -> tuple[Any, np.ndarray]:
    """A forest of such trees."""
    x, y = rows(0)
    x[y == 1, 0] = np.nan
    return RandomForestClassifier(8, random_state=0).fit(x, y), x


def categories() -> tuple[Any, np.ndarray]:
    """Histogram boosting that splits sets of categories."""
    x = np.random.default_rng(0).integers(0, 12, (300, 1)).astype(np.float64)
    y = (x[:, 0] * 7 % 5 > 2).astype(int)
    return HistGradientBoostingClassifier(max_iter=5, categorical_features=[0]).fit(x, y), x


@pytest.mark.parametrize("make", [neighbours_in_float32, tree_with_missing, forest_with_missing, categories])
def test_the_trap_is_caught_and_ours_does_not_fall_in(make: Any, tmp_path: Path) -> None:
    model, x = make()
    reference, output = reference_scores(model, as_singles(x))
    converted = run_here(export(model, x.shape[1], output), Runtime.ONNX, as_singles(x), tmp_path)
    assert judge_exact(compare(output, reference, converted, trees=True)) is not None
    check_lowered(model, x)
