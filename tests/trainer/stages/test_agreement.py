"""What a device says is what `predict` says: labels follow from the scores, of every estimator that is lowered.

The rows are small whole numbers on a grid, where trees, votes, neighbours and symmetric kernels tie by the hundred.
"""

import warnings
from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from sklearn.base import RegressorMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import (
    DBSCAN,
    AffinityPropagation,
    AgglomerativeClustering,
    Birch,
    BisectingKMeans,
    KMeans,
    MeanShift,
    MiniBatchKMeans,
)
from sklearn.covariance import EllipticEnvelope
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import RFE, RFECV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    PassiveAggressiveClassifier,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
    SGDOneClassSVM,
)
from sklearn.manifold import TSNE
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, LocalOutlierFactor, NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation, LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC, LinearSVC, NuSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier
from sklearn.utils import all_estimators
from xgboost import XGBClassifier, XGBRFClassifier

from tests.fakes.trainer_models import quietly_fit, rehearsal
from trainer.core.arrays import Column, Floats, as_singles
from trainer.errors import CannotLower, RejectedError, TrainerError
from trainer.stages.agreement import count_other_labels
from trainer.stages.lower import registry
from trainer.stages.lower.estimators import lower
from trainer.stages.lower.refusals import REFUSALS
from trainer.stages.signature import read_signature


