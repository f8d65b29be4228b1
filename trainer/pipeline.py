"""The order of a build: rows, model, gates, variants, proof, version folder.

House rules: this module orders the steps and decides nothing; time comes in as an argument, and what is going on is
told to a listener.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from edge_agent.contract.card import DataFingerprint, Gate, ModelCard, SourceKind, VariantEntry, VersionRecord
from edge_agent.contract.manifest import Manifest, Task
from edge_agent.contract.topics import check_name
from trainer.core.recipes import GateSpec, Recipe, judge_gates
from trainer.core.resolution import judge_resolution
from trainer.core.table import Table, fingerprint
from trainer.errors import ConfigurationError, GateError, RejectedError, UsageError
from trainer.stages import pack
from trainer.stages.data import load_data, read_file
from trainer.stages.fit import fit_recipe, prepare_target
from trainer.stages.metrics import check_metrics, main_metric, measure
from trainer.stages.onnx_source import accept, judge_output
from trainer.stages.rehearsal import Rehearsal, rehearse
from trainer.stages.source import Source, estimator_source, onnx_source
from trainer.stages.sources import load_estimator
from trainer.stages.variants import PLANS, Unbuilt, build_variant

LIBRARIES = ("edgeloop", "scikit-learn", "numpy", "skl2onnx", "onnx", "onnxruntime", "ai-edge-litert")

# Told (stage, detail) when a stage begins.
Listener = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Order:
    """Where a version goes, and the time that it is dated with (ISO 8601, UTC)."""

    out: Path
    created: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class Judging:
    """By what a version is judged, and what its card says beside figures."""

    model: str
    metrics: tuple[str, ...]
    gates: tuple[GateSpec, ...]
    seed: int
    description: str
    lineage: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Built:
    """A version folder that was written: its record, the manifests of its variants, and warnings."""

    folder: Path
    record: VersionRecord
    manifests: Mapping[str, Manifest]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """A model that was fitted elsewhere, and rows to judge it by."""

    model: Path
    data: Path
    name: str
    target: str | None = None
    task: Task | None = None
    output: str | None = None
    drop: tuple[str, ...] = ()
    description: str = ""
    allow_pickle: bool = False


def fit_version(recipe: Recipe, order: Order, tell: Listener, seed: int | None = None) -> Built:
    """Fit a recipe's model and build its version folder.

    Raises:
        GateError: a metric misses its threshold; nothing is written.
        TrainerError: the recipe, its data or the folder are not what they must be.
    """
    declaration = recipe.declaration
    pack.check_target(order.out, force=order.force)
    names = _metric_names(declaration.task, declaration.metrics, declaration.gates)
    chosen = declaration.split.seed if seed is None else seed
    tell("rows", declaration.data.sklearn or declaration.data.csv or str(declaration.data.callable))
    table = load_data(declaration.data, Path(recipe.folder))
    warnings = _check_columns(table)
    tell("fit", f"{table.rows} rows, {len(table.columns)} features")
    fitted = fit_recipe(recipe, table, chosen)
    if isinstance(fitted.model, bytes):
        source = _from_onnx(fitted.model, declaration.task, fitted.heldout, None)
    else:
        source = estimator_source(fitted.model, SourceKind.RECIPE)
    if source.task is not declaration.task:
        raise ConfigurationError(f"the recipe says {declaration.task}, its estimator does {source.task}")
    judging = Judging(
        model=declaration.model,
        metrics=names,
        gates=declaration.gates,
        seed=chosen,
        description=declaration.description,
        lineage={"recipe": recipe.name},
    )
    return _build(source, table, (fitted.train, fitted.heldout), judging, order, tell, warnings)


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
    tell("rows", request.data.name)
    table = read_file(request.data, request.target, request.drop)
    tell("model", request.model.name)
    source, table = _load_source(request, table)
    warnings = _check_columns(table)
    names = _metric_names(source.task, (), ()) if table.target is not None else ()
    judging = Judging(
        model=request.name,
        metrics=names,
        gates=(),
        seed=0,
        description=request.description,
        lineage={"file": request.model.name, "rows": "given with the model, all used to judge it"},
    )
    return _build(source, table, (table, table), judging, order, tell, warnings)


def _load_source(request: CompileRequest, table: Table) -> tuple[Source, Table]:
    if request.model.suffix == ".onnx":
        if request.task is None:
            raise UsageError("an ONNX graph does not say what it does", "add --task classification (or another)")
        if not request.model.is_file():
            raise UsageError(f"there is no model file {request.model}")
        table = _targeted(request.task, table)
        return _from_onnx(request.model.read_bytes(), request.task, table, request.output, SourceKind.ONNX), table
    estimator, kind = load_estimator(request.model, allow_pickle=request.allow_pickle)
    table = _in_order(table, getattr(estimator, "feature_names_in_", None))
    if estimator.n_features_in_ != len(table.columns):
        raise ConfigurationError(
            f"the model takes {estimator.n_features_in_} features, the data have {len(table.columns)} columns",
            "name the target with --target, and columns that are no features with --drop",
        )
    source = estimator_source(estimator, kind)
    if request.task not in (None, source.task):
        raise UsageError(f"--task says {request.task}, the model does {source.task}")
    return source, _targeted(source.task, table)


def _targeted(task: Task, table: Table) -> Table:
    return table if table.target is None else prepare_target(task, (), table)


def _in_order(table: Table, names: Sequence[str] | None) -> Table:
    """Return the table with its columns in the order in which the estimator was fitted, where it remembers names."""
    if names is None or list(names) == list(table.columns):
        return table
    if missing := [str(name) for name in names if name not in table.columns]:
        raise ConfigurationError(f"the data lack the column {missing[0]!r} that the model was fitted with")
    order = [table.columns.index(name) for name in names]
    return Table(table.name, tuple(map(str, names)), table.x[:, order], table.target)


def _from_onnx(
    data: bytes, task: Task, rows: Table, wanted: str | None, kind: SourceKind = SourceKind.RECIPE
) -> Source:
    from trainer.core.arrays import as_singles

    accepted = accept(data, len(rows.columns), wanted)
    if task is Task.REGRESSION:
        output = judge_output(task, accepted, rows.x[:0], None)
    else:
        guess = judge_output(Task.REGRESSION, accepted, rows.x[:0], None)
        scores = onnx_source(accepted.data, task, guess, accepted.columns, trees=False, kind=kind).score(
            as_singles(rows.x)
        )
        output = judge_output(task, accepted, scores, rows.target)
    return onnx_source(accepted.data, task, output, accepted.columns, trees=accepted.trees, kind=kind)


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
    warnings: tuple[str, ...],
) -> Built:
    train, heldout = parts
    tell("evaluate", f"{source.name} on {heldout.rows} rows")
    rehearsal = rehearse(judging.model, source, train, heldout, judging.metrics[0] if judging.metrics else None)
    metrics = measure(source.task, judging.metrics, source.output, rehearsal.target, rehearsal.reference)
    gates = judge_gates(judging.gates, metrics)
    if failed := [gate for gate in gates if not gate.passed]:
        raise GateError("; ".join(_miss(gate) for gate in failed), "nothing was written: improve the model or the gate")
    with pack.new_folder(order.out, force=order.force) as folder:
        entries, manifests = _write_variants(folder, rehearsal, tell)
        if not manifests:
            reasons = "; ".join(f"{entry.variant}: {entry.reason}" for entry in entries)
            raise RejectedError(f"no variant could be built: {reasons}")
        tell("pack", str(order.out))
        card = _card(rehearsal, judging, fingerprint(table), metrics, gates, order.created)
        record = VersionRecord(card, entries)
        (folder / source.file_name).write_bytes(source.file)
        pack.write_heldout(folder, heldout, rehearsal)
        pack.write_record(folder, record)
    return Built(order.out, record, manifests, warnings)


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
    folder: Path, rehearsal: Rehearsal, tell: Listener
) -> tuple[tuple[VariantEntry, ...], dict[str, Manifest]]:
    entries: list[VariantEntry] = []
    manifests: dict[str, Manifest] = {}
    for plan in PLANS:
        tell("variant", plan.variant)
        place = folder / pack.VARIANTS_NAME / plan.variant
        place.mkdir(parents=True)
        result = build_variant(plan, rehearsal, place)
        if isinstance(result, Unbuilt):
            for path in place.iterdir():
                path.unlink()
            place.rmdir()
            entries.append(VariantEntry(plan.variant, plan.runtime, plan.precision, reason=result.reason))
        else:
            manifests[plan.variant], digest = pack.write_bundle(place, result, rehearsal)
            entries.append(VariantEntry(plan.variant, plan.runtime, plan.precision, digest=digest))
    return tuple(entries), manifests
