"""The families of models that are measured: one ordinary fit each, on the small sets that scikit-learn carries.

House rules: the parameters are those that a user would begin with; nothing is chosen for being fast or small.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import datasets, ensemble, linear_model, naive_bayes, neighbors, neural_network, svm, tree
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, MinMaxScaler, PolynomialFeatures, StandardScaler

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of a set, rounded to float32: those that models are fitted on, and those held out."""

    x: Array
    y: Array
    held_x: Array
    held_y: Array


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of model; `forest` says that the bound for forests' sizes holds for it."""

    name: str
    data: str
    make: Callable[[], Any]
    forest: bool = False

    def fit(self) -> Any:
        """Return the fitted estimator."""
        rows = load(self.data)
        return self.make().fit(rows.x, rows.y)


_SETS: Mapping[str, Callable[[], Any]] = {
    "digits": datasets.load_digits,
    "wine": datasets.load_wine,
    "cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
}
_loaded: dict[str, Rows] = {}


def load(name: str) -> Rows:
    """Return the rows of a set, a quarter of them held out."""
    if name not in _loaded:
        found = _SETS[name]()
        x = found.data.astype(np.float32).astype(np.float64)
        alike = found.target if name != "diabetes" else None
        x, held_x, y, held_y = train_test_split(x, found.target, random_state=0, stratify=alike)
        _loaded[name] = Rows(x, y, held_x, held_y)
    return _loaded[name]


def _scaled(model: Any) -> Any:
    return make_pipeline(StandardScaler(), model)


def _voters() -> list[tuple[str, Any]]:
    return [
        ("logistic", _scaled(linear_model.LogisticRegression())),
        ("bayes", naive_bayes.GaussianNB()),
        ("forest", ensemble.RandomForestClassifier(20, random_state=0)),
    ]


def _voting() -> Any:
    # skl2onnx converts it only without flatten_transform, which predict_proba does not look at.
    return ensemble.VotingClassifier(_voters(), voting="soft", flatten_transform=False)


def _binned() -> Any:
    bins = KBinsDiscretizer(5, encode="onehot-dense", quantile_method="averaged_inverted_cdf")
    return make_pipeline(bins, linear_model.LogisticRegression())


def _regressors() -> list[tuple[str, Any]]:
    return [("ridge", linear_model.Ridge()), ("tree", tree.DecisionTreeRegressor(max_depth=5, random_state=0))]


