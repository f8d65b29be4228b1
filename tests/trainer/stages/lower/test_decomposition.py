"""Decompositions, projections and kernel ridge answer as scikit-learn does."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import decomposition as parts
from sklearn.cross_decomposition import CCA, PLSSVD, PLSCanonical, PLSRegression
from sklearn.gaussian_process import GaussianProcessRegressor, kernels
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KernelCenterer
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from tests.fakes.lowering import check_lowered
from tests.fakes.lowering_cases import FEW, SEEDS, Parameters, amounts, check_fit, draw, even_rows
from trainer.errors import CannotLower
from trainer.stages.lower.estimators import lower

COUNT: Parameters = {"n_components": st.integers(1, 4)}
STEPS: dict[Any, Parameters] = {
    parts.PCA: {**COUNT, "whiten": st.booleans()},
    parts.IncrementalPCA: {**COUNT, "whiten": st.booleans()},
    parts.TruncatedSVD: {"n_components": st.integers(1, 3)},
    parts.FastICA: {**COUNT, "whiten": st.sampled_from(["unit-variance", "arbitrary-variance", False])},
    parts.FactorAnalysis: COUNT,
    parts.SparsePCA: {**COUNT, "max_iter": st.just(20), "ridge_alpha": st.floats(0.01, 1)},
    parts.MiniBatchSparsePCA: {**COUNT, "max_iter": st.just(5), "ridge_alpha": st.floats(0.01, 1)},
    GaussianRandomProjection: COUNT,
    SparseRandomProjection: {**COUNT, "density": st.floats(0.4, 1)},
    NeighborhoodComponentsAnalysis: {**COUNT, "max_iter": st.just(5)},
}
PLS = (PLSRegression, PLSCanonical, CCA, PLSSVD)


@pytest.mark.parametrize("make", STEPS, ids=lambda make: make.__name__)
@FEW
@given(data=st.data(), seed=SEEDS)
def test_steps(make: Any, data: st.DataObject, seed: int) -> None:
    x, y = even_rows(seed)
    step = make(**draw(data, STEPS[make]))
    if "random_state" in step.get_params():
        step.set_params(random_state=seed)
    check_fit(step, x + 2, y)


@pytest.mark.parametrize("make", PLS)
@FEW
@given(seed=SEEDS, count=st.integers(1, 2), scale=st.booleans())
def test_least_squares(make: Any, seed: int, count: int, scale: bool) -> None:
    x, _ = even_rows(seed)
    y = amounts(x, seed, targets=2)
    check_fit(make(count, scale=scale), x + 2, y)
    if make is not PLSSVD:
        # fit_transform() of these gives a pair, which no pipeline takes: each step is fitted by hand.
        step = make(count, scale=scale).fit(x + 2, y)
        check_lowered(make_pipeline(step, Ridge().fit(step.transform(x + 2), y)), x + 2)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly", "sigmoid", "cosine"])
@FEW
@given(seed=SEEDS, gamma=st.sampled_from([None, 0.1, 0.5]), degree=st.integers(1, 3))
def test_kernel_pca(kernel: str, seed: int, gamma: float | None, degree: int) -> None:
    x, _ = even_rows(seed)
    check_fit(parts.KernelPCA(2, kernel=kernel, gamma=gamma, degree=degree), x, None, wide=True)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly", "polynomial", "sigmoid", "laplacian", "cosine"])
@FEW
@given(seed=SEEDS, gamma=st.sampled_from([None, 0.2]), degree=st.integers(1, 3), alpha=st.floats(0.5, 5))
def test_kernel_ridge(kernel: str, seed: int, gamma: float | None, degree: int, alpha: float) -> None:
    x, _ = even_rows(seed)
    model = KernelRidge(alpha=alpha, kernel=kernel, gamma=gamma, degree=degree)
    # The sigmoid is no kernel: its weights grow without bound where the matrix is nearly singular.
    if kernel == "sigmoid":
        model.set_params(gamma=0.05, alpha=5.0)
    check_fit(model, x, amounts(x, seed), wide=True)


@FEW
@given(seed=SEEDS)
def test_centred_kernels(seed: int) -> None:
    x, _ = even_rows(seed, n=30)
    gram = rbf_kernel(x, gamma=0.2)
    check_fit(KernelCenterer(), gram, None, gram[:7])


@pytest.mark.parametrize(
    "kernel",
    [
        kernels.RBF(1.5),
        kernels.ConstantKernel(2.0) * kernels.RBF([1.0, 2.0, 3.0, 1.5]) + kernels.WhiteKernel(0.2),
        kernels.Matern(2.0, nu=0.5),
        kernels.Matern(2.0, nu=1.5),
        kernels.Matern([2.0, 1.0, 2.0, 3.0], nu=2.5),
        kernels.Matern(2.0, nu=np.inf),
        kernels.RationalQuadratic(1.5, 0.7),
        kernels.ConstantKernel(0.1) * kernels.DotProduct(0.5) ** 2 + kernels.RBF(2.0),
    ],
    ids=str,
)
@FEW
@given(seed=SEEDS, targets=st.integers(1, 2), normalize=st.booleans())
def test_gaussian_processes(kernel: Any, seed: int, targets: int, normalize: bool) -> None:
    x, _ = even_rows(seed)
    model = GaussianProcessRegressor(kernel, alpha=0.5, optimizer=None, normalize_y=normalize)
    check_fit(model, x, amounts(x, seed, targets=targets), wide=True)


@pytest.mark.parametrize(
    "kernel", [kernels.ExpSineSquared(), kernels.Matern(nu=1.0), kernels.DotProduct() ** 0.5, kernels.WhiteKernel()]
)
def test_kernels_that_are_not_known_are_refused(kernel: Any) -> None:
    x, _ = even_rows(0)
    model = GaussianProcessRegressor(kernel, alpha=50, optimizer=None).fit(abs(x), x[:, 0])
    with pytest.raises(CannotLower, match=r"kernel|Matern"):
        lower(model, 4)
