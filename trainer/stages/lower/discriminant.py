"""Lowering of linear and quadratic discriminant analysis."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function
from trainer.stages.lower.gaussians import add_gaussians
from trainer.stages.lower.linear import lower_logistic, lower_margins
from trainer.stages.lower.registry import Lowering


def lower_projection(estimator: Any, b: Builder, source: int) -> int:
    """LinearDiscriminantAnalysis as a step: `(x - xbar_) @ scalings_` (eigen: without `xbar_`)."""
    scalings = np.asarray(estimator.scalings_)[:, : estimator._max_components]  # noqa: SLF001 - kept nowhere else
    if estimator.solver == "svd":
        source = b.scale(source, estimator.xbar_, 1.0)
    return b.dense(source, scalings)


def _add_quadratics(estimator: Any, b: Builder, source: int) -> int:
    """Add log posteriors by `means_`, `rotations_`, `scalings_` and `priors_` (ESL, equation 4.12)."""
    factors = [
        np.asarray(rotation) * np.asarray(scaling) ** -0.5
        for rotation, scaling in zip(estimator.rotations_, estimator.scalings_, strict=True)
    ]
    volumes = np.array([np.log(scaling).sum() for scaling in estimator.scalings_])
    bias = np.log(np.asarray(estimator.priors_)) - 0.5 * volumes
    return add_gaussians(b, source, np.asarray(estimator.means_, dtype=np.float64), factors, bias)


def lower_quadratic(estimator: Any, b: Builder, source: int) -> int:
    """QuadraticDiscriminantAnalysis: the softmax of the log posteriors."""
    return b.apply(_add_quadratics(estimator, b, source), Function.SOFTMAX)


def lower_quadratic_margins(estimator: Any, b: Builder, source: int) -> int:
    """QuadraticDiscriminantAnalysis: the log posteriors; for two classes their difference."""
    scores = _add_quadratics(estimator, b, source)
    return b.dense(scores, [[-1.0], [1.0]]) if len(estimator.classes_) == 2 else scores


_LINEAR = "sklearn.discriminant_analysis.LinearDiscriminantAnalysis"
_QUADRATIC = "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis"
LOWERINGS: Mapping[str, Lowering] = {_LINEAR: lower_logistic, _QUADRATIC: lower_quadratic}
MARGINS: Mapping[str, Lowering] = {_LINEAR: lower_margins, _QUADRATIC: lower_quadratic_margins}
FEATURES: Mapping[str, Lowering] = {_LINEAR: lower_projection}
