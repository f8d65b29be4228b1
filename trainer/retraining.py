"""The order of a retraining: base and fresh rows, fit, the gate against the running version, build, the gate again.

House rules: as `trainer.pipeline`. The newest fresh rows and the back-test are never trained on; a verdict is written
whether it was won or lost, a version only where it was won.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edge_agent.contract import codec
from edge_agent.contract.card import DataFingerprint
from edge_agent.contract.manifest import Task
from edge_agent.contract.retraining import VERDICT_NAME, VERSION_FOLDER, Comparison, GateTerms, RetrainVerdict
from trainer.core.arrays import Column, as_singles
from trainer.core.labels import label_texts
from trainer.core.recipes import Recipe
from trainer.core.retraining import compare, judge_retraining, label_gains, value_gains
from trainer.core.table import Table, fingerprint, join_rows
from trainer.errors import ConfigurationError, GateError, UsageError
from trainer.pipeline import Built, Listener, Order, build_fitted, recipe_source
from trainer.stages.bundles import Bundle, ask_bundle, find_bundle, find_variant
from trainer.stages.data import load_data, read_file
from trainer.stages.fit import Fitted, fit_rows, prepare_target, split_recipe
from trainer.stages.metrics import predictions
from trainer.stages.source import Source

FRESH_TARGET = "target"
_TASKS = (Task.CLASSIFICATION, Task.REGRESSION)


@dataclass(frozen=True, slots=True)
class RetrainRequest:
    """What is asked for: `fresh` are labelled rows, the oldest first; `running` a bundle or a version folder."""

    recipe: Recipe
    fresh: Path
    running: Path
    terms: GateTerms = field(default_factory=GateTerms)
    lineage: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Retrained:
    """The verdict, and the version where it was won."""

    verdict: RetrainVerdict
    built: Built | None


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows by what they are for."""

    train: Table
    backtest: Table
    newest: Table
    base: DataFingerprint
    fresh: DataFingerprint


def retrain_version(request: RetrainRequest, order: Order, tell: Listener, seed: int | None = None) -> Retrained:
    """Fit the recipe on base and older fresh rows, judge it against the running version, and build it where it wins.

    `order.out` gets `verdict.json`, and with it `version/` where the verdict was won.

    Raises:
        TrainerError: the recipe, the rows or the running version are not what they must be.
    """
    declaration = request.recipe.declaration
    if declaration.task not in _TASKS:
        raise ConfigurationError(f"{declaration.task} has no labels to be judged by: only {' and '.join(_TASKS)} have")
    _prepare(order.out, force=order.force)
    running = find_bundle(request.running)
    if (running.manifest.model, running.manifest.task) != (declaration.model, declaration.task):
        said = f"{running.manifest.model} ({running.manifest.task})"
        raise UsageError(f"the running version is of {said}, the recipe of {declaration.model} ({declaration.task})")
    chosen = declaration.split.seed if seed is None else seed
    tell("rows", f"base data and {request.fresh.name}", 0.0)
    rows = _rows(request, chosen)
    tell("fit", f"{rows.train.rows} rows, {rows.newest.rows} newest and {rows.backtest.rows} base rows held out", 0.02)
    fitted = fit_rows(request.recipe, rows.train, join_rows(rows.train.name, rows.backtest, rows.newest), chosen)
    source = recipe_source(fitted, declaration.task)
    tell("gate", f"against {running.manifest.variant} {running.digest[:12]}", 0.1)
    verdict = _judge(request, rows, running, source, chosen)
    built = None
    if verdict.won:
        verdict, built = _build(request, rows, running, (fitted, verdict), order, tell, chosen)
    (order.out / VERDICT_NAME).write_bytes(codec.encode(verdict))
    return Retrained(verdict, built)


def _prepare(out: Path, *, force: bool) -> None:
    held = [name for name in (VERDICT_NAME, VERSION_FOLDER) if (out / name).exists()]
    if held and not force:
        raise UsageError(f"{out} holds {held[0]} already", "choose another folder with --out, or add --force")
    out.mkdir(parents=True, exist_ok=True)
    (out / VERDICT_NAME).unlink(missing_ok=True)


