"""Takes an ONNX model from elsewhere: refuses what is unsafe or unclear, and gives it the form of every bundle.

House rules: what `onnx_limits` refuses is seen by nothing but a parser; what is unclear is asked for, not guessed.
"""

from dataclasses import dataclass

import numpy as np
import onnx

from edge_agent.contract.manifest import LabelType, OutputSpec, ScoreKind, Task
from trainer.core.arrays import Column, Floats
from trainer.core.labels import label_text, label_texts, label_type
from trainer.errors import RejectedError
from trainer.stages.onnx_graph import OUTPUT_NAME, checked_bytes, free_batch, keep_scores, rename_input, tensor_kind
from trainer.stages.onnx_limits import refuse_unsafe
from trainer.stages.onnx_trees import TREES

MAX_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class Accepted:
    """A model in the form of every bundle, with the labels that its own graph names (none if it names none)."""

    data: bytes
    columns: int
    scores: int
    labels: tuple[str, ...]
    label_type: LabelType
    trees: bool


def accept(data: bytes, columns: int, wanted: str | None = None) -> Accepted:
    """Check a model's bytes and reduce it to float32 `x` of `columns` columns and float32 `scores`.

    `wanted` names the output with the scores, where the graph has several candidates.

    Raises:
        RejectedError: it is not ONNX, not safe to run, or it is not clear what its input and scores are.
    """
    model = _parse(data)
    try:
        return _reduce(model, columns, wanted)
    except RejectedError:
        raise
    except Exception as error:  # ONNX's own checks fail in many classes on bytes that are no text or no graph
        told = str(error).splitlines() or [type(error).__name__]
        raise RejectedError(f"the ONNX graph is not valid: {told[0][:200]}") from error


def _reduce(model: onnx.ModelProto, columns: int, wanted: str | None) -> Accepted:
    _check_input(model, columns)
    refuse_unsafe(model, columns)
    name, width = _find_scores(model, wanted)
    labels, kind = _own_labels(model)
    rename_input(model)
    trees = any(node.op_type in TREES for node in model.graph.node)
    shaped = keep_scores(model, name, width)
    free_batch(shaped, columns)
    return Accepted(checked_bytes(shaped), columns, width, labels, kind, trees)


def _parse(data: bytes) -> onnx.ModelProto:
    if len(data) > MAX_BYTES:
        raise RejectedError(f"the ONNX file has {len(data)} bytes, the limit is {MAX_BYTES}")
    try:
        return onnx.load_from_string(data)
    except Exception as error:  # protobuf's DecodeError is a class of its C extension; any failure means the same
        raise RejectedError(f"the file is no ONNX model: {error}") from error


def _check_input(model: onnx.ModelProto, columns: int) -> None:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise RejectedError(f"the model has {len(inputs)} inputs; one float32 matrix (rows, features) is expected")
    # Old files list their weights as inputs too.
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    kind = inputs[0].type.tensor_type
    sizes = [size.dim_value for size in kind.shape.dim]
    if kind.elem_type != onnx.TensorProto.FLOAT or len(sizes) != 2:
        raise RejectedError("the model's input is no float32 matrix (rows, features)", "export it with float32 inputs")
    if sizes[1] not in (0, columns):
        raise RejectedError(f"the model takes {sizes[1]} features, the data have {columns} columns")


def _find_scores(model: onnx.ModelProto, wanted: str | None) -> tuple[str, int]:
    """Return the float matrix among the outputs and its columns; a ZipMap stands for the matrix that it takes."""
    maps = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "ZipMap"}
    candidates = {}
    for value in model.graph.output:
        kind = tensor_kind(model, maps.get(value.name, value.name))
        if value.name in maps or kind.element == onnx.TensorProto.FLOAT:
            candidates[value.name] = maps.get(value.name, value.name)
    if wanted is not None and wanted not in candidates:
        raise RejectedError(f"{wanted!r} is no float output of the model", f"outputs are {', '.join(candidates)}")
    if wanted is None and len(candidates) != 1:
        names = ", ".join(value.name for value in model.graph.output)
        raise RejectedError(f"it is not clear which output holds the scores ({names})", "name one with --output")
    name = candidates[wanted] if wanted is not None else next(iter(candidates.values()))
    sizes = tensor_kind(model, name).sizes or (0, 0)
    width = {1: 1, 2: sizes[-1]}.get(len(sizes), 0) or len(_own_labels(model)[0])
    if not width:
        raise RejectedError(f"the output {name!r} does not say how many columns it has", "export it with its shape")
    return name, width


def _own_labels(model: onnx.ModelProto) -> tuple[tuple[str, ...], LabelType]:
    """Return the labels that an operator of the graph carries."""
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("classlabels_int64s", "classlabels_ints") and attribute.ints:
                return tuple(str(value) for value in attribute.ints), LabelType.INTEGER
            if attribute.name == "classlabels_strings" and attribute.strings:
                return tuple(value.decode() for value in attribute.strings), LabelType.STRING
    return (), LabelType.STRING


def judge_output(task: Task, accepted: Accepted, scores: Floats, target: Column | None) -> OutputSpec:
    """Judge what the scores of an ONNX model are, from the task, some answers, its own labels and the data's.

    Raises:
        RejectedError: labels are unknown, or their number does not fit the columns.
    """
    columns = accepted.scores
    if task is Task.REGRESSION:
        return OutputSpec(OUTPUT_NAME, ScoreKind.VALUE, columns)
    if task is Task.ANOMALY:
        if columns != 1:
            raise RejectedError(f"an anomaly model gives one score a row, this one {columns}")
        return OutputSpec(OUTPUT_NAME, ScoreKind.NORMALITY, 1, ("-1", "1"), LabelType.INTEGER, 0.0)
    if task is Task.CLUSTERING:
        labels = tuple(str(index) for index in range(columns))
        return OutputSpec(OUTPUT_NAME, ScoreKind.DISTANCE, columns, labels, LabelType.INTEGER)
    labels, kind = accepted.labels, accepted.label_type
    if not labels and target is not None:
        values = np.unique(target)
        labels, kind = tuple(label_text(value) for value in values), label_type(values)
    if len(labels) != max(columns, 2):
        raise RejectedError(
            f"{columns} scores a row do not fit the {len(labels)} labels {', '.join(labels[:8])}",
            "give data with a target in which every label occurs",
        )
    if target is not None and not set(label_texts(target)) <= set(labels):
        raise RejectedError(f"the target has labels that the model does not know; it knows {', '.join(labels[:8])}")
    if columns == 1:
        return OutputSpec(OUTPUT_NAME, ScoreKind.MARGIN, 1, labels, kind, _one_column_threshold(scores))
    shares = bool((scores >= 0).all() and (np.abs(scores.sum(axis=1) - 1) < 1e-3).all())
    return OutputSpec(OUTPUT_NAME, ScoreKind.PROBABILITY if shares else ScoreKind.MARGIN, columns, labels, kind)


def _one_column_threshold(scores: Floats) -> float:
    """Return 0.5 for a column that is a probability, 0 for a margin."""
    return 0.5 if bool(((scores >= 0) & (scores <= 1)).all()) else 0.0
