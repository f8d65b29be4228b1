"""Detectors of outliers answer as scikit-learn does."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import EllipticEnvelope
from sklearn.neighbors import LocalOutlierFactor

from edge_agent.kernels.primitives import Nearest
from tests.fakes.lowering import check_lowered
from tests.fakes.lowering_cases import FEW, SEEDS, check_fit, even_rows
from trainer.errors import CannotLower
from trainer.stages.lower.estimators import lower


@FEW
@given(seed=SEEDS, share=st.floats(0.05, 0.4), centred=st.booleans())
def test_envelope(seed: int, share: float, centred: bool) -> None:
    x, _ = even_rows(seed)
    check_fit(EllipticEnvelope(contamination=share, assume_centered=centred, random_state=seed), x * 5, None)


@FEW
@given(
    seed=SEEDS,
    k=st.integers(1, 25),
    metric=st.sampled_from(["euclidean", "manhattan", "chebyshev"]),
    share=st.sampled_from(["auto", 0.1]),
)
def test_local_factor(seed: int, k: int, metric: str, share: Any) -> None:
    x, _ = even_rows(seed)
    check_fit(LocalOutlierFactor(k, metric=metric, contamination=share, novelty=True), x, None)


def test_many_rows_take_no_square_of_them() -> None:
    x = np.random.default_rng(0).normal(size=(1500, 3)).astype(np.float32).astype(np.float64)
    graph = check_lowered(LocalOutlierFactor(novelty=True).fit(x), x[:60] * 1.5)
    assert sum(node.values.size for node in graph.nodes if isinstance(node, Nearest)) == 2 * len(x)


def test_what_judges_only_its_own_rows_is_refused() -> None:
    x, _ = even_rows(0)
    with pytest.raises(CannotLower, match="novelty=True"):
        lower(LocalOutlierFactor().fit(x), 4)
