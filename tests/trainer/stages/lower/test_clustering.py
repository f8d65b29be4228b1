"""Clusterings answer with distances as scikit-learn does; those that know their training rows only are refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import cluster
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.fakes.lowering import check_lowered
from tests.fakes.lowering_cases import FEW, SEEDS, check_fit, even_rows
from trainer.errors import CannotLower, RejectedError
from trainer.stages.lower.estimators import lower
from trainer.stages.signature import read_signature


@pytest.mark.parametrize("make", [cluster.KMeans, cluster.MiniBatchKMeans])
@FEW
@given(seed=SEEDS, count=st.integers(2, 6))
def test_means(make: Any, seed: int, count: int) -> None:
    x, _ = even_rows(seed)
    check_fit(make(count, n_init=1, random_state=seed), x * 10 + 100, None, x * 12 + 100)


@FEW
@given(seed=SEEDS)
def test_two_halves(seed: int) -> None:
    x, _ = even_rows(seed)
    check_fit(cluster.BisectingKMeans(2, random_state=seed), x, None)


def test_a_tree_of_halves_is_refused_as_a_model_and_not_as_a_step() -> None:
    x, y = even_rows(0)
    with pytest.raises(CannotLower, match=r"need not end at the nearest.*KMeans"):
        lower(cluster.BisectingKMeans(5, random_state=0).fit(x), 4)
    check_fit(make_pipeline(cluster.BisectingKMeans(5, random_state=0), LogisticRegression()), x, y)


@FEW
@given(seed=SEEDS, width=st.floats(1.0, 2.5))
def test_mean_shift(seed: int, width: float) -> None:
    x, _ = even_rows(seed)
    # A row on a centre: scikit-learn's own expanded square has fewer digits there than the device.
    check_fit(cluster.MeanShift(bandwidth=width), x, None, x + 0.125)


@FEW
@given(seed=SEEDS, damping=st.floats(0.6, 0.9))
def test_affinity_propagation(seed: int, damping: float) -> None:
    x, _ = even_rows(seed)
    model = make_pipeline(StandardScaler(), cluster.AffinityPropagation(damping=damping, random_state=seed))
    model.fit(x)
    check_lowered(model, x + 0.125)


@FEW
@given(seed=SEEDS, threshold=st.floats(0.8, 1.5))
def test_birch(seed: int, threshold: float) -> None:
    x, y = even_rows(seed)
    check_fit(cluster.Birch(threshold=threshold, n_clusters=None), x, None, x + 0.125)
    check_fit(make_pipeline(cluster.Birch(threshold=threshold, n_clusters=3), LogisticRegression()), x, y, x + 0.125)


@FEW
@given(seed=SEEDS, count=st.integers(1, 5), pool=st.sampled_from([np.mean, np.max, np.min, np.sum]))
def test_agglomerated_columns(seed: int, count: int, pool: Any) -> None:
    x, _ = even_rows(seed, columns=6)
    check_fit(cluster.FeatureAgglomeration(count, pooling_func=pool), x, None)


@pytest.mark.parametrize("make", [cluster.DBSCAN, cluster.AgglomerativeClustering, cluster.SpectralClustering])
def test_clusterings_without_predict_name_the_alternative(make: Any) -> None:
    model = make()
    with pytest.raises(RejectedError, match="knows its training rows only") as caught:
        read_signature(model)
    assert "KMeans" in caught.value.hint
    with pytest.raises(CannotLower, match="KMeans"):
        lower(model, 4)