def quietly(kind: Any) -> Any:
    """An estimator that is deprecated, but not gone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind()


STUMP, TREE = DecisionTreeClassifier(max_depth=1), DecisionTreeClassifier(max_depth=3)
PAIR = [("a", DecisionTreeClassifier(max_depth=2)), ("b", GaussianNB())]
# Every classifier, clusterer and detector that is lowered, with parameters under which it ties or decides otherwise.
CASES: tuple[Any, ...] = (
    AdaBoostClassifier(n_estimators=4),
    AdaBoostClassifier(SVC(), n_estimators=3),
    AffinityPropagation(),
    BaggingClassifier(LinearSVC(), 4),
    BaggingClassifier(SVC(kernel="linear"), 1, bootstrap=False),
    BaggingClassifier(SVC(decision_function_shape="ovo"), 1, bootstrap=False),
    BaggingClassifier(TREE, 4),
    BayesianGaussianMixture(n_components=3),
    BernoulliNB(binarize=2.5),
    Birch(n_clusters=None, threshold=2.0),
    BisectingKMeans(2),
    CalibratedClassifierCV(SVC(), ensemble=False),
    CategoricalNB(),
    ComplementNB(),
    TREE,
    DummyClassifier(strategy="constant", constant=1),
    DummyClassifier(strategy="prior"),
    EllipticEnvelope(contamination=0.3),
    ExtraTreeClassifier(max_depth=3),
    ExtraTreesClassifier(2, max_depth=3),
    FixedThresholdClassifier(BaggingClassifier(STUMP, 4), threshold=0.5),
    FixedThresholdClassifier(SVC(kernel="poly"), threshold=0.0),
    FixedThresholdClassifier(TREE, threshold=0.5),
    FrozenEstimator(SVC(kernel="linear")),
    GaussianMixture(3),
    GaussianNB(),
    GradientBoostingClassifier(n_estimators=1, init="zero", max_depth=1),
    GradientBoostingClassifier(n_estimators=2),
    GridSearchCV(SVC(kernel="linear"), {"C": [1.0]}, cv=2),
    HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=5),
    IsolationForest(n_estimators=3, contamination=0.3),
    KMeans(4, n_init=1),
    KNeighborsClassifier(4, weights="distance"),
    KNeighborsClassifier(6, p=1),
    LabelPropagation(kernel="knn", n_neighbors=3),
    LabelSpreading(kernel="knn", n_neighbors=4),
    LGBMClassifier(n_estimators=2, verbose=-1, n_jobs=1),
    LinearDiscriminantAnalysis(),
    LinearSVC(),
    LocalOutlierFactor(4, novelty=True, contamination=0.3),
    LogisticRegression(),
    LogisticRegressionCV(cv=2),
    MeanShift(bandwidth=3),
    MiniBatchKMeans(4, n_init=1),
    MLPClassifier((3,), max_iter=30),
    MultinomialNB(),
    NearestCentroid(),
    NearestCentroid(priors="empirical"),
    NuSVC(nu=0.1),
    NuSVC(nu=0.1, break_ties=True),
    OneClassSVM(kernel="linear", nu=0.1),
    OneVsOneClassifier(SVC()),
    OneVsOneClassifier(TREE),
    OneVsRestClassifier(LinearSVC()),
    OneVsRestClassifier(TREE),
    quietly(PassiveAggressiveClassifier),
    Perceptron(),
    Pipeline([("scaler", StandardScaler()), ("model", SVC(kernel="linear"))]),
    QuadraticDiscriminantAnalysis(reg_param=0.5),
    RandomForestClassifier(4),
    RandomizedSearchCV(TREE, {"max_depth": [2, 3]}, n_iter=1, cv=2),
    RFE(SVC(kernel="linear"), n_features_to_select=2),
    RFECV(SVC(kernel="linear"), cv=2),
    RidgeClassifier(),
    RidgeClassifierCV(),
    SelfTrainingClassifier(TREE),
    SGDClassifier(loss="hinge"),
    SGDOneClassSVM(),
    StackingClassifier(PAIR, SVC(), cv=2),
    SVC(),
    SVC(kernel="linear"),
    SVC(kernel="poly"),
    SVC(kernel="linear", break_ties=True),
    TunedThresholdClassifierCV(TREE, cv=2),
    VotingClassifier(PAIR, voting="soft"),
    XGBClassifier(n_estimators=2, n_jobs=1),
    XGBRFClassifier(n_estimators=3, n_jobs=1),
)
GRID: Floats = np.stack(np.meshgrid(*[np.arange(6.0)] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
COUNTING = (CategoricalNB, ComplementNB, MultinomialNB)


def training_sets(*, whole: bool) -> list[tuple[Floats, Column]]:
    """Rows of whole numbers with two, three and four noisy classes; and, where it may be negative, an even XOR."""
    chance, sets = np.random.default_rng(0), []
    for classes in (2, 3, 3, 4):
        x = chance.integers(0, 6, (80, 4)).astype(np.float64)
        x[:6] = np.arange(6)[:, None]
        sets.append((x, ((x[:, 0] + 2 * x[:, 1] + chance.integers(0, 3, 80)) % classes).astype(int)))
    corners = np.concatenate([np.stack(np.meshgrid(*[[-1.0, 1.0]] * 4), axis=-1).reshape(-1, 4)] * 4)
    return sets if whole else [*sets, (corners, (corners[:, 0] * corners[:, 1] > 0).astype(int))]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=lambda case: type(case).__name__)
def test_labels_follow_from_the_scores(case: Any) -> None:
    whole = isinstance(case, COUNTING)
    rows = GRID if whole else np.concatenate([GRID, GRID - 2, GRID / 2 - 2.5, np.zeros((1, 4))])
    seen = 0
    for x, y in training_sets(whole=whole):
        try:
            model = clone_of(case, x, y)
            signature = read_signature(model)
            lower(model, 4)
        except (CannotLower, TrainerError, ValueError):
            # Not for so many classes, or only in another form, which other tests show.
            continue
        singles = as_singles(rows)
        scores = signature.scores(singles.astype(np.float64))
        assert count_other_labels(model, signature.output, singles, scores) == 0
        seen += 1
    assert seen, "no training set suits it"


def clone_of(case: Any, x: Floats, y: Column) -> Any:
    """The same estimator fitted anew, with chance as in every other run."""
    if isinstance(case, FrozenEstimator):
        return FrozenEstimator(clone_of(case.estimator, x, y))
    model = clone(case)
    if "random_state" in model.get_params(deep=False):
        model.set_params(random_state=0)
    return quietly_fit(model, x, y)


@pytest.mark.filterwarnings("ignore")
def test_every_estimator_that_says_labels_is_among_the_cases() -> None:
    cases = {type(case) for case in CASES}
    lowered = {
        registry._class(name)
        for entries in registry._entries(registry.Table.SCORES).values()
        for name, _ in entries
        if name not in REFUSALS
    }
    # Experiments are there only where another test has enabled them.
    known = {kind for _, kind in all_estimators() if not kind.__name__.startswith("Halving")} | cases
    wanted = {kind for kind in lowered & known if hasattr(kind, "predict") and not issubclass(kind, RegressorMixin)}
    assert {kind.__name__ for kind in wanted - cases} == set()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (SVC(decision_function_shape="ovo"), "margins of pairs"),
        (SVC(probability=True), "fitted apart"),
        (SGDClassifier(loss="modified_huber"), "cut off at 0 and 1"),
        (OneVsRestClassifier(SGDClassifier(loss="modified_huber")), "for margins, not for probabilities"),
        (make_pipeline(StandardScaler(), OneVsRestClassifier(SVC(probability=True))), "for margins"),
    ],
)
def test_a_decision_that_the_scores_do_not_show_is_refused(model: Any, reason: str) -> None:
    x, y = training_sets(whole=True)[1]
    with pytest.raises(RejectedError, match=reason):
        read_signature(quietly_fit(model, x, y))


@pytest.mark.filterwarnings("ignore")
def test_probabilities_that_became_equal_are_refused() -> None:
    # Each margin of SGDClassifier has a logistic function of its own: of two large ones both are 1, in a float64 too.
    x, y = training_sets(whole=True)[3]
    model = SGDClassifier(loss="log_loss", random_state=0).fit(1000 * x, y)
    signature = read_signature(model)
    rows = as_singles(1000 * GRID)
    assert count_other_labels(model, signature.output, rows, signature.scores(rows.astype(np.float64))) > 0
    with pytest.raises(RejectedError, match="held-out rows another label than the model's scores do"):
        rehearsal(model, rows.astype(np.float64), None)


@pytest.mark.parametrize(
    ("model", "reason", "instead"),
    [
        (DBSCAN(), r"DBSCAN has no predict\(\)", "use KMeans, or fit a classifier"),
        (AgglomerativeClustering(), r"has no predict\(\)", "use KMeans, or fit a classifier"),
        (TSNE(), "TSNE is no classifier", "use PCA or KernelPCA"),
        (make_pipeline(StandardScaler(), TSNE()), "TSNE is no classifier", "use PCA or KernelPCA"),
        (StandardScaler(), "StandardScaler is no classifier", "behind it in a Pipeline"),
        (LocalOutlierFactor(), r"has no decision_function\(\)", "novelty=True"),
        (VotingClassifier(PAIR, voting="hard"), r"has no decision_function\(\)", "voting='soft'"),
    ],
)
def test_what_predicts_nothing_is_refused_with_what_to_use_instead(model: Any, reason: str, instead: str) -> None:
    x, y = training_sets(whole=True)[0]
    with pytest.raises(RejectedError, match=reason) as refusal:
        read_signature(quietly_fit(model, x, y))
    assert instead in refusal.value.hint
