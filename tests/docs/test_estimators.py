"""The table of estimators is what the lowerings say of themselves."""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@cache
def script() -> ModuleType:
    """`scripts/estimators.py`, which is no package."""
    spec = importlib.util.spec_from_file_location("estimators", ROOT / "scripts" / "estimators.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_table_is_up_to_date() -> None:
    """When this fails: python scripts/estimators.py."""
    assert script().document() == script().PLACE.read_text()


def test_every_name_in_a_table_of_lowerings_is_a_class() -> None:
    """A misspelt name would never be found, and its estimator silently take another way."""
    # These are there only once somebody asks for them.
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - the import is what asks

    from trainer.stages.lower import registry

    registry._class.cache_clear()
    names = [name for table in registry.Table for entries in registry._entries(table).values() for name, _ in entries]
    assert [name for name in names if registry._class(name) is None] == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_nearly_everything_has_a_way() -> None:
    ways = [way for _, way, _ in script().rows()]
    assert ways.count("own") >= 60
    assert ways.count("own") + ways.count("skl2onnx") >= 125
    assert all(told for _, way, told in script().rows() if way != "skl2onnx")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_every_refusal_says_why_and_what_to_do() -> None:
    told = [told.split(": ") for _, way, told in script().rows() if way == "refused"]
    assert all(len(parts) == 2 and all(parts) and parts[1] != "ask for it" for parts in told)
