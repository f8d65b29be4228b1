"""Files that say they are skops and are something else, or that skops would load and scikit-learn follow anywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeRegressor

from tests.fakes import hostile_files
from tests.fakes.trainer_models import quietly_fit, rows
from trainer.errors import RejectedError
from trainer.stages import skops_limits
from trainer.stages.sources import load_estimator

DISGUISES: dict[str, Callable[[str], bytes]] = {
    "pickle": hostile_files.acting_pickle,
    "joblib": hostile_files.compressed_pickle,
    "array-in-skops": hostile_files.skops_around_a_pickle,
    "member-beside-nothing": lambda program: hostile_files.archive(model_pkl=hostile_files.acting_pickle(program)),
}


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
def test_a_pickle_in_disguise_runs_nothing(tmp_path: Path, disguise: Callable[[str], bytes]) -> None:
    mark, place = tmp_path / "ran", tmp_path / "model.skops"
    place.write_bytes(disguise(hostile_files.touched(mark)))
    with pytest.raises(RejectedError, match=r"no skops file|cannot be loaded|not known to be safe"):
        load_estimator(place, allow_pickle=False)
    assert not mark.exists()


def test_the_pickle_in_these_tests_does_run_where_it_is_allowed(tmp_path: Path) -> None:
    """Else the test above shows nothing."""
    mark, place = tmp_path / "ran", tmp_path / "model.joblib"
    place.write_bytes(hostile_files.compressed_pickle(hostile_files.touched(mark)))
    with pytest.raises(Exception, match="no fitted estimator"):
        load_estimator(place, allow_pickle=True)
    assert mark.exists()


def test_an_archive_that_swells_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "model.skops"
    place.write_bytes(hostile_files.swelling_skops(64 << 20))
    assert place.stat().st_size < 1 << 20
    monkeypatch.setattr(skops_limits, "MAX_UNPACKED_BYTES", 63 << 20)
    with pytest.raises(RejectedError, match="unpacks to 67108866 bytes in 2 members"):
        load_estimator(place, allow_pickle=False)


def test_an_archive_of_too_many_members_or_too_long_a_schema_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "model.skops"
    skops.io.dump(DecisionTreeRegressor().fit([[0.0], [1.0]], [0.0, 1.0]), place)
    monkeypatch.setattr(skops_limits, "MAX_MEMBERS", 2)
    with pytest.raises(RejectedError, match="more than is accepted"):
        load_estimator(place, allow_pickle=False)
    monkeypatch.undo()
    monkeypatch.setattr(skops_limits, "MAX_SCHEMA_BYTES", 10)
    with pytest.raises(RejectedError, match="more than is accepted"):
        load_estimator(place, allow_pickle=False)


SPOILED: dict[str, dict[str, int]] = {
    "child-far-away": {"left_child": 2**40},
    "child-below": {"right_child": -5},
    "loop": {"left_child": 0, "right_child": 0},
    "column-far-away": {"feature": 2**40},
    "column-below": {"feature": -7},
}
FORESTS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "tree": lambda: (tree := quietly_fit(DecisionTreeRegressor(), *rows(0)), tree.tree_),
    "forest": lambda: (
        forest := quietly_fit(RandomForestClassifier(3, random_state=0), *rows(0)),
        forest.estimators_[2].tree_,
    ),
    "boosting-in-a-pipeline": lambda: (
        made := make_pipeline(quietly_fit(GradientBoostingRegressor(n_estimators=2), *rows(0))),
        made[0].estimators_[1, 0].tree_,
    ),
    "isolation": lambda: (
        forest := quietly_fit(IsolationForest(n_estimators=3, random_state=0), rows(0)[0], None),
        forest.estimators_[1].tree_,
    ),
}


@pytest.mark.parametrize("changes", SPOILED.values(), ids=SPOILED)
@pytest.mark.parametrize("made", FORESTS.values(), ids=FORESTS)
def test_trees_that_lead_anywhere_are_refused(
    tmp_path: Path, made: Callable[[], tuple[Any, Any]], changes: dict[str, int]
) -> None:
    estimator, tree = made()
    (tmp_path / "model.skops").write_bytes(hostile_files.with_spoiled_tree(estimator, tree, **changes))
    with pytest.raises(RejectedError, match="a tree of the model"):
        load_estimator(tmp_path / "model.skops", allow_pickle=False)


@pytest.mark.parametrize(("field", "value"), [("left", 4_000_000_000), ("right", 0), ("feature_idx", -3)])
def test_trees_of_histograms_that_lead_anywhere_are_refused(tmp_path: Path, field: str, value: int) -> None:
    model = quietly_fit(HistGradientBoostingRegressor(max_iter=3), *rows(0))
    model._predictors[1][0].nodes[field][0] = value
    skops.io.dump(model, tmp_path / "model.skops")
    with pytest.raises(RejectedError, match="a tree of the model"):
        load_estimator(tmp_path / "model.skops", allow_pickle=False)


@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingRegressor(max_iter=3),
        KNeighborsClassifier(),
        KNeighborsClassifier(algorithm="ball_tree"),
        CalibratedClassifierCV(),
        make_pipeline(SelectKBest(k=2), LogisticRegression()),
        IsolationForest(n_estimators=5),
    ],
    ids=str,
)
def test_what_is_no_attack_is_loaded_and_predicts_the_same(tmp_path: Path, model: Any) -> None:
    x, y = rows(0)
    fitted = quietly_fit(model, x, y)
    skops.io.dump(fitted, tmp_path / "model.skops")
    loaded, _ = load_estimator(tmp_path / "model.skops", allow_pickle=False)
    assert np.array_equal(loaded.predict(x), fitted.predict(x))
