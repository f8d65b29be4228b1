"""Fitting: splits follow the seed, parameters that do not exist are named, targets fit their task."""

import numpy as np
import pytest

from edge_agent.contract.manifest import Task
from tests.fakes.trainer_models import rows, table
from trainer.core.recipes import DataSpec, Declaration, Recipe, StepSpec
from trainer.errors import ConfigurationError
from trainer.stages.fit import build_estimator, fit_recipe, prepare_target, split


def test_the_seed_decides_the_split() -> None:
    given = table(*rows(0))
    first, again, other = (split(Task.CLASSIFICATION, given, 0.25, seed, None)[1].x for seed in (1, 1, 2))
    assert (first == again).all()
    assert not np.array_equal(first, other)
    assert len(first) == 30


def test_labels_keep_their_shares() -> None:
    _, held = split(Task.CLASSIFICATION, table(*rows(0)), 0.25, 0, None)
    assert np.bincount(held.target).tolist() == [10, 10, 10]  # type: ignore[arg-type]


def test_the_seed_goes_where_chance_is() -> None:
    params = {"hidden_layer_sizes": [3]}
    made = build_estimator(
        (
            StepSpec("sklearn.preprocessing.StandardScaler"),
            StepSpec("sklearn.neural_network.MLPClassifier", params),
        ),
        7,
    )
    assert made[-1].random_state == 7


@pytest.mark.parametrize(
    ("step", "named"),
    [
        (StepSpec("sklearn.linear_model.Rigde"), "no class sklearn.linear_model.Rigde"),
        (StepSpec("sklearn.linear_model.Ridge", {"alhpa": 1}), "Ridge has no parameter 'alhpa'"),
    ],
)
def test_what_does_not_exist_is_named(step: StepSpec, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        build_estimator((step,), 0)


def test_a_parameter_out_of_range_is_the_recipes_fault() -> None:
    step = StepSpec("sklearn.linear_model.LogisticRegression", {"C": -1.0})
    recipe = Recipe("r", ".", Declaration("m", Task.CLASSIFICATION, DataSpec(sklearn="wine"), (step,)))
    with pytest.raises(ConfigurationError, match="'C' parameter"):
        fit_recipe(recipe, table(*rows(0)), 0)


def test_anomalies_are_never_trained_on() -> None:
    step = StepSpec("sklearn.svm.OneClassSVM")
    data = DataSpec(sklearn="digits", normal=("0",))
    recipe = Recipe("r", ".", Declaration("m", Task.ANOMALY, data, (step,)))
    fitted = fit_recipe(recipe, table(*rows(0)), 0)
    assert set(fitted.train.target.tolist()) == {1}  # type: ignore[union-attr]
    assert set(fitted.heldout.target.tolist()) == {1, -1}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("task", "target", "named"),
    [
        (Task.CLASSIFICATION, None, "needs a target"),
        (Task.REGRESSION, np.array(["a"] * 120), "is numbers"),
        (Task.ANOMALY, np.arange(120), "is 1 \\(normal\\) or -1"),
    ],
)
def test_a_target_fits_its_task(task: Task, target: np.ndarray | None, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        prepare_target(task, (), table(rows(0)[0], target))
