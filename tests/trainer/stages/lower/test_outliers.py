"""Detectors of outliers answer as scikit-learn does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import EllipticEnvelope
from sklearn.neighbors import LocalOutlierFactor

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


def test_what_judges_only_its_own_rows_is_refused() -> None:
    x, _ = even_rows(0)
    with pytest.raises(CannotLower, match="novelty=True"):
        lower(LocalOutlierFactor().fit(x), 4)