def _rows(request: RetrainRequest, seed: int) -> _Rows:
    declaration = request.recipe.declaration
    base = load_data(declaration.data, Path(request.recipe.folder))
    target = declaration.data.target or FRESH_TARGET
    fresh = _like(read_file(request.fresh, target, request.drop), base)
    train, backtest = split_recipe(request.recipe, base, seed)
    fresh = _typed(prepare_target(declaration.task, (), fresh), train)
    cut = fresh.rows - max(1, round(fresh.rows * request.terms.newest))
    if cut < 1:
        raise ConfigurationError(
            f"{request.fresh.name} has {fresh.rows} rows: too few to train on some and judge by some"
        )
    older, newest = fresh.take(np.arange(cut)), fresh.take(np.arange(cut, fresh.rows))
    return _Rows(join_rows(base.name, train, older), backtest, newest, fingerprint(base), fingerprint(fresh))


def _like(fresh: Table, base: Table) -> Table:
    """Return the fresh rows with the base's columns, in its order."""
    if missing := [name for name in base.columns if name not in fresh.columns]:
        raise ConfigurationError(f"{fresh.name}: there is no column {missing[0]!r}", "the base data have it")
    order = [fresh.columns.index(name) for name in base.columns]
    return Table(fresh.name, base.columns, fresh.x[:, order], fresh.target)


def _typed(fresh: Table, base: Table) -> Table:
    """Return the fresh rows with labels of the base's type."""
    if base.target is None or fresh.target is None or fresh.target.dtype.kind == base.target.dtype.kind:
        return fresh
    try:
        typed = fresh.target.astype(base.target.dtype)
        same = (label_texts(typed) == label_texts(fresh.target)).all() or (typed == fresh.target).all()
    except ValueError:
        same = False
    if not same:
        kinds = f"{fresh.target.dtype} and {base.target.dtype}"
        raise ConfigurationError(f"{fresh.name}: its labels are of another type than the base data's ({kinds})")
    return Table(fresh.name, fresh.columns, fresh.x, typed)


def _judge(request: RetrainRequest, rows: _Rows, running: Bundle, source: Source, seed: int) -> RetrainVerdict:
    def both(table: Table) -> tuple[Column, Column]:
        return ask_bundle(running, table), predictions(source.output, source.score(as_singles(table.x)))

    newest, backtest = (
        _compare(request, table, both(table), seed + place) for place, table in enumerate((rows.newest, rows.backtest))
    )
    won, reason = judge_retraining(newest, backtest, request.terms)
    return RetrainVerdict(
        model=request.recipe.declaration.model,
        won=won,
        reason=reason,
        metric="accuracy" if source.task is Task.CLASSIFICATION else "mae",
        terms=request.terms,
        newest=newest,
        backtest=backtest,
        base=rows.base,
        fresh=rows.fresh,
        train_rows=rows.train.rows,
        running_digest=running.digest,
        running_variant=running.manifest.variant,
        lineage=dict(request.lineage),
    )


def _compare(request: RetrainRequest, rows: Table, answers: Sequence[Column], seed: int) -> Comparison:
    running, retrained = answers
    target = np.asarray(rows.target)
    if request.recipe.declaration.task is Task.REGRESSION:
        truth = target.astype(np.float64)
        gains = value_gains(truth, running, retrained)
        before, after = (float(np.abs(answer - truth).mean()) for answer in answers)
    else:
        truth = label_texts(target)
        gains = label_gains(truth, running, retrained)
        before, after = (float((answer == truth).mean()) for answer in answers)
    return compare(gains, before, after, request.terms.confidence, seed)


def _build(
    request: RetrainRequest,
    rows: _Rows,
    running: Bundle,
    judged: tuple[Fitted, RetrainVerdict],
    order: Order,
    tell: Listener,
    seed: int,
) -> tuple[RetrainVerdict, Built | None]:
    """Build the version, and judge once more by what was built: the bundle of the running one's kind."""
    fitted, verdict = judged
    place = order.out / VERSION_FOLDER
    lineage = {
        "base_sha256": rows.base.sha256,
        "base_rows": str(rows.base.rows),
        "fresh_sha256": rows.fresh.sha256,
        "fresh_rows": str(rows.fresh.rows),
        "parent_bundle": running.digest,
        **request.lineage,
    }
    whole = join_rows(rows.train.name, rows.train, fitted.heldout)
    try:
        built = build_fitted(request.recipe, whole, fitted, replace(order, out=place), tell, seed, lineage)
    except GateError as error:
        return replace(verdict, won=False, reason=f"{verdict.reason}; but {error}"), None
    bundle = find_variant(place, running.manifest.variant)
    answers = ask_bundle(running, rows.newest), ask_bundle(bundle, rows.newest)
    compared = _compare(request, rows.newest, answers, seed)
    won, reason = judge_retraining(compared, verdict.backtest, request.terms)
    return replace(verdict, won=won, reason=reason, built=compared), built if won else None
