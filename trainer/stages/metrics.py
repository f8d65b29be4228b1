"""The metrics of recipes, gates and cards, by name, computed by scikit-learn on held-out rows.

House rules: every metric takes the true targets, the predicted labels (or values) and the scores; the first metric of a
task is its main one. A metric that cannot be computed is NaN, which passes no gate.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edge_agent.contract.manifest import OutputSpec, ScoreKind, Task
from trainer.core.arrays import Column, Floats, as_matrix
from trainer.core.labels import label_indices, label_texts
from trainer.errors import ConfigurationError

# True targets (label texts, or values), predicted ones, scores, the output.
Metric = Callable[[Column, Column, Floats, OutputSpec], float]


def _of_labels(name: str, **options: object) -> Metric:
    def measure(truth: Column, predicted: Column, scores: Floats, output: OutputSpec) -> float:
        from sklearn import metrics

        del scores, output
        return float(getattr(metrics, name)(truth, predicted, **options))

    return measure


def _log_loss(truth: Column, predicted: Column, scores: Floats, output: OutputSpec) -> float:
    from sklearn.metrics import log_loss

    del predicted
    if output.kind is not ScoreKind.PROBABILITY:
        return float("nan")
    order = np.argsort(np.array(output.labels, dtype=object))
    return float(log_loss(truth, scores[:, order], labels=[output.labels[index] for index in order]))


def _roc_auc(truth: Column, predicted: Column, scores: Floats, output: OutputSpec) -> float:
    """Area under the ROC curve of two labels: the last column of scores speaks for the second label."""
    from sklearn.metrics import roc_auc_score

    del predicted
    positive = truth == output.labels[-1]
    if len(output.labels) != 2 or positive.all() or not positive.any():
        return float("nan")
    return float(roc_auc_score(positive, scores[:, -1]))


_LABELS: Mapping[str, Metric] = {
    "accuracy": _of_labels("accuracy_score"),
    "balanced_accuracy": _of_labels("balanced_accuracy_score"),
    "f1_macro": _of_labels("f1_score", average="macro"),
}
METRICS: Mapping[Task, Mapping[str, Metric]] = {
    Task.CLASSIFICATION: {**_LABELS, "log_loss": _log_loss, "roc_auc": _roc_auc},
    Task.REGRESSION: {
        "r2": _of_labels("r2_score"),
        "mae": _of_labels("mean_absolute_error"),
        "rmse": _of_labels("root_mean_squared_error"),
    },
    Task.CLUSTERING: {
        "v_measure": _of_labels("v_measure_score"),
        "adjusted_rand": _of_labels("adjusted_rand_score"),
    },
    Task.ANOMALY: {
        "balanced_accuracy": _LABELS["balanced_accuracy"],
        "accuracy": _LABELS["accuracy"],
        "f1_macro": _LABELS["f1_macro"],
        "roc_auc": _roc_auc,
    },
}


def main_metric(task: Task) -> str:
    """Return the name of the metric by which a task is first judged."""
    return next(iter(METRICS[task]))


def check_metrics(task: Task, names: Sequence[str]) -> None:
    """Check that a task knows these metrics.

    Raises:
        ConfigurationError: it does not know one of them.
    """
    for name in names:
        if name not in METRICS[task]:
            known = ", ".join(METRICS[task])
            raise ConfigurationError(f"{task} knows no metric {name!r}", f"choose from {known}")


def predictions(output: OutputSpec, scores: Floats) -> Column:
    """Return the label texts that follow from scores, or the values themselves."""
    if output.kind is ScoreKind.VALUE:
        return scores if output.columns > 1 else scores[:, 0]
    return np.array(output.labels, dtype=object)[label_indices(output, scores)]


def truths(output: OutputSpec, target: Column) -> Column:
    """Return targets in the form of `predictions`."""
    if output.kind is ScoreKind.VALUE:
        values = as_matrix(target)
        return values if output.columns > 1 else values[:, 0]
    return label_texts(target)


def measure(task: Task, names: Sequence[str], output: OutputSpec, target: Column, scores: Floats) -> dict[str, float]:
    """Return the metrics of these scores against the targets."""
    truth, predicted = truths(output, target), predictions(output, scores)
    return {name: METRICS[task][name](truth, predicted, scores, output) for name in names}
