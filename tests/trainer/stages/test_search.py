"""The search keeps the whole frontier, builds what is wanted within the budget, and fp32 where nothing qualifies."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import Ridge

from edge_agent.contract.card import Budget, Want
from edge_agent.contract.manifest import Precision, Runtime
from edge_agent.kernels.interpreter import Interpreter
from edge_agent.kernels.primitives import Trees
from tests.fakes.trainer_models import fitted_mlp, proving, rows
from trainer.core.arrays import as_singles
from trainer.core.frontier import FASTEST, SMALLEST
from trainer.stages.forms import smaller_forms
from trainer.stages.lower.estimators import lower
from trainer.stages.search import Found, count_nodes, search
from trainer.stages.variants import Proven, build_variant, lower_source

pytestmark = pytest.mark.system


def noisy(seed: int = 0, n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Rows with labels that a fully grown tree learns by heart."""
    x, y = rows(seed, n=n)
    wrong = np.random.default_rng(seed).random(n) < 0.3
    return x, np.where(wrong, (y + 1) % 3, y)


def searched(model: object, x: np.ndarray, y: np.ndarray, budget: Budget) -> Found:
    """A search judged on rows that the model never saw."""
    model.fit(x[::2], y[::2])  # type: ignore[attr-defined]
    against = proving(model, x[1::2], y[1::2], budget)
    return search(against, lower_source(against.rehearsal.source))


def test_a_forest_that_learnt_noise_is_pruned_to_a_small_part() -> None:
    found = searched(RandomForestClassifier(30, random_state=0), *noisy(), Budget(0.5))
    exact = next(point for point in found.frontier if point.form == "fp32" and point.runtime is Runtime.ONNX)
    small = next(point for point in found.frontier if SMALLEST in point.marks and point.runtime is Runtime.ONNX)
    assert exact.size > 4 * small.size
    assert small.loss <= 0.5
    assert {plan.runtime for plan in found.plans} == set(Runtime)


def test_without_a_budget_nothing_that_loses_is_built() -> None:
    found = searched(RandomForestClassifier(30, random_state=0), *noisy(), Budget(0.0))
    chosen = {plan.variant.partition("-")[2] for plan in found.plans}
    assert all(point.loss <= 0 for point in found.frontier if point.form in chosen)
    lost = [point for point in found.frontier if point.loss > 0]
    assert lost
    assert not any(point.within or point.marks for point in lost)


def test_of_a_large_forest_only_what_is_within_the_budget_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.stages import search as module

    model = RandomForestClassifier(30, random_state=0)
    small = searched(model, *noisy(), Budget(0.0))
    monkeypatch.setattr(module, "MANY_NODES", 100)
    large = searched(model, *noisy(), Budget(0.0))
    assert all(point.within for point in large.frontier)
    assert not all(point.within for point in small.frontier)
    marked = {(point.runtime, point.form) for point in large.frontier if SMALLEST in point.marks}
    assert marked == {(point.runtime, point.form) for point in small.frontier if SMALLEST in point.marks}


def test_what_is_wanted_is_what_is_built() -> None:
    plans = {
        want: searched(RandomForestClassifier(30, random_state=0), *noisy(), Budget(0.5, want)).plans for want in Want
    }
    assert len(plans[Want.SIZE]) <= len(plans[Want.BOTH]) >= len(plans[Want.LATENCY])
    assert len(plans[Want.SIZE]) == len(Runtime)


def test_a_linear_model_has_no_smaller_form() -> None:
    x, y = rows(0)
    found = searched(Ridge(), x, y.astype(float), Budget(1.0))
    assert (found.frontier, found.plans) == ((), ())


def test_a_planned_variant_is_proven_like_any_other(tmp_path: Path) -> None:
    x, y = noisy()
    model = RandomForestRegressor(20, random_state=0).fit(x[::2], y[::2])
    against = proving(model, x[1::2], y[1::2].astype(float), Budget(1.0))
    found = search(against, lower_source(against.rehearsal.source))
    for plan in found.plans:
        proven = build_variant(plan, against, tmp_path)
        assert isinstance(proven, Proven), proven
        assert proven.plan.form
        wanted = next(point for point in found.frontier if f"{point.runtime}-{point.form}" == plan.variant)
        # What was searched with the interpreter is what the runtime answers.
        assert proven.score == pytest.approx(wanted.score, abs=1e-4)
        assert len(proven.data) == wanted.size


def test_every_form_of_a_forest_is_smaller_in_the_way_that_it_says() -> None:
    x, _ = noisy()
    model = RandomForestRegressor(20, min_samples_leaf=2, random_state=0).fit(
        x, np.random.default_rng(0).normal(size=len(x))
    )
    graph = lower(model, x.shape[1])
    forms = {form.key: form for form in smaller_forms(model, graph)}
    for key, form in forms.items():
        if key.startswith("pruned"):
            percent = int(key.removeprefix("pruned").removesuffix("-int16"))
            assert count_nodes(form.graph) <= count_nodes(graph) * percent / 100
        if key.startswith("cut"):
            percent = int(key.removeprefix("cut").removesuffix("-int16"))
            (trees,) = (node for node in form.graph.nodes if isinstance(node, Trees))
            assert len(trees.roots) == 20 * percent // 100
        if form.precision is Precision.INT16:
            tables = [node.table for node in form.graph.nodes if isinstance(node, Trees)]
            assert all(table.dtype == np.int16 for table in tables)
    exact, rounded = (Interpreter(item).run(as_singles(x)) for item in (graph, forms["int16"].graph))
    assert np.abs(exact - rounded).max() <= np.abs(exact).max() / 32767


def test_the_first_stages_of_a_boosting_are_the_boosting_stopped_there() -> None:
    x, y = noisy()
    whole = GradientBoostingClassifier(n_estimators=20, random_state=0).fit(x, y)
    half = GradientBoostingClassifier(n_estimators=10, random_state=0).fit(x, y)
    cut = next(form for form in smaller_forms(whole, lower(whole, x.shape[1])) if form.key == "cut50")
    np.testing.assert_allclose(Interpreter(cut.graph).run(as_singles(x)), half.predict_proba(x), atol=1e-4)


def test_eight_bits_are_the_smallest_form_of_a_perceptron() -> None:
    model, x, y = fitted_mlp()
    against = proving(model, x, y)
    found = search(against, lower_source(against.rehearsal.source))
    marked = {(point.runtime, mark): point.form for point in found.frontier for mark in point.marks}
    assert marked[Runtime.TFLITE, SMALLEST] == "int8"
    assert (Runtime.TFLITE, FASTEST) in marked
    # Asked for of every model anyway.
    assert found.plans == ()


@pytest.mark.parametrize("classes", [2, 3])
def test_other_libraries_boostings_are_cut_at_whole_rounds(classes: int) -> None:
    from lightgbm import LGBMClassifier
    from xgboost import XGBClassifier

    x, y = rows(0, n=200, classes=classes)
    for kind in (XGBClassifier, LGBMClassifier):
        options = {"verbose": -1} if kind is LGBMClassifier else {}
        whole, half = (kind(n_estimators=count, random_state=0, **options).fit(x, y) for count in (20, 10))
        cut = next(form for form in smaller_forms(whole, lower(whole, x.shape[1])) if form.key == "cut50")
        np.testing.assert_allclose(Interpreter(cut.graph).run(as_singles(x)), half.predict_proba(x), atol=1e-4)
