"""Lowering of the Gaussian mixtures: weighted log densities, one column a component, and their softmax."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import digamma

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function
from trainer.core.arrays import Floats
from trainer.stages.lower.gaussians import add_gaussians, add_squares, add_tied
from trainer.stages.lower.registry import Lowering


def _log_determinants(estimator: Any) -> Floats:
    """Return log |precisions_cholesky_| of each component (or one for all, where they share it)."""
    roots, columns = np.asarray(estimator.precisions_cholesky_), estimator.means_.shape[1]
    match estimator.covariance_type:
        case "full":
            return np.asarray(np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1))
        case "tied":
            return np.asarray(np.log(np.diag(roots)).sum())
        case "diag":
            return np.asarray(np.log(roots).sum(axis=1))
        case _:
            return np.asarray(columns * np.log(roots))


def _lower_components(estimator: Any, b: Builder, source: int, weights: Floats) -> int:
    """Add the softmax of log density and `weights`; terms that all components share are left out."""
    means, roots = np.asarray(estimator.means_, dtype=np.float64), np.asarray(estimator.precisions_cholesky_)
    bias = weights + _log_determinants(estimator)
    bias = bias - bias.max()
    match estimator.covariance_type:
        case "full":
            densities = add_gaussians(b, source, means, list(roots), bias)
        case "tied":
            densities = add_tied(b, source, means, roots, bias)
        case "diag":
            densities = add_squares(b, source, means, 1 / roots, bias)
        case _:
            densities = add_squares(b, source, means, np.tile(1 / roots[:, None], means.shape[1]), bias)
    return b.apply(densities, Function.SOFTMAX)


def lower_mixture(estimator: Any, b: Builder, source: int) -> int:
    """GaussianMixture: `weights_`, `means_`, `precisions_cholesky_`."""
    return _lower_components(estimator, b, source, np.log(estimator.weights_))


def lower_bayesian(estimator: Any, b: Builder, source: int) -> int:
    """BayesianGaussianMixture: expected log weights and log precisions (Bishop, PRML, 10.64-10.66 and 10.71)."""
    columns = estimator.means_.shape[1]
    freedom = np.asarray(estimator.degrees_of_freedom_, dtype=np.float64)
    spread = digamma(0.5 * (freedom - np.arange(columns)[:, None])).sum(axis=0)
    correction = 0.5 * (spread - columns * np.log(freedom) - columns / np.asarray(estimator.mean_precision_))
    return _lower_components(estimator, b, source, _expected_log_weights(estimator) + correction)


def _expected_log_weights(estimator: Any) -> Floats:
    if estimator.weight_concentration_prior_type == "dirichlet_process":
        first, second = (np.asarray(part) for part in estimator.weight_concentration_)
        total = digamma(first + second)
        rest = np.concatenate([[0.0], np.cumsum(digamma(second) - total)[:-1]])
        return np.asarray(digamma(first) - total + rest)
    concentration = np.asarray(estimator.weight_concentration_)
    return np.asarray(digamma(concentration) - digamma(concentration.sum()))


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.mixture.GaussianMixture": lower_mixture,
    "sklearn.mixture.BayesianGaussianMixture": lower_bayesian,
}