FAMILIES = (
    Family("LinearRegression", "diabetes", linear_model.LinearRegression),
    Family("Ridge", "diabetes", linear_model.Ridge),
    Family("Lasso", "diabetes", lambda: linear_model.Lasso(alpha=0.1)),
    Family("ElasticNet", "diabetes", lambda: linear_model.ElasticNet(alpha=0.01)),
    Family("LogisticRegression", "digits", lambda: linear_model.LogisticRegression(max_iter=5000)),
    Family("scaler + LogisticRegression", "cancer", lambda: _scaled(linear_model.LogisticRegression())),
    Family("RidgeClassifier", "digits", linear_model.RidgeClassifier),
    Family("scaler + SGDClassifier", "cancer", lambda: _scaled(linear_model.SGDClassifier(loss="log_loss"))),
    Family("scaler + SGDRegressor", "diabetes", lambda: _scaled(linear_model.SGDRegressor())),
    Family("Perceptron", "digits", linear_model.Perceptron),
    Family("scaler + LinearSVC", "digits", lambda: _scaled(svm.LinearSVC(max_iter=20_000))),
    Family("scaler + LinearSVR", "diabetes", lambda: _scaled(svm.LinearSVR(C=10.0, max_iter=20_000))),
    Family("SVC rbf", "digits", svm.SVC),
    Family("SVC poly", "digits", lambda: svm.SVC(kernel="poly")),
    Family("scaler + SVC rbf, two classes", "cancer", lambda: _scaled(svm.SVC())),
    Family("SVR", "diabetes", lambda: svm.SVR(C=100.0)),
    Family("scaler + OneClassSVM", "cancer", lambda: _scaled(svm.OneClassSVM(nu=0.1))),
    Family("DecisionTreeClassifier", "digits", lambda: tree.DecisionTreeClassifier(random_state=0)),
    Family("DecisionTreeRegressor", "diabetes", lambda: tree.DecisionTreeRegressor(random_state=0)),
    Family("RandomForestClassifier", "digits", lambda: ensemble.RandomForestClassifier(random_state=0), forest=True),
    Family("RandomForestRegressor", "diabetes", lambda: ensemble.RandomForestRegressor(random_state=0), forest=True),
    Family("ExtraTreesClassifier", "digits", lambda: ensemble.ExtraTreesClassifier(random_state=0), forest=True),
    Family("GradientBoostingClassifier", "wine", lambda: ensemble.GradientBoostingClassifier(random_state=0)),
    Family("GradientBoostingRegressor", "diabetes", lambda: ensemble.GradientBoostingRegressor(random_state=0)),
    Family("HistGradientBoostingClassifier", "cancer", ensemble.HistGradientBoostingClassifier),
    Family("HistGradientBoostingClassifier, 10 classes", "digits", ensemble.HistGradientBoostingClassifier),
    Family("HistGradientBoostingRegressor", "diabetes", ensemble.HistGradientBoostingRegressor),
    Family("AdaBoostClassifier", "cancer", lambda: ensemble.AdaBoostClassifier(random_state=0)),
    Family("AdaBoostRegressor", "diabetes", lambda: ensemble.AdaBoostRegressor(random_state=0)),
    Family("BaggingClassifier", "digits", lambda: ensemble.BaggingClassifier(random_state=0), forest=True),
    Family("VotingClassifier", "wine", _voting),
    Family("StackingClassifier", "wine", lambda: ensemble.StackingClassifier(_voters())),
    Family("StackingRegressor", "diabetes", lambda: ensemble.StackingRegressor(_regressors())),
    Family("IsolationForest", "cancer", lambda: ensemble.IsolationForest(random_state=0), forest=True),
    Family("MLPClassifier", "digits", lambda: neural_network.MLPClassifier((512, 256), random_state=0)),
    Family(
        "scaler + MLPRegressor", "diabetes", lambda: _scaled(neural_network.MLPRegressor(max_iter=2000, random_state=0))
    ),
    Family("KMeans", "digits", lambda: KMeans(10, random_state=0, n_init=3)),
    Family("MiniBatchKMeans", "wine", lambda: MiniBatchKMeans(3, random_state=0, n_init=3)),
    Family("KNeighborsClassifier", "digits", neighbors.KNeighborsClassifier),
    Family("KNeighborsRegressor", "diabetes", lambda: neighbors.KNeighborsRegressor(weights="distance")),
    Family("NearestCentroid", "digits", lambda: neighbors.NearestCentroid(priors="empirical")),
    Family("GaussianNB", "wine", naive_bayes.GaussianNB),
    Family("MultinomialNB", "digits", naive_bayes.MultinomialNB),
    Family("LinearDiscriminantAnalysis", "wine", LinearDiscriminantAnalysis),
    Family("QuadraticDiscriminantAnalysis", "wine", QuadraticDiscriminantAnalysis),
    Family("scaler + GaussianMixture", "wine", lambda: _scaled(GaussianMixture(3, random_state=0))),
    Family(
        "scaler + LocalOutlierFactor",
        "cancer",
        lambda: _scaled(neighbors.LocalOutlierFactor(novelty=True, contamination=0.1)),
    ),
    Family("scaler + EllipticEnvelope", "wine", lambda: _scaled(EllipticEnvelope(random_state=0))),
    Family(
        "scaler + PCA + LogisticRegression",
        "digits",
        lambda: make_pipeline(MinMaxScaler(), PCA(20), linear_model.LogisticRegression(max_iter=2000)),
    ),
    Family(
        "scaler + PolynomialFeatures + Ridge",
        "diabetes",
        lambda: make_pipeline(StandardScaler(), PolynomialFeatures(2), linear_model.Ridge()),
    ),
    Family("KBinsDiscretizer + LogisticRegression", "wine", _binned),
    Family(
        "CalibratedClassifierCV of LinearSVC",
        "cancer",
        lambda: _scaled(CalibratedClassifierCV(svm.LinearSVC(max_iter=20_000))),
    ),
    Family(
        "OneVsRestClassifier", "digits", lambda: OneVsRestClassifier(linear_model.LogisticRegression(max_iter=5000))
    ),
    Family(
        "TransformedTargetRegressor",
        "diabetes",
        lambda: TransformedTargetRegressor(linear_model.Ridge(), func=np.log1p, inverse_func=np.expm1),
    ),
)
