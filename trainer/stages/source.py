"""A model to be compiled, whatever it came from: how to ask it for scores, and what of it is kept.

House rules: a source is asked with rows rounded to float32, since those are what a device gets; an estimator computes
on them in float64.
"""

import io
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.contract.card import SourceKind
from edge_agent.contract.manifest import OutputSpec, Runtime, Task
from trainer.core.arrays import Floats, Singles
from trainer.stages.children import run_model
from trainer.stages.signature import final_step, read_signature

LATENCY_ROWS = 60
LATENCY_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Exactly one of `estimator` and `onnx` is there; `file` is what is kept beside the version."""

    kind: SourceKind
    name: str
    task: Task
    output: OutputSpec
    columns: int
    trees: bool
    estimator: Any | None
    onnx: bytes | None
    file_name: str
    file: bytes
    score: Callable[[Singles], Floats]
    latency_p50_us: Callable[[Singles], float]
    # Whether a value may be NaN.
    missing: bool = True


def estimator_source(estimator: Any, kind: SourceKind) -> Source:
    """Wrap a fitted estimator.

    Raises:
        RejectedError: it has no scores that a device could give.
    """
    with warnings.catch_warnings():
        # Fitted with names of columns, it would warn at every row without them; the order was checked before.
        warnings.simplefilter("ignore")
        signature = read_signature(estimator)

    def score(x: Singles) -> Floats:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return signature.scores(x.astype(np.float64))

    def latency(x: Singles) -> float:
        taken, ends = [], time.perf_counter() + LATENCY_S
        for index in range(LATENCY_ROWS):
            row = x[index % len(x)][None]
            began = time.perf_counter()
            score(row)
            taken.append((time.perf_counter() - began) * 1e6)
            if time.perf_counter() > ends:
                break
        return float(np.percentile(taken, 50))

    return Source(
        kind=kind,
        name=describe(estimator),
        task=signature.task,
        output=signature.output,
        columns=int(estimator.n_features_in_),
        trees=signature.trees,
        estimator=estimator,
        onnx=None,
        file_name="source.skops",
        file=dump_skops(estimator),
        score=score,
        latency_p50_us=latency,
    )


def describe(estimator: Any) -> str:
    """Return the class of an estimator; of a pipeline, its steps joined by arrows."""
    if hasattr(estimator, "steps"):
        return " → ".join(type(step).__name__ for _, step in estimator.steps)
    return type(final_step(estimator)).__name__


def dump_skops(estimator: Any) -> bytes:
    """Return an estimator in the format of skops, which runs no code when it is loaded."""
    import skops.io

    buffer = io.BytesIO()
    skops.io.dump(estimator, buffer)
    return buffer.getvalue()


def onnx_source(data: bytes, task: Task, output: OutputSpec, columns: int, *, trees: bool, kind: SourceKind) -> Source:
    """Wrap an ONNX model that has the form of every bundle already; ONNX Runtime in a child answers for it."""

    def run(x: Singles, *, measure: bool) -> Any:
        with tempfile.TemporaryDirectory(prefix="trainer-source-") as name:
            path = Path(name) / "source.onnx"
            path.write_bytes(data)
            return run_model(path, Runtime.ONNX, x, {}, measure=measure)

    return Source(
        kind=kind,
        name="ONNX graph",
        task=task,
        output=output,
        columns=columns,
        trees=trees,
        estimator=None,
        onnx=data,
        file_name="source.onnx",
        file=data,
        score=lambda x: np.asarray(run(x, measure=False).scores),
        latency_p50_us=lambda x: float(run(x, measure=True).latency_p50_us),
    )
