"""The routes from a fitted estimator to something that answers for rows: files of ours, of skl2onnx, and itself.

House rules: all are asked for the same scores, on one thread. Of skl2onnx's graph only the scores are kept, without the
label that it would compute besides: its smallest and fastest form.
"""

import pickle  # noqa: TID251 - written here, as its users keep an estimator; only child.py reads it
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.kernels.format import encode
from trainer.errors import CannotLower, UnbuildableError
from trainer.stages import emit_onnx, emit_tflite
from trainer.stages.export_onnx import export
from trainer.stages.lower.estimators import lower
from trainer.stages.run_model import OPENERS
from trainer.stages.signature import Signature, read_signature

# The names under which routes stand in every table.
SKLEARN, SKL2ONNX, ORT, LITERT, NUMPY = "scikit-learn", "skl2onnx", "ours on ORT", "ours on LiteRT", "ours in numpy"
OURS = (ORT, LITERT, NUMPY)
Run = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    """What a route made of an estimator: a file, how to run it here, and how long it took to make."""

    route: str
    runtime: str
    path: Path
    run: Callable[[], Run]
    convert_s: float


class NotBuilt(Exception):  # noqa: N818 - it is a result, not a failure
    """A route does not lead from this estimator; the message says why."""


def build(route: str, estimator: Any, columns: int, folder: Path) -> Built:
    """Take one route.

    Raises:
        NotBuilt: it does not lead from this estimator.
    """
    signature = read_signature(estimator)
    began = time.perf_counter()
    try:
        runtime, data = _MAKERS[route](estimator, columns, signature)
    except (CannotLower, UnbuildableError) as error:
        raise NotBuilt(str(error)) from error
    taken = time.perf_counter() - began
    path = folder / f"{route.replace(' ', '-')}.model"
    path.write_bytes(data)
    if route == SKLEARN:
        return Built(route, runtime, path, lambda: signature.scores, 0.0)
    return Built(route, runtime, path, lambda: OPENERS[runtime](str(path), {})[0], taken)


_MAKERS: dict[str, Callable[[Any, int, Signature], tuple[str, bytes]]] = {
    SKLEARN: lambda estimator, _, __: ("sklearn", pickle.dumps(estimator)),
    SKL2ONNX: lambda estimator, columns, signature: ("onnx", export(estimator, columns, signature.output)),
    ORT: lambda estimator, columns, _: ("onnx", emit_onnx.emit(lower(estimator, columns, missing=False))),
    LITERT: lambda estimator, columns, _: ("tflite", emit_tflite.emit(lower(estimator, columns, missing=False))),
    NUMPY: lambda estimator, columns, _: ("numpy", encode(lower(estimator, columns, missing=False))),
}
ROUTES = tuple(_MAKERS)
