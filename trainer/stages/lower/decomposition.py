"""Lowering of the decompositions and projections that are linear in the row, or in its kernel with stored points."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from trainer.core.arrays import Floats
from trainer.stages.lower.kernels import add_kernel_sums, kernel_of
from trainer.stages.lower.registry import Lowering


def _matrix(stored: Any) -> Floats:
    return np.asarray(stored.toarray() if hasattr(stored, "toarray") else stored, dtype=np.float64)


def lower_pca(estimator: Any, b: Builder, source: int) -> int:
    """PCA, IncrementalPCA: `(x - mean_) @ components_.T`, each over its standard deviation where `whiten`."""
    weights = _matrix(estimator.components_).T
    if estimator.whiten:
        spread = np.sqrt(np.asarray(estimator.explained_variance_, dtype=np.float64))
        weights = weights / np.maximum(spread, np.finfo(np.float64).eps)
    mean = estimator.mean_
    return b.dense(source if mean is None else b.scale(source, mean, 1.0), weights)


def lower_components(estimator: Any, b: Builder, source: int) -> int:
    """TruncatedSVD, random projections, NeighborhoodComponentsAnalysis: `x @ components_.T`."""
    return b.dense(source, _matrix(estimator.components_).T)


def lower_ica(estimator: Any, b: Builder, source: int) -> int:
    """FastICA: `components_` of the row, centred on `mean_` where it was whitened."""
    centred = b.scale(source, estimator.mean_, 1.0) if estimator.whiten else source
    return b.dense(centred, _matrix(estimator.components_).T)


def lower_factors(estimator: Any, b: Builder, source: int) -> int:
    """FactorAnalysis: the expected latent variables (Bishop, PRML, 12.66; Barber, 21.2.33)."""
    loadings = _matrix(estimator.components_)
    weighted = loadings / np.asarray(estimator.noise_variance_)
    covariance = np.linalg.inv(np.eye(len(loadings)) + weighted @ loadings.T)
    return b.dense(b.scale(source, estimator.mean_, 1.0), weighted.T @ covariance)


def lower_sparse(estimator: Any, b: Builder, source: int) -> int:
    """SparsePCA, MiniBatchSparsePCA: ridge regression of the centred row on `components_` with `ridge_alpha`."""
    components = _matrix(estimator.components_)
    gram = components @ components.T + estimator.ridge_alpha * np.eye(len(components))
    return b.dense(b.scale(source, estimator.mean_, 1.0), np.linalg.solve(gram, components).T)


def lower_kernel_pca(estimator: Any, b: Builder, source: int) -> int:
    """KernelPCA: centred kernels with `X_fit_` on `eigenvectors_`; the centring is folded into the matrix."""
    points, values = _matrix(estimator.X_fit_), np.asarray(estimator.eigenvalues_, dtype=np.float64)
    scaled = np.zeros_like(_matrix(estimator.eigenvectors_))
    some = np.flatnonzero(values)
    scaled[:, some] = estimator.eigenvectors_[:, some] / np.sqrt(values[some])
    centerer = estimator._centerer  # noqa: SLF001 - kept nowhere else
    bias = (float(centerer.K_fit_all_) - np.asarray(centerer.K_fit_rows_)) @ scaled
    kernel = kernel_of(estimator, points.shape[1])
    return add_kernel_sums(b, source, points, kernel, scaled - scaled.mean(axis=0), bias)


def lower_centerer(estimator: Any, b: Builder, source: int) -> int:
    """KernelCenterer: less `K_fit_rows_` and the row's own mean, plus `K_fit_all_`."""
    rows = np.asarray(estimator.K_fit_rows_, dtype=np.float64)
    size = len(rows)
    return b.dense(source, np.eye(size) - 1.0 / size, float(estimator.K_fit_all_) - rows)


def lower_kernel_ridge(estimator: Any, b: Builder, source: int) -> int:
    """KernelRidge: kernels with `X_fit_`, weighted by `dual_coef_`."""
    points, weights = _matrix(estimator.X_fit_), _matrix(estimator.dual_coef_)
    kernel = kernel_of(estimator, points.shape[1])
    return add_kernel_sums(b, source, points, kernel, weights.reshape(len(weights), -1))


def lower_least_squares(estimator: Any, b: Builder, source: int) -> int:
    """PLSRegression, PLSCanonical, CCA: `(x - _x_mean) @ coef_.T + intercept_`."""
    bias = np.asarray(estimator.intercept_, dtype=np.float64).reshape(-1)
    return b.dense(b.scale(source, estimator._x_mean, 1.0), _matrix(estimator.coef_).T, bias)  # noqa: SLF001 - kept there


def lower_rotation(estimator: Any, b: Builder, source: int) -> int:
    """PLSRegression, PLSCanonical, CCA as a step: the standardized row on `x_rotations_`."""
    return _lower_scores(estimator, b, source, _matrix(estimator.x_rotations_))


def lower_pls_svd(estimator: Any, b: Builder, source: int) -> int:
    """PLSSVD: the standardized row on `x_weights_`."""
    return _lower_scores(estimator, b, source, _matrix(estimator.x_weights_))


def _lower_scores(estimator: Any, b: Builder, source: int, weights: Floats) -> int:
    mean, spread = estimator._x_mean, np.asarray(estimator._x_std)  # noqa: SLF001 - kept nowhere else
    return b.dense(b.scale(source, mean, 1 / spread), weights)


_PLS = tuple(f"sklearn.cross_decomposition.{name}" for name in ("PLSRegression", "PLSCanonical", "CCA"))
_PLACE = "sklearn.decomposition."
LOWERINGS: Mapping[str, Lowering] = {
    _PLACE + "PCA": lower_pca,
    _PLACE + "IncrementalPCA": lower_pca,
    _PLACE + "TruncatedSVD": lower_components,
    _PLACE + "FastICA": lower_ica,
    _PLACE + "FactorAnalysis": lower_factors,
    _PLACE + "SparsePCA": lower_sparse,
    _PLACE + "MiniBatchSparsePCA": lower_sparse,
    _PLACE + "KernelPCA": lower_kernel_pca,
    "sklearn.preprocessing.KernelCenterer": lower_centerer,
    "sklearn.random_projection.GaussianRandomProjection": lower_components,
    "sklearn.random_projection.SparseRandomProjection": lower_components,
    "sklearn.neighbors.NeighborhoodComponentsAnalysis": lower_components,
    "sklearn.kernel_ridge.KernelRidge": lower_kernel_ridge,
    "sklearn.cross_decomposition.PLSSVD": lower_pls_svd,
    **dict.fromkeys(_PLS, lower_least_squares),
}
FEATURES: Mapping[str, Lowering] = dict.fromkeys(_PLS, lower_rotation)
