"""From an estimator of scikit-learn to an fp32 ONNX graph, with skl2onnx, in the form of every bundle."""

import warnings
from typing import Any

import onnx

from edge_agent.contract.manifest import OutputSpec, ScoreKind
from trainer.errors import RejectedError, UnbuildableError
from trainer.stages.onnx_graph import INPUT_NAME, checked_bytes, free_batch, keep_scores, tensor_kind
from trainer.stages.signature import final_step

OPSETS = {"": 18, "ai.onnx.ml": 3}


def export(estimator: Any, columns: int, output: OutputSpec) -> bytes:
    """Return the ONNX model of a fitted estimator: float32 `x` to float32 `scores`.

    Raises:
        UnbuildableError: skl2onnx has no converter for a step, or gives a graph without these scores.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    kind = FloatTensorType([None, columns])
    try:
        with warnings.catch_warnings():
            # The converters read attributes that scikit-learn has deprecated; that is theirs to mend.
            warnings.simplefilter("ignore")
            model = convert_sklearn(
                estimator,
                initial_types=[(INPUT_NAME, kind)],
                target_opset=OPSETS,
                options=_options(estimator, output),
            )
    except Exception as error:  # skl2onnx raises a dozen types, and any estimator may come in
        raise UnbuildableError(f"skl2onnx cannot convert it: {str(error).strip().splitlines()[0]}") from error
    name, given = _score_tensor(model, output)
    first = given - output.columns if given > output.columns else 0
    shaped = keep_scores(model, name, output.columns, first)
    free_batch(shaped, columns)
    try:
        return checked_bytes(shaped)
    except RejectedError as error:
        raise UnbuildableError(str(error)) from error


def _options(estimator: Any, output: OutputSpec) -> dict[int, dict[str, bool]] | None:
    """Ask for plain tensors instead of maps, and for margins where those are the scores, if the converter knows how."""
    from skl2onnx._supported_operators import sklearn_operator_name_map
    from skl2onnx.common._registration import get_converter

    final = final_step(estimator)
    alias = sklearn_operator_name_map.get(type(final))
    if alias is None or output.kind not in (ScoreKind.PROBABILITY, ScoreKind.MARGIN):
        return None
    known = get_converter(alias).get_allowed_options() or {}
    wanted = {"zipmap": False, "raw_scores": output.kind is ScoreKind.MARGIN}
    return {id(final): {name: value for name, value in wanted.items() if name in known}}


def _score_tensor(model: onnx.ModelProto, output: OutputSpec) -> tuple[str, int]:
    """Return the name and the columns of the output that holds the scores: the last one, after any label."""
    name = model.graph.output[-1].name
    kind = tensor_kind(model, name)
    if kind.element not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
        raise UnbuildableError(f"skl2onnx gives no scores for it ({name!r} is no float tensor)")
    given = kind.sizes[-1] if kind.sizes is not None and len(kind.sizes) > 1 else 1
    # Of two margins, -m and m, the second is the one of two classes.
    if given not in (0, output.columns, 2):
        raise UnbuildableError(f"skl2onnx gives {given} scores a row, {output.columns} are expected")
    return name, given or output.columns
