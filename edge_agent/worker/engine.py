"""The in-process Python API: open a bundle's folder, predict. Public: a program may use it without any agent.

    from edge_agent.worker.engine import open_model
    model = open_model("variants/onnx-fp32")
    model.predict([[0.0, 1.0]]).labels

House rules: inputs are checked here before a runtime sees them, outputs before a caller does; a number that is not
finite is never an answer. Nothing here counts or listens; the worker's `serving` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.adapters.runtimes import (
    ModelRuntime,
    RuntimeFaultError,
    RuntimeMemoryError,
    SignatureError,
    open_runtime,
)
from edge_agent.contract.manifest import Manifest, ScoreKind
from edge_agent.contract.states import Reason
from edge_agent.core.labels import Label, LabelRule, rule_of
from edge_agent.worker.bundle import Bundle, BundleError, read_bundle

Matrix = NDArray[np.float32]
Indices = NDArray[np.intp]


class BadInputError(ValueError):
    """Rows that the model must not see; the message says what was wrong and what was expected.

    `feature` is the index of the column at fault where one is, `missing` whether its value was missing.
    """

    def __init__(self, message: str, *, feature: int | None = None, missing: bool = False) -> None:
        super().__init__(message)
        self.feature = feature
        self.missing = missing


class NonFiniteOutputError(ArithmeticError):
    """The model answered NaN or infinity; `rows` says on how many rows."""

    def __init__(self, rows: int, first: int) -> None:
        super().__init__(f"the model's output is not finite on {rows} row(s), the first is row {first}")
        self.rows = rows


@dataclass(frozen=True, slots=True)
class Prediction:
    """Scores (rows, columns) float32, and the index of each row's label (None for a regression)."""

    scores: Matrix
    indices: Indices | None
    rule: LabelRule

    @property
    def labels(self) -> list[Label]:
        """Each row's label; empty for a regression."""
        names = self.rule.labels
        return [] if self.indices is None else [names[index] for index in self.indices.tolist()]

    @property
    def values(self) -> list[Any]:
        """A regression's answer: a number a row, or a list of numbers a row with several targets."""
        if self.rule.kind is not ScoreKind.VALUE:
            return []
        values: list[Any] = self.scores[:, 0].tolist() if self.scores.shape[1] == 1 else self.scores.tolist()
        return values


class Model:
    """A loaded bundle. Safe to use from several threads."""

    def __init__(self, bundle: Bundle, runtime: ModelRuntime, rule: LabelRule) -> None:
        self.bundle = bundle
        self.runtime = runtime
        self.rule = rule
        features = bundle.manifest.input.features
        self.names = tuple(feature.name for feature in features)
        self.columns = len(features)
        self._forbids_nan = np.array([not feature.nan_allowed for feature in features])

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.bundle.manifest

    @property
    def digest(self) -> str:
        """The bundle's digest."""
        return self.bundle.digest

    def predict(self, rows: Sequence[Sequence[float]] | Matrix, threshold: float | None = None) -> Prediction:
        """Return scores and labels of `rows`: numbers of shape (rows, features), or one row.

        Raises:
            BadInputError: wrong shape, no numbers, not finite in float32, or missing where that is forbidden.
            NonFiniteOutputError: the model answered NaN or infinity.
            RuntimeFaultError: the runtime failed.
        """
        return self.answer(self.check(self.as_matrix(rows)), threshold)

    def as_matrix(self, rows: Sequence[Sequence[float]] | Matrix) -> Matrix:
        """Return `rows` as C-contiguous float32 (rows, features).

        Raises:
            BadInputError: of another shape, or no numbers.
        """
        if isinstance(rows, np.ndarray) and rows.dtype == np.float32:
            x = rows
        else:
            try:
                with np.errstate(over="ignore"):  # becomes infinite, which `check` refuses by name
                    x = np.asarray(rows, np.float64).astype(np.float32)
            except (TypeError, ValueError, OverflowError) as error:
                raise BadInputError(f"expected numbers of shape (rows, {self.columns}): {error}") from error
        if x.ndim == 1:
            x = x[None, :]
        if x.ndim != 2 or x.shape[1] != self.columns or not len(x):
            raise BadInputError(f"expected the shape (rows, {self.columns}) with a row at least, found {x.shape}")
        return np.ascontiguousarray(x)

    def check(self, x: Matrix) -> Matrix:
        """Return `x` where every value may reach the model.

        Raises:
            BadInputError: names the first value at fault.
        """
        if np.isfinite(x).all():
            return x
        infinite = np.isinf(x)
        missing = np.isnan(x) & self._forbids_nan
        flawed = np.argwhere(infinite | missing)
        if len(flawed):
            row, column = (int(index) for index in flawed[0])
            name = self.names[column]
            if infinite[row, column]:
                message = f"row {row}, feature {name!r}: expected a finite number of 32 bits, found one out of range"
                raise BadInputError(message, feature=column)
            message = f"row {row}, feature {name!r} is missing (NaN or null), and this model does not allow that"
            raise BadInputError(message, feature=column, missing=True)
        return x

    def answer(self, x: Matrix, threshold: float | None = None) -> Prediction:
        """Return the prediction of checked rows; raises as `predict` does."""
        scores = self.runtime.predict(x)
        finite = np.isfinite(scores)
        if not finite.all():
            bad = ~finite.all(axis=1)
            raise NonFiniteOutputError(int(bad.sum()), int(bad.argmax()))
        indices = None if self.rule.kind is ScoreKind.VALUE else self.rule.choose(scores, threshold)
        return Prediction(scores, indices, self.rule)


def open_model(
    folder: str | Path, *, digest: str | None = None, threshold: float | None = None, threads: int = 1
) -> Model:
    """Verify a bundle's folder and load its model.

    `digest` is the bundle's where the caller knows it; `threshold` overrules the manifest's decision threshold.

    Raises:
        BundleError: with the reason: content, manifest, memory, or a runtime that refused or is not installed.
    """
    bundle = read_bundle(Path(folder), digest=digest)
    try:
        rule = rule_of(bundle.manifest.output, threshold)
        return Model(bundle, open_runtime(bundle.manifest, bundle.folder, threads=threads), rule)
    except (RuntimeFaultError, ValueError, MemoryError) as error:
        raise BundleError(reason_of(error), str(error) or "out of memory") from error


def reason_of(error: Exception) -> Reason:
    """Return the contract's reason for a failure to load or run."""
    if isinstance(error, (RuntimeMemoryError, MemoryError)):
        return Reason.OUT_OF_MEMORY
    if isinstance(error, (SignatureError, ValueError)):
        return Reason.MANIFEST_MISMATCH
    if isinstance(error, NonFiniteOutputError):
        return Reason.NON_FINITE_OUTPUT
    return Reason.LOAD_FAILED
