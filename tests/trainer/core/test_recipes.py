"""Recipes: what is written is what is meant, and what is not known is an error that names it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.card import Bound
from edge_agent.contract.codec import MalformedError
from trainer.core.recipes import GateSpec, judge_gates, parse_declaration

SMALL = """
model = "wine"
task = "classification"
[data]
sklearn = "wine"
[[steps]]
estimator = "sklearn.linear_model.LogisticRegression"
params = { C = 2.0 }
[[gates]]
metric = "accuracy"
at_least = 0.9
"""
NAMES = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)


def test_a_small_recipe_is_read() -> None:
    declaration = parse_declaration(SMALL)
    assert declaration.steps[0].params == {"C": 2.0}
    assert (declaration.split.share, declaration.split.seed) == (0.25, 0)
    assert declaration.gates == (GateSpec("accuracy", at_least=0.9),)


KNOWN = {"model", "task", "data", "steps", "split", "metrics", "gates", "description"}


@given(key=NAMES.filter(lambda key: key not in KNOWN))
def test_an_unknown_key_is_named(key: str) -> None:
    with pytest.raises(MalformedError, match=f"unknown key '{key}'"):
        parse_declaration(f"{key} = 1\n{SMALL}")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("data.url='x'", "unknown key 'url'"),
        ("split.shares=0.3", "unknown key 'shares'"),
        ("gates.0.above=0.3", "unknown key 'above'"),
        ("steps.0.class='x'", "unknown key 'class'"),
        ("split.share=1.5", "share is within"),
        ("split.seed='one'", "recipe.split.seed: expected a whole number"),
        ("task=guessing", "expected one of classification"),
        ("model='Wine 1'", "a name is"),
        ("gates.0.at_most=0.3", "either at_least or at_most"),
        ("data.csv='a.csv'", "exactly one of"),
        ("data.normal=['0']", "belongs to anomaly"),
        ("data.target='y'", "belong to csv"),
        ("steps.0.estimator='os.system'", "no class below sklearn"),
        ("steps.0.estimator='sklearn_evil.Model'", "no class below sklearn"),
        ("steps.3.estimator='x'", "'3' is no index of 1 elements"),
        ("model.name=1", "nothing stands below 'name'"),
        ("model", "not of the form key=value"),
    ],
)
def test_what_is_wrong_is_named(change: str, named: str) -> None:
    with pytest.raises(MalformedError, match=named):
        parse_declaration(SMALL, [change])


def test_broken_toml_is_an_error() -> None:
    with pytest.raises(MalformedError, match="not TOML"):
        parse_declaration("model = ")


def test_changes_are_laid_over_the_recipe() -> None:
    changes = ["split.share=0.5", "steps.0.params.C=3", "description=as it comes", "metrics=['f1_macro']"]
    declaration = parse_declaration(SMALL, changes)
    assert declaration.split.share == 0.5
    assert declaration.steps[0].params == {"C": 3}
    assert declaration.description == "as it comes"
    assert declaration.metrics == ("f1_macro",)


NUMBERS = st.floats(-10, 10)


@given(value=NUMBERS, threshold=NUMBERS)
def test_a_gate_passes_on_its_good_side_only(value: float, threshold: float) -> None:
    specs = (GateSpec("m", at_least=threshold), GateSpec("m", at_most=threshold))
    least, most = judge_gates(specs, {"m": value})
    assert (least.bound, most.bound) == (Bound.AT_LEAST, Bound.AT_MOST)
    assert least.passed == (value >= threshold)
    assert most.passed == (value <= threshold)


@given(threshold=NUMBERS)
def test_a_metric_that_is_no_number_passes_no_gate(threshold: float) -> None:
    specs = (GateSpec("m", at_least=threshold), GateSpec("m", at_most=threshold))
    assert not any(gate.passed for gate in judge_gates(specs, {"m": float("nan")}))
