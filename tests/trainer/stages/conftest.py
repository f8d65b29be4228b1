"""Tests of lowerings and back-ends fit estimators, some hundreds in all: they are `compiler` tests."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
COMPILER = (
    HERE / "lower",
    HERE / "test_agreement.py",
    HERE / "test_backends.py",
    HERE / "test_lower.py",
    HERE / "test_matrix.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if any(place == item.path or place in item.path.parents for place in COMPILER):
            item.add_marker(pytest.mark.compiler)
