"""Every estimator that is lowered has a differential property test: hypothesis fits it, all back-ends are compared."""

import ast
from pathlib import Path

import pytest

from trainer.stages.lower import registry
from trainer.stages.lower.refusals import REFUSALS

PLACES = Path(__file__).parents[1] / "trainer" / "stages" / "lower"
COMPARES = {"check_lowered", "check_fit"}


def words(tree: ast.AST) -> set[str]:
    """Names that a piece of code speaks of, in texts too: what is deprecated is asked for by its name."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                found.add(name)
            case ast.alias(name=name) | ast.Constant(value=str(name)):
                found.add(name)
    return found


def is_property(function: ast.stmt) -> bool:
    """Whether a test draws what it does from hypothesis."""
    return isinstance(function, ast.FunctionDef) and any("given" in words(mark) for mark in function.decorator_list)


def compared_in(path: Path) -> set[str]:
    """What the property tests of a file speak of, by themselves or through the file's own functions and tables."""
    body = ast.parse(path.read_text()).body
    own: dict[str, set[str]] = {}
    for part in body:
        match part:
            case ast.FunctionDef(name=name):
                own[name] = words(part)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                own[name] = words(part) - {name}
    found: set[str] = set()
    for part in body:
        if not is_property(part):
            continue
        reached, waiting = set(), words(part)
        while waiting:
            reached |= waiting
            waiting = set().union(*(own.get(word, set()) for word in waiting)) - reached
        if reached & COMPARES:
            found |= reached
    return found


def lowered() -> set[str]:
    """The classes with a lowering of their own, by their short names."""
    return {
        name.rpartition(".")[2]
        for table in registry.Table
        for entries in registry._entries(table).values()
        for name, _ in entries
        if name not in REFUSALS
    }


def test_every_lowered_estimator_has_a_property_test() -> None:
    compared = set().union(*(compared_in(path) for path in PLACES.glob("test_*.py")))
    assert len(lowered()) >= 60
    assert sorted(lowered() - compared) == []


@pytest.mark.parametrize("name", ["XGBClassifier", "MLPRegressor", "SVC"])
def test_a_property_test_is_found_by_what_it_fits(name: str) -> None:
    files = [path.name for path in PLACES.glob("test_*.py") if name in compared_in(path)]
    assert files
