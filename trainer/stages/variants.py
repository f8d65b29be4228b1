"""Makes each variant that was asked for and proves it; one that cannot be made or proven keeps its reason.

House rules: a variant runs in a child process only; it is compared with its source over all held-out rows; what is
shipped is exactly the file that was proven.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edge_agent.contract.manifest import Precision, Runtime
from edge_agent.kernels.format import encode
from edge_agent.kernels.graph import Graph
from trainer.core.golden import score_unit
from trainer.core.parity import Difference, compare, judge
from trainer.core.quantization import count_weights, judge_worth, quantize_graph
from trainer.errors import CannotLower, ChildError, UnbuildableError
from trainer.stages.children import Run, run_model
from trainer.stages.quantize_onnx import RUNTIME_OPTIONS, quantize_weights
from trainer.stages.rehearsal import Rehearsal
from trainer.stages.source import Source

# A kernel for one row may round otherwise than the one for many; a model that mixes rows is far beyond.
BATCH_TOLERANCE = 0.05
SUFFIXES = {Runtime.ONNX: ".onnx", Runtime.TFLITE: ".tflite", Runtime.NUMPY: ".graph"}


@dataclass(frozen=True, slots=True)
class Plan:
    """One variant that is asked for."""

    variant: str
    runtime: Runtime
    precision: Precision
    make: Callable[[Source], bytes]
    options: Mapping[str, str]

    @property
    def model_file(self) -> str:
        """Return the name of the model file in the bundle."""
        return f"model{SUFFIXES[self.runtime]}"


@dataclass(frozen=True, slots=True, eq=False)
class Proven:
    """A variant that answers as its source does: its bytes, what it answered, what it costs."""

    plan: Plan
    data: bytes
    run: Run
    difference: Difference
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
    from trainer.stages.emit_onnx import emit

    try:
        graph = lower_source(source)
    except CannotLower:
        return quantize_weights(make_onnx_fp32(source))
    return emit(_eight_bits(graph))


def make_tflite_fp32(source: Source) -> bytes:
    """Return the lowered source as a TFLite flatbuffer in float32."""
    from trainer.stages.emit_tflite import emit

    return emit(lower_source(source))


def make_tflite_int8(source: Source) -> bytes:
    """Return the lowered source as a TFLite flatbuffer with matrix weights in eight bits."""
    from trainer.stages.emit_tflite import emit

    return emit(_eight_bits(lower_source(source)))


def make_numpy_fp32(source: Source) -> bytes:
    """Return the lowered source as a file for the numpy interpreter, in float32."""
    return encode(lower_source(source))


def make_numpy_int8(source: Source) -> bytes:
    """Return the lowered source as a file for the numpy interpreter, with matrix weights in eight bits."""
    return encode(_eight_bits(lower_source(source)))


@lru_cache(maxsize=1)
def lower_source(source: Source) -> Graph:
    """Return the lowered graph of a source; every variant is made of the same one.

    Raises:
        CannotLower: a step has no exact lowering.
    """
    from trainer.stages.lower.estimators import lower

    if source.estimator is None:
        raise CannotLower("no lowering from an ONNX graph yet")
    return lower(source.estimator, source.columns)


def _eight_bits(graph: Graph) -> Graph:
    if reason := judge_worth(count_weights(graph)):
        raise UnbuildableError(reason)
    return quantize_graph(graph)


PLANS = (
    Plan("onnx-fp32", Runtime.ONNX, Precision.FP32, make_onnx_fp32, {}),
    Plan("onnx-int8", Runtime.ONNX, Precision.INT8, make_onnx_int8, RUNTIME_OPTIONS),
    Plan("tflite-fp32", Runtime.TFLITE, Precision.FP32, make_tflite_fp32, {}),
    Plan("tflite-int8", Runtime.TFLITE, Precision.INT8, make_tflite_int8, {}),
    Plan("numpy-fp32", Runtime.NUMPY, Precision.FP32, make_numpy_fp32, {}),
    Plan("numpy-int8", Runtime.NUMPY, Precision.INT8, make_numpy_int8, {}),
)


def build_variant(plan: Plan, rehearsal: Rehearsal, folder: Path) -> Proven | Unbuilt:
    """Make one variant and prove it, with `folder` for its file."""
    try:
        data = plan.make(rehearsal.source)
        return prove_variant(plan, data, rehearsal, folder)
    except (UnbuildableError, ChildError) as error:
        return Unbuilt(plan, str(error))


def prove_variant(plan: Plan, data: bytes, rehearsal: Rehearsal, folder: Path) -> Proven:
    """Run a variant over the held-out rows and compare it with its source.

    Raises:
        UnbuildableError: it answers otherwise; the message has the measured figures.
        ChildError: it crashed, hung or was refused by its runtime.
    """
    path = folder / plan.model_file
    path.write_bytes(data)
    run = run_model(path, plan.runtime, rehearsal.x, plan.options, measure=True)
    source = rehearsal.source
    try:
        difference = compare(source.output, rehearsal.reference, run.scores, trees=source.trees)
    except ValueError as error:
        raise UnbuildableError(str(error)) from error
    if not run.single_diff <= BATCH_TOLERANCE * score_unit(source.output, rehearsal.reference):
        raise UnbuildableError(f"a row alone gets other scores than in a batch, by up to {run.single_diff:.3g}")
    score, quality = rehearsal.measure(run.scores)
    if reason := judge(source.output, plan.precision, difference, quality, rehearsal.quality):
        raise UnbuildableError(reason)
    return Proven(plan, data, run, difference, score, max(run.single_diff, _kernel_diff(plan, path, rehearsal, run)))


def _kernel_diff(plan: Plan, path: Path, rehearsal: Rehearsal, run: Run) -> float:
    """Return how far another implementation of the same operators is from what was proven (TFLite has one here)."""
    if plan.runtime is not Runtime.TFLITE:
        return 0.0
    try:
        other = run_model(path, plan.runtime, rehearsal.x, {**plan.options, "kernels": "reference"})
    except ChildError:
        # Not every operator has a plain kernel; then the floor of the tolerance has to do.
        return 0.0
    return float(abs(other.scores - run.scores).max())
