"""What every variant of a version is judged by: held-out rows, the source's answers on them, and its quality."""

from dataclasses import dataclass, replace

import numpy as np

from edge_agent.contract.baseline import FeatureBaseline
from edge_agent.contract.manifest import Feature, ScoreKind, Task
from trainer.core.arrays import Column, Floats, Indices, Singles, as_singles
from trainer.core.histograms import feature_baselines
from trainer.core.table import Table
from trainer.errors import ConfigurationError, RejectedError
from trainer.stages.agreement import count_other_labels
from trainer.stages.metrics import main_metric, measure, predictions, truths
from trainer.stages.source import Source


@dataclass(frozen=True, slots=True, eq=False)
class Rehearsal:
    """The source's scores (`reference`) over held-out rows, and targets (its own predictions where there are none).

    `metric` is the model's main metric, `score` the source's. `quality` is the source's accuracy, or R² for values,
    against `judged`: the targets, or for clusters and outliers, which have no true label, its own predictions.
    """

    model: str
    source: Source
    columns: tuple[str, ...]
    features: tuple[FeatureBaseline, ...]
    train_rows: int
    x: Singles
    target: Column
    judged: Column
    reference: Floats
    metric: str
    score: float
    quality: float

    @property
    def input_features(self) -> tuple[Feature, ...]:
        """Return the manifest's description of the input columns; NaN may come in where it did in training."""
        return tuple(Feature(item.name, item.low, item.high, item.missing > 0) for item in self.features)

    @property
    def judged_indices(self) -> Column:
        """Return `judged` as indices of labels, -1 for a label that the model does not know; values as they are."""
        output = self.source.output
        if output.kind is ScoreKind.VALUE:
            return self.judged
        places = {label: index for index, label in enumerate(output.labels)}
        return np.array([places.get(label, -1) for label in truths(output, self.judged)], dtype=np.intp)

    def take(self, rows: Indices) -> "Rehearsal":
        """Return the rehearsal on some of the held-out rows."""
        reference, target, judged = self.reference[rows], self.target[rows], self.judged[rows]
        (score,) = measure(self.source.task, [self.metric], self.source.output, target, reference).values()
        return replace(
            self,
            x=self.x[rows],
            target=target,
            judged=judged,
            reference=reference,
            score=score,
            quality=quality(self.source, judged, reference),
        )

    def measure(self, scores: Floats) -> tuple[float, float]:
        """Return (main metric, quality) of a variant's scores."""
        output = self.source.output
        (value,) = measure(self.source.task, [self.metric], output, self.target, scores).values()
        return value, quality(self.source, self.judged, scores)


def quality(source: Source, target: Column, scores: Floats) -> float:
    """Return the accuracy of labels, or R² of values, against targets in the labels' own terms."""
    if source.output.kind is ScoreKind.VALUE:
        return measure(Task.REGRESSION, ["r2"], source.output, target, scores)["r2"]
    return measure(Task.CLASSIFICATION, ["accuracy"], source.output, target, scores)["accuracy"]


def _ask(source: Source, x: Singles) -> Floats:
    """Return the source's scores, if it can answer and its labels follow from what it answers.

    Raises:
        RejectedError: otherwise.
    """
    try:
        reference = source.score(x)
    except Exception as error:  # any estimator may refuse any row, in its own words
        raise RejectedError(
            f"the model itself cannot answer the held-out rows: {type(error).__name__}: {error}",
            "give rows as it was fitted to take them",
        ) from error
    if not np.isfinite(reference).all():
        broken = int((~np.isfinite(reference).all(axis=1)).sum())
        raise RejectedError(f"the model itself gives scores that are not finite on {broken} of {len(x)} held-out rows")
    if source.estimator is not None and (other := count_other_labels(source.estimator, source.output, x, reference)):
        raise RejectedError(
            f"predict() gives {other} of {len(x)} held-out rows another label than the model's scores do",
            "use an estimator whose labels follow from its scores, such as LogisticRegression",
        )
    return reference


def rehearse(model: str, source: Source, train: Table, heldout: Table, metric: str | None) -> Rehearsal:
    """Ask the source for its answers on the held-out rows.

    Raises:
        RejectedError: an answer is not finite, or a label does not follow from it.
        ConfigurationError: a column has no values to describe.
    """
    if source.output.kind is ScoreKind.VALUE and source.output.columns > 1 and heldout.target is not None:
        raise ConfigurationError(
            f"the model gives {source.output.columns} values a row, the target is one column", "leave the target out"
        )
    x = as_singles(heldout.x)
    reference = _ask(source, x)
    try:
        features = feature_baselines(train.columns, as_singles(train.x))
    except ValueError as error:
        raise ConfigurationError(str(error), "leave the column out") from error
    own = predictions(source.output, reference)
    target = own if heldout.target is None else heldout.target
    name = metric or main_metric(source.task)
    score = measure(source.task, [name], source.output, target, reference)[name]
    judged = target if source.task in (Task.CLASSIFICATION, Task.REGRESSION) else own
    return Rehearsal(
        model=model,
        source=source,
        columns=heldout.columns,
        features=features,
        train_rows=train.rows,
        x=x,
        target=target,
        judged=judged,
        reference=reference,
        metric=name,
        score=score,
        quality=quality(source, judged, reference),
    )
