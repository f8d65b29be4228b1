"""Builds the estimator of a recipe, splits the rows, fits, and hands over a source with what it was judged on."""

import importlib
import inspect
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_agent.contract.card import SourceKind
from edge_agent.contract.manifest import Task
from trainer.core.labels import label_texts
from trainer.core.recipes import Recipe, StepSpec
from trainer.core.table import Table
from trainer.errors import ConfigurationError


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The fitted estimator (or the bytes of an ONNX model), the rows it was fitted on, and those it never saw."""

    model: Any
    kind: SourceKind
    train: Table
    heldout: Table


def fit_recipe(recipe: Recipe, table: Table, seed: int) -> Fitted:
    """Split the table, fit the recipe's estimator on one part, keep the other.

    Raises:
        ConfigurationError: the recipe's estimator or parameters do not exist or do not fit the data.
    """
    train, heldout = split_recipe(recipe, table, seed)
    return fit_rows(recipe, train, heldout, seed)


def split_recipe(recipe: Recipe, table: Table, seed: int) -> tuple[Table, Table]:
    """Return (training rows, held-out rows) of a recipe's data, with the target that its task needs.

    Raises:
        ConfigurationError: there is no such target, or too few rows.
    """
    declaration = recipe.declaration
    table = prepare_target(declaration.task, declaration.data.normal, table)
    return split(declaration.task, table, declaration.split.share, seed, declaration.split.stratify)


def fit_rows(recipe: Recipe, train: Table, heldout: Table, seed: int) -> Fitted:
    """Fit the recipe's estimator on rows; `heldout` is what it will be judged by.

    Raises:
        ConfigurationError: the recipe's estimator or parameters do not exist or do not fit the rows.
    """
    declaration = recipe.declaration
    if declaration.task is Task.ANOMALY and train.target is not None:
        train = train.take(np.flatnonzero(train.target == 1))
    target = None if declaration.task in (Task.CLUSTERING, Task.ANOMALY) else train.target
    if recipe.build is not None:
        return Fitted(recipe.build(train.x, train.target, seed), SourceKind.RECIPE, train, heldout)
    estimator = build_estimator(declaration.steps, seed)
    try:
        with warnings.catch_warnings():
            # An iteration limit is the recipe's choice; what came of it is what the gates judge.
            warnings.simplefilter("ignore")
            estimator.fit(train.x, target)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"the estimator does not take the recipe's data or parameters: {error}") from error
    return Fitted(estimator, SourceKind.RECIPE, train, heldout)


def prepare_target(task: Task, normal: tuple[str, ...], table: Table) -> Table:
    """Return the table with the target that the task needs: float64 values, or 1 for normal and -1 for other rows.

    Raises:
        ConfigurationError: there is no target where one is needed, or it has another type.
    """
    target = table.target
    if task in (Task.CLASSIFICATION, Task.REGRESSION) and target is None:
        raise ConfigurationError(f"{task} needs a target", "name the target column")
    if target is None:
        return table
    if target.ndim != 1:
        raise ConfigurationError(f"a target is one column, this one has the shape {target.shape}")
    if task is Task.REGRESSION:
        if target.dtype.kind not in "iuf":
            raise ConfigurationError("the target of a regression is numbers, this one is not")
        target = target.astype(np.float64)
    elif normal:
        target = np.where(np.isin(label_texts(target), normal), 1, -1)
    elif task is Task.ANOMALY and not set(np.unique(target).tolist()) <= {1, -1}:
        raise ConfigurationError("the target of anomaly detection is 1 (normal) or -1", "or list data.normal")
    return Table(table.name, table.columns, table.x, target)


def split(task: Task, table: Table, share: float, seed: int, stratify: bool | None) -> tuple[Table, Table]:
    """Return (training rows, held-out rows), cut by the seed.

    Raises:
        ConfigurationError: there are too few rows, or a label occurs too seldom to stand on both sides.
    """
    from sklearn.model_selection import train_test_split

    by_label = table.target is not None and task is not Task.REGRESSION
    strata = table.target if (by_label if stratify is None else stratify) else None
    try:
        train, heldout = train_test_split(np.arange(table.rows), test_size=share, random_state=seed, stratify=strata)
    except ValueError as error:
        raise ConfigurationError(
            f"the rows cannot be split: {error}", "change split.share or split.stratify"
        ) from error
    return table.take(train), table.take(heldout)


def build_estimator(steps: tuple[StepSpec, ...], seed: int) -> Any:
    """Build the estimator of one step, or the pipeline of several; `seed` goes wherever chance is and none is given.

    Raises:
        ConfigurationError: a class or a parameter does not exist.
    """
    from sklearn.pipeline import make_pipeline

    built = [_build_step(step, seed) for step in steps]
    return built[0] if len(built) == 1 else make_pipeline(*built)


def _build_step(step: StepSpec, seed: int) -> Any:
    module, _, name = step.estimator.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"there is no class {step.estimator}") from error
    known = inspect.signature(cls).parameters
    for key in step.params:
        if key not in known:
            raise ConfigurationError(f"{name} has no parameter {key!r}", f"it has {', '.join(known)}")
    params = dict(step.params)
    if "random_state" in known:
        params.setdefault("random_state", seed)
    return cls(**params)
