"""Rows of every kind that estimators want, and the frame of a differential test of lowerings."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from tests.fakes.lowering import check_lowered
from tests.fakes.trainer_models import quietly_fit, rows
from trainer.core.arrays import Column, Floats, as_singles

FEW = settings(max_examples=6)
SEEDS = st.integers(0, 99)
Parameters = Mapping[str, st.SearchStrategy[Any]]


def even_rows(seed: int, *, classes: int = 3, n: int = 90, columns: int = 4) -> tuple[Floats, Column]:
    """Rows whose columns are about of one size, and their classes (some rows in the wrong one)."""
    x, y = rows(seed, n=n, columns=columns, classes=classes)
    x = as_singles((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float64)
    wrong = np.random.default_rng(seed).random(n) < 0.1
    return x, np.where(wrong, (y + 1) % classes, y)


def amounts(x: Floats, seed: int, *, targets: int = 1) -> Floats:
    """Positive values that depend on the rows, with noise; one column a target if there are several."""
    chance = np.random.default_rng(seed)
    values: Floats = np.exp(x @ chance.normal(size=(x.shape[1], targets)) / 3) + chance.random((len(x), targets))
    return values if targets > 1 else values[:, 0]


def counts(seed: int, *, classes: int = 3, n: int = 90, columns: int = 4, most: int = 5) -> tuple[Floats, Column]:
    """Rows of small whole numbers that depend on the class; every number occurs in every column."""
    chance = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = np.minimum(chance.poisson(chance.uniform(0.3, 2.5, size=(classes, columns))[y]), most - 1).astype(np.float64)
    x[:most] = np.arange(most)[:, None]
    return x, y


def draw(data: st.DataObject, parameters: Parameters) -> dict[str, Any]:
    """Draw one value for each parameter."""
    return data.draw(st.fixed_dictionaries(dict(parameters)))


def check_fit(estimator: Any, x: Floats, y: Column | None, new: Floats | None = None, *, wide: bool = False) -> None:
    """Fit quietly and hold the lowered form against the estimator, on its own rows and on new ones.

    `wide` is the bound for sums over trees, see `check_lowered`.
    """
    quietly_fit(estimator, x, y)
    check_lowered(estimator, x, trees=wide)
    check_lowered(estimator, x[::-1] * 1.25 if new is None else new, trees=wide)
