"""Makes each variant that was asked for and proves it; one that cannot be made or proven keeps its reason.

House rules: a variant runs in a child process only; it is compared with its source over all held-out rows and over the
rows that were made to go wrong; what is shipped is exactly the file that was proven.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from edge_agent.contract.card import Budget
from edge_agent.contract.manifest import Precision, Runtime
from edge_agent.kernels.format import encode
from edge_agent.kernels.graph import Graph
from trainer.core.arrays import Floats, Singles
from trainer.core.golden import score_unit
from trainer.core.parity import Difference, compare, judge_agreement, judge_exact, judge_loss
from trainer.errors import CannotLower, ChildError, UnbuildableError
from trainer.stages.children import Run, run_model
from trainer.stages.forms import EIGHT_BITS, Form, eight_bits
from trainer.stages.hardening import Hard
from trainer.stages.quantize_onnx import RUNTIME_OPTIONS, quantize_weights
from trainer.stages.rehearsal import Rehearsal
from trainer.stages.source import Source

# A kernel for one row may round otherwise than the one for many; a model that mixes rows is far beyond.
BATCH_TOLERANCE = 0.05
SUFFIXES = {Runtime.ONNX: ".onnx", Runtime.TFLITE: ".tflite", Runtime.NUMPY: ".graph"}


@dataclass(frozen=True, slots=True)
class Plan:
    """One variant that is asked for; `form` says in words how it is smaller, nothing where it is exact.

    `rounded` says that its numbers were only rounded, so that its labels must be the source's nearly everywhere.
    """

    variant: str
    runtime: Runtime
    precision: Precision
    make: Callable[[Source], bytes]
    options: Mapping[str, str]
    form: str = ""
    rounded: bool = False

    @property
    def model_file(self) -> str:
        """Return the name of the model file in the bundle."""
        return f"model{SUFFIXES[self.runtime]}"


@dataclass(frozen=True, slots=True, eq=False)
class Proving:
    """What a variant is held against: the held-out rows, the hard ones, and what it may lose if it is not exact."""

    rehearsal: Rehearsal
    hard: Hard
    budget: Budget

    @property
    def x(self) -> Singles:
        """Return all rows, the held-out ones first."""
        return np.concatenate([self.rehearsal.x, self.hard.rows.x])

    def divide(self, scores: Floats) -> tuple[Floats, Floats]:
        """Return the scores of the held-out rows and those of the hard ones."""
        return scores[: len(self.rehearsal.x)], scores[len(self.rehearsal.x) :]

    def compare(self, scores: Floats) -> tuple[Difference, Difference]:
        """Compare the scores of all rows with the source's; return the difference of the held-out and the hard ones.

        Raises:
            UnbuildableError: they are of another shape, or not finite.
        """
        output, trees = self.rehearsal.source.output, self.rehearsal.source.trees
        heldout, hard = self.divide(scores)
        usual = float(self.rehearsal.reference.std())
        try:
            difference = compare(output, self.rehearsal.reference, heldout, trees=trees)
        except ValueError as error:
            raise UnbuildableError(str(error)) from error
        try:
            return difference, compare(output, self.hard.reference, hard, trees=trees, spread=usual)
        except ValueError as error:
            raise UnbuildableError(f"on rows that were made to go wrong, {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class Proven:
    """A variant that answers as its source does: its bytes, what it answered, what it costs.

    `run.scores` are those of the held-out rows, `hard_scores` those of the hard ones, of which `hard_difference` tells.
    """

    plan: Plan
    data: bytes
    run: Run
    hard_scores: Floats
    difference: Difference
    hard_difference: Difference
    score: float
    kernel_diff: float


@dataclass(frozen=True, slots=True)
class Unbuilt:
    """A variant that was asked for and is not there, with the reason."""

    plan: Plan
    reason: str


def make_onnx_fp32(source: Source) -> bytes:
    """Return the source as an ONNX model in float32: by our own lowering, by skl2onnx what that does not know."""
    if source.onnx is not None:
        return source.onnx
    from trainer.stages.emit_onnx import emit
    from trainer.stages.export_onnx import export

    try:
        graph = lower_source(source)
    except CannotLower as error:
        try:
            return export(source.estimator, source.columns, source.output)
        except UnbuildableError as other:
            raise UnbuildableError(f"{error}; {other}") from other
    return emit(graph)


def make_onnx_int8(source: Source) -> bytes:
    """Return the ONNX model with its matrix weights in eight bits."""
    try:
        graph = lower_source(source)
    except CannotLower:
        return quantize_weights(make_onnx_fp32(source))
    return emit(eight_bits(graph), Runtime.ONNX)


@lru_cache(maxsize=1)
def lower_source(source: Source) -> Graph:
    """Return the lowered graph of a source; every variant is made of the same one.

    Raises:
        CannotLower: a step has no exact lowering.
    """
    from trainer.stages.lower.estimators import lower

    if source.estimator is None:
        raise CannotLower("no lowering from an ONNX graph yet")
    return lower(source.estimator, source.columns, missing=source.missing)


def emit(graph: Graph, runtime: Runtime) -> bytes:
    """Return the file of a graph for a runtime.

    Raises:
        UnbuildableError: that runtime cannot say what a node means.
    """
    match runtime:
        case Runtime.ONNX:
            from trainer.stages import emit_onnx

            return emit_onnx.emit(graph)
        case Runtime.TFLITE:
            from trainer.stages import emit_tflite

            return emit_tflite.emit(graph)
        case Runtime.NUMPY:
            return encode(graph)


def options_of(runtime: Runtime, precision: Precision) -> Mapping[str, str]:
    """Return the settings with which a runtime has to load a variant."""
    return RUNTIME_OPTIONS if runtime is Runtime.ONNX and precision is Precision.INT8 else {}


def plan_form(form: Form, runtime: Runtime) -> Plan:
    """Return the plan of the variant that a form becomes on a runtime."""
    return Plan(
        variant=f"{runtime}-{form.key}",
        runtime=runtime,
        precision=form.precision,
        make=lambda _: emit(form.graph, runtime),
        options=options_of(runtime, form.precision),
        form=form.words,
        rounded=form.rounded,
    )


def _exact(runtime: Runtime) -> Callable[[Source], bytes]:
    return lambda source: emit(lower_source(source), runtime)


def _small(runtime: Runtime) -> Callable[[Source], bytes]:
    return lambda source: emit(eight_bits(lower_source(source)), runtime)


_MAKERS = {
    (Runtime.ONNX, Precision.FP32): make_onnx_fp32,
    (Runtime.ONNX, Precision.INT8): make_onnx_int8,
    (Runtime.TFLITE, Precision.FP32): _exact(Runtime.TFLITE),
    (Runtime.TFLITE, Precision.INT8): _small(Runtime.TFLITE),
    (Runtime.NUMPY, Precision.FP32): _exact(Runtime.NUMPY),
    (Runtime.NUMPY, Precision.INT8): _small(Runtime.NUMPY),
}
# What is asked for of every model; the search within the budget adds to it.
PLANS = tuple(
    Plan(
        variant=f"{runtime}-{precision}",
        runtime=runtime,
        precision=precision,
        make=make,
        options=options_of(runtime, precision),
        form=EIGHT_BITS if precision is Precision.INT8 else "",
        rounded=precision is Precision.INT8,
    )
    for (runtime, precision), make in _MAKERS.items()
)


def build_variant(plan: Plan, proving: Proving, folder: Path) -> Proven | Unbuilt:
    """Make one variant and prove it, with `folder` for its file."""
    try:
        data = plan.make(proving.rehearsal.source)
        return prove_variant(plan, data, proving, folder)
    except (UnbuildableError, ChildError) as error:
        return Unbuilt(plan, str(error))


def prove_variant(plan: Plan, data: bytes, proving: Proving, folder: Path) -> Proven:
    """Run a variant over the held-out and the hard rows and compare it with its source.

    Raises:
        UnbuildableError: it answers otherwise; the message has the measured figures.
        ChildError: it crashed, hung or was refused by its runtime.
    """
    path, rehearsal = folder / plan.model_file, proving.rehearsal
    path.write_bytes(data)
    run = run_model(path, plan.runtime, proving.x, plan.options, measure=True)
    difference, hard_difference = proving.compare(run.scores)
    if not run.single_diff <= BATCH_TOLERANCE * score_unit(rehearsal.source.output, rehearsal.reference):
        raise UnbuildableError(f"a row alone gets other scores than in a batch, by up to {run.single_diff:.3g}")
    scores, hard_scores = proving.divide(run.scores)
    score, quality = rehearsal.measure(scores)
    if reason := judge(plan, proving, (difference, hard_difference), quality):
        raise UnbuildableError(reason)
    kernel_diff = max(run.single_diff, _kernel_diff(plan, path, proving, run))
    own = replace(run, scores=scores)
    return Proven(plan, data, own, hard_scores, difference, hard_difference, score, kernel_diff)


def judge(plan: Plan, proving: Proving, differences: tuple[Difference, Difference], quality: float) -> str | None:
    """Return why a variant is refused, or nothing where it may be shipped."""
    heldout, hard = differences
    if not plan.form:
        if reason := judge_exact(heldout):
            return reason
        reason = judge_exact(hard)
        return reason and f"on rows that were made to go wrong, {reason}"
    kind = proving.rehearsal.source.output.kind
    reason = judge_loss(kind, quality, proving.rehearsal.quality, proving.budget)
    return reason or (judge_agreement(kind, heldout) if plan.rounded else None)


def _kernel_diff(plan: Plan, path: Path, proving: Proving, run: Run) -> float:
    """Return how far another implementation of the same operators is from what was proven (TFLite has one here).

    Over the rows that golden vectors are chosen from: in eight bits an extreme row is rounded by far more than others.
    """
    if plan.runtime is not Runtime.TFLITE:
        return 0.0
    try:
        other = run_model(path, plan.runtime, proving.x, {**plan.options, "kernels": "reference"})
    except ChildError:
        # Not every operator has a plain kernel; then the floor of the tolerance has to do.
        return 0.0
    usual = np.concatenate([np.ones(len(proving.rehearsal.x), np.bool_), proving.hard.rows.is_golden])
    return float(np.abs(other.scores - run.scores)[usual].max())
