"""The order of a build: rows, model, gates, variants, proof, version folder.

House rules: this module orders the steps and decides nothing; time comes in as an argument, and what is going on is
told to a listener.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from edge_agent.contract.card import Budget, DataFingerprint, Gate, ModelCard, SourceKind, VariantEntry, VersionRecord
from edge_agent.contract.manifest import Manifest, Task
from edge_agent.contract.topics import check_name
from edge_agent.kernels.graph import Graph
from trainer.core.advice import advise
from trainer.core.parity import default_budget, describe_budget
from trainer.core.recipes import GateSpec, Recipe, judge_gates
from trainer.core.releases import Release
from trainer.core.resolution import judge_resolution
from trainer.core.table import Table, fingerprint
from trainer.errors import CannotLower, ConfigurationError, GateError, RejectedError, UsageError
from trainer.stages import pack
from trainer.stages.certificate import certify
from trainer.stages.data import load_data, read_file
from trainer.stages.fit import Fitted, fit_recipe
from trainer.stages.hardening import harden
from trainer.stages.metrics import check_metrics, main_metric, measure
from trainer.stages.page import PAGE_NAME, write_page
from trainer.stages.refits import advise_refits
from trainer.stages.rehearsal import Rehearsal, rehearse
from trainer.stages.requests import CompileRequest, from_onnx, load_source
from trainer.stages.search import Found, search
from trainer.stages.source import Source, estimator_source
from trainer.stages.variants import PLANS, Plan, Proving, Unbuilt, build_variant, lower_source

LIBRARIES = ("edgeloop", "scikit-learn", "numpy", "skl2onnx", "onnx", "onnxruntime", "ai-edge-litert")

# Told (stage, detail, share of the whole work that is done) when a stage begins.
Listener = Callable[[str, str, float], None]


@dataclass(frozen=True, slots=True)
class Order:
    """Where a version goes, the time that it is dated with (ISO 8601, UTC), and releases that it is proven on too."""

    out: Path
    created: str
    force: bool = False
    releases: tuple[Release, ...] = ()


@dataclass(frozen=True, slots=True)
class Judging:
    """By what a version is judged, and what its card says beside figures."""

    model: str
    metrics: tuple[str, ...]
    gates: tuple[GateSpec, ...]
    seed: int
    description: str
    budget: Budget | None = None
    lineage: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Notes:
    """What was noticed on the way: warnings, and advice about models that would do as well."""

    warnings: tuple[str, ...]
    advice: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Built:
    """A version folder that was written: its record, the manifests of its variants, and warnings."""

    folder: Path
    record: VersionRecord
    manifests: Mapping[str, Manifest]
    warnings: tuple[str, ...]


def fit_version(recipe: Recipe, order: Order, tell: Listener, seed: int | None = None) -> Built:
    """Fit a recipe's model and build its version folder.

    Raises:
        GateError: a metric misses its threshold; nothing is written.
        TrainerError: the recipe, its data or the folder are not what they must be.
    """
    declaration = recipe.declaration
    pack.check_target(order.out, force=order.force)
    _metric_names(declaration.task, declaration.metrics, declaration.gates)  # before the work, not after it
    chosen = declaration.split.seed if seed is None else seed
    tell("rows", declaration.data.sklearn or declaration.data.csv or str(declaration.data.callable), 0.0)
    table = load_data(declaration.data, Path(recipe.folder))
    tell("fit", f"{table.rows} rows, {len(table.columns)} features", 0.02)
    return build_fitted(recipe, table, fit_recipe(recipe, table, chosen), order, tell, chosen)


def build_fitted(
    recipe: Recipe,
    table: Table,
    fitted: Fitted,
    order: Order,
    tell: Listener,
    seed: int,
    lineage: Mapping[str, str] | None = None,
) -> Built:
    """Build the version folder of a recipe's fitted model; `table` is all rows that it was made and judged with.

    Raises:
        GateError: a metric misses its threshold; nothing is written.
        TrainerError: the model cannot be built.
    """
    declaration, warnings = recipe.declaration, _check_columns(table)
    names = _metric_names(declaration.task, declaration.metrics, declaration.gates)
    source = recipe_source(fitted, declaration.task)
    judging = Judging(
        model=declaration.model,
        metrics=names,
        gates=declaration.gates,
        seed=seed,
        description=declaration.description,
        budget=declaration.budget,
        lineage={"recipe": recipe.name, **(lineage or {})},
    )
    tell("advice", "whether a smaller model would do", 0.1)
    notes = Notes(warnings, advise_refits(source, fitted.train, fitted.heldout, declaration.budget))
    return _build(source, table, (fitted.train, fitted.heldout), judging, order, tell, notes)


def recipe_source(fitted: Fitted, task: Task) -> Source:
    """Return a recipe's fitted model as a source.

    Raises:
        ConfigurationError: it does another task than the recipe says.
        RejectedError: it has no scores that a device could give.
    """
    if isinstance(fitted.model, bytes):
        return from_onnx(fitted.model, task, fitted.heldout, None)
    source = estimator_source(fitted.model, SourceKind.RECIPE)
    if source.task is not task:
        raise ConfigurationError(f"the recipe says {task}, its estimator does {source.task}")
    return source


def compile_version(request: CompileRequest, order: Order, tell: Listener) -> Built:
    """Build the version folder of a model that was fitted elsewhere; all its rows are held out and describe its input.

    Raises:
        TrainerError: the model is refused, or the data do not fit it.
    """
    try:
        check_name(request.name)
    except ValueError as error:
        raise UsageError(str(error)) from error
    pack.check_target(order.out, force=order.force)
    tell("rows", request.data.name, 0.0)
    table = read_file(request.data, request.target, request.drop)
    tell("model", request.model.name, 0.05)
    source, table = load_source(request, table)
    warnings = _check_columns(table)
    names = _metric_names(source.task, (), ()) if table.target is not None else ()
    judging = Judging(
        model=request.name,
        metrics=names,
        gates=(),
        seed=0,
        description=request.description,
        budget=request.budget(source.output.kind),
        lineage={"file": request.model.name, "rows": "given with the model, all used to judge it"},
    )
    return _build(source, table, (table, table), judging, order, tell, Notes(warnings))


def _metric_names(task: Task, metrics: Sequence[str], gates: Sequence[GateSpec]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys([*(metrics or [main_metric(task)]), *(gate.metric for gate in gates)]))
    check_metrics(task, names)
    return names


def _check_columns(table: Table) -> tuple[str, ...]:
    warnings, refusal = judge_resolution(table.columns, table.x)
    if refusal is not None:
        raise RejectedError(refusal, "subtract a constant from the column (a start time, for one)")
    return warnings


def _build(
    source: Source,
    table: Table,
    parts: tuple[Table, Table],
    judging: Judging,
    order: Order,
    tell: Listener,
    notes: Notes,
) -> Built:
    train, heldout = parts
    source = replace(source, missing=any(bool(np.isnan(part.x).any()) for part in parts))
    tell("evaluate", f"{source.name} on {heldout.rows} rows", 0.15)
    rehearsal = rehearse(judging.model, source, train, heldout, judging.metrics[0] if judging.metrics else None)
    metrics = measure(source.task, judging.metrics, source.output, rehearsal.target, rehearsal.reference)
    gates = judge_gates(judging.gates, metrics)
    if failed := [gate for gate in gates if not gate.passed]:
        raise GateError("; ".join(_miss(gate) for gate in failed), "nothing was written: improve the model or the gate")
    budget = judging.budget or default_budget(source.output.kind)
    graph = _graph(source)
    proving = Proving(rehearsal, harden(rehearsal, graph), budget)
    tell("search", f"smaller forms within {describe_budget(source.output.kind, budget)}", 0.2)

    def told(words: str, share: float) -> None:
        tell("search", words, 0.2 + 0.2 * share)

    found = search(proving, graph, told) if graph is not None else Found((), ())
    with pack.new_folder(order.out, force=order.force) as folder:
        plans = (*PLANS, *found.plans)
        entries, manifests, unproven = _write_variants(folder, plans, proving, order.releases, tell)
        if not manifests:
            reasons = "; ".join(f"{entry.variant}: {entry.reason}" for entry in entries)
            raise RejectedError(f"no variant could be built: {reasons}")
        tell("pack", str(order.out), 0.97)
        card = _card(rehearsal, judging, fingerprint(table), metrics, gates, order.created)
        advice = (*notes.advice, *advise(source.output.kind, found.frontier))
        record = VersionRecord(card, entries, budget, found.frontier, advice)
        (folder / source.file_name).write_bytes(source.file)
        pack.write_heldout(folder, heldout, rehearsal)
        pack.write_record(folder, record)
        write_page(folder / PAGE_NAME, record, manifests)
    return Built(order.out, record, manifests, (*notes.warnings, *unproven))


def _graph(source: Source) -> Graph | None:
    try:
        return lower_source(source)
    except CannotLower:
        return None


def _card(
    rehearsal: Rehearsal,
    judging: Judging,
    data: DataFingerprint,
    metrics: Mapping[str, float],
    gates: tuple[Gate, ...],
    created: str,
) -> ModelCard:
    source = rehearsal.source
    return ModelCard(
        model=judging.model,
        task=source.task,
        source=source.kind,
        estimator=source.name,
        created=created,
        data=data,
        train_rows=rehearsal.train_rows,
        heldout_rows=len(rehearsal.x),
        seed=judging.seed,
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        gates=gates,
        libraries={name: version(name) for name in LIBRARIES},
        estimator_latency_p50_us=source.latency_p50_us(rehearsal.x),
        description=judging.description,
        lineage=judging.lineage,
    )


def _miss(gate: Gate) -> str:
    return (
        f"gate not met: {gate.metric} is {gate.value:.6g}, {gate.bound.replace('_', ' ')} {gate.threshold:g} is asked"
    )


def _write_variants(
    folder: Path, plans: Sequence[Plan], proving: Proving, releases: Sequence[Release], tell: Listener
) -> tuple[tuple[VariantEntry, ...], dict[str, Manifest], tuple[str, ...]]:
    """Build every plan; return what became of each, the manifests, and on which releases nothing could be proven."""
    entries: list[VariantEntry] = []
    manifests: dict[str, Manifest] = {}
    unproven: dict[str, None] = {}
    for index, plan in enumerate(plans):
        tell("variant", f"{plan.variant} ({index + 1} of {len(plans)})", 0.4 + 0.55 * index / len(plans))
        place = folder / pack.VARIANTS_NAME / plan.variant
        place.mkdir(parents=True)
        result = build_variant(plan, proving, place)
        if isinstance(result, Unbuilt):
            for path in place.iterdir():
                path.unlink()
            place.rmdir()
            entries.append(VariantEntry(plan.variant, plan.runtime, plan.precision, reason=result.reason))
        else:
            certificate = certify(place, result, proving, releases)
            unproven.update(dict.fromkeys(f"not proven there: {reason}" for reason in certificate.unproven))
            manifests[plan.variant], digest = pack.write_bundle(place, result, proving, certificate.proofs)
            entries.append(VariantEntry(plan.variant, plan.runtime, plan.precision, digest=digest))
    return tuple(entries), manifests, tuple(unproven)
