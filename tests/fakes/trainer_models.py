"""Small fitted models and their rows for the trainer's tests, and a way to run what was compiled in this process."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edge_agent.contract.card import Budget, SourceKind
from edge_agent.contract.manifest import Runtime
from trainer.core.arrays import Column, Floats, Singles, as_singles
from trainer.core.parity import default_budget
from trainer.core.table import Table
from trainer.stages.hardening import harden
from trainer.stages.rehearsal import Rehearsal, rehearse
from trainer.stages.run_model import OPENERS
from trainer.stages.source import Source, estimator_source
from trainer.stages.variants import Proving, lower_source


def rows(seed: int, *, n: int = 120, columns: int = 5, classes: int = 3, shift: float = 0.0) -> tuple[Floats, Column]:
    """Rows around one centre a class, with columns of different scale; each class occurs."""
    chance = np.random.default_rng(seed)
    target = np.arange(n) % classes
    centres = chance.normal(size=(classes, columns)) * 2
    scales = 10.0 ** chance.integers(-2, 3, size=columns)
    x = (centres[target] + chance.normal(size=(n, columns)) + shift) * scales
    # Only values that float32 holds, so that an estimator and a device see the same numbers.
    return as_singles(x).astype(np.float64), target


def quietly_fit(estimator: BaseEstimator, x: Floats, y: Column | None) -> Any:
    """Fit without the warnings of a small number of rounds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(x, y)


def fitted_mlp(seed: int = 0, *, columns: int = 8, hidden: tuple[int, ...] = (64, 32)) -> tuple[Any, Floats, Column]:
    """A perceptron large enough for eight bits to mean something."""
    x, y = rows(seed, n=200, columns=columns)
    model = make_pipeline(StandardScaler(), MLPClassifier(hidden, max_iter=40, random_state=seed))
    return quietly_fit(model, x, y), x, y


def fitted_logistic(seed: int = 0) -> tuple[Any, Floats, Column]:
    """Logistic regression behind a scaler."""
    x, y = rows(seed)
    return quietly_fit(make_pipeline(StandardScaler(), LogisticRegression()), x, y), x, y


def fitted_ridge(seed: int = 0) -> tuple[Any, Floats, Column]:
    """Ridge regression on values."""
    x, y = rows(seed)
    return quietly_fit(Ridge(), x, y + x[:, 0]), x, y + x[:, 0]


def table(x: Floats, y: Column | None) -> Table:
    """The rows as a table with columns c0, c1, …"""
    return Table("rows", tuple(f"c{index}" for index in range(x.shape[1])), x, y)


def rehearsal(model: Any, x: Floats, y: Column | None) -> Rehearsal:
    """A rehearsal on the rows themselves."""
    return rehearse("small", source(model), table(x, y), table(x, y), None)


def proving(model: Any, x: Floats, y: Column | None, budget: Budget | None = None) -> Proving:
    """All that a variant of the model is held against."""
    own = rehearsal(model, x, y)
    return Proving(own, harden(own, lower_source(own.source)), budget or default_budget(own.source.output.kind))


def source(model: Any) -> Source:
    """The estimator as a source."""
    return estimator_source(model, SourceKind.RECIPE)


def run_here(data: bytes, runtime: Runtime, x: Singles, folder: Path, **options: str) -> Floats:
    """Scores of a compiled model, in this process."""
    path = folder / f"model.{runtime}"
    path.write_bytes(data)
    run, _ = OPENERS[runtime](str(path), options)
    return np.asarray(run(x), dtype=np.float64)
