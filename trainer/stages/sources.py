"""Loads models that were fitted elsewhere: skops and ONNX by default, joblib only by explicit opt-in.

House rules: loading must not run a file's code. skops builds known types only, and the list of those that we add to
its own is here; a pickle is whatever its author wanted, so only its owner may load one, on the owner's machine.
"""

import importlib.util
from pathlib import Path
from typing import Any

from edge_agent.contract.card import SourceKind
from trainer.errors import ConfigurationError, RejectedError, UsageError
from trainer.stages.skops_limits import refuse_bomb, refuse_broken_trees

# Types of scikit-learn, scipy and numpy that skops does not trust by itself: each only holds numbers, or is a function
# of numbers.
_NAMES = """
    numpy.dtype numpy.mean numpy.median
    scipy._lib.array_api_compat.numpy._aliases.asarray scipy.interpolate._bsplines.BSpline
    scipy.sparse._csc.csc_array scipy.sparse._csc.csc_matrix scipy.sparse._csr.csr_array scipy.sparse._csr.csr_matrix
    sklearn._loss._loss.CyAbsoluteError sklearn._loss._loss.CyHalfBinomialLoss sklearn._loss._loss.CyHalfGammaLoss
    sklearn._loss._loss.CyHalfMultinomialLoss sklearn._loss._loss.CyHalfPoissonLoss sklearn._loss._loss.CyPinballLoss
    sklearn._loss._loss.CyHalfSquaredError sklearn._loss._loss.CyHuberLoss sklearn._loss._loss.CyExponentialLoss
    sklearn._loss._loss.CyHalfTweedieLoss sklearn._loss._loss.CyHalfTweedieLossIdentity
    sklearn._loss.link.HalfLogitLink sklearn._loss.link.IdentityLink sklearn._loss.link.Interval
    sklearn._loss.link.LogLink sklearn._loss.link.LogitLink sklearn._loss.link.MultinomialLogit
    sklearn._loss.loss.AbsoluteError sklearn._loss.loss.ExponentialLoss sklearn._loss.loss.HalfBinomialLoss
    sklearn._loss.loss.HalfGammaLoss sklearn._loss.loss.HalfMultinomialLoss sklearn._loss.loss.HalfPoissonLoss
    sklearn._loss.loss.HalfSquaredError sklearn._loss.loss.HalfTweedieLoss sklearn._loss.loss.HalfTweedieLossIdentity
    sklearn._loss.loss.HuberLoss sklearn._loss.loss.PinballLoss
    sklearn.calibration._CalibratedClassifier sklearn.calibration._SigmoidCalibration
    sklearn.calibration._TemperatureScaling
    sklearn.cluster._bisect_k_means._BisectingTree
    sklearn.cluster._kmeans._kmeans_single_elkan sklearn.cluster._kmeans._kmeans_single_lloyd
    sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor
    sklearn.feature_selection._mutual_info.mutual_info_classif
    sklearn.feature_selection._mutual_info.mutual_info_regression
    sklearn.feature_selection._univariate_selection.chi2 sklearn.feature_selection._univariate_selection.f_classif
    sklearn.feature_selection._univariate_selection.f_regression
    sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace
    sklearn.gaussian_process.kernels.CompoundKernel sklearn.gaussian_process.kernels.ConstantKernel
    sklearn.gaussian_process.kernels.DotProduct sklearn.gaussian_process.kernels.Exponentiation
    sklearn.gaussian_process.kernels.ExpSineSquared sklearn.gaussian_process.kernels.Matern
    sklearn.gaussian_process.kernels.PairwiseKernel sklearn.gaussian_process.kernels.Product
    sklearn.gaussian_process.kernels.RBF sklearn.gaussian_process.kernels.RationalQuadratic
    sklearn.gaussian_process.kernels.Sum sklearn.gaussian_process.kernels.WhiteKernel
    sklearn.linear_model._sgd_fast.EpsilonInsensitive sklearn.linear_model._sgd_fast.Hinge
    sklearn.linear_model._sgd_fast.SquaredEpsilonInsensitive sklearn.linear_model._sgd_fast.SquaredHinge
    sklearn.metrics._dist_metrics.ChebyshevDistance32 sklearn.metrics._dist_metrics.ChebyshevDistance64
    sklearn.metrics._dist_metrics.EuclideanDistance32 sklearn.metrics._dist_metrics.EuclideanDistance64
    sklearn.metrics._dist_metrics.ManhattanDistance32 sklearn.metrics._dist_metrics.ManhattanDistance64
    sklearn.metrics._dist_metrics.MinkowskiDistance32 sklearn.metrics._dist_metrics.MinkowskiDistance64
    sklearn.neighbors._ball_tree.BallTree sklearn.neighbors._ball_tree.BallTree32
    sklearn.neighbors._ball_tree.BallTree64 sklearn.neighbors._kd_tree.KDTree sklearn.neighbors._kd_tree.KDTree32
    sklearn.neighbors._kd_tree.KDTree64
    sklearn.neural_network._stochastic_optimizers.AdamOptimizer
    sklearn.neural_network._stochastic_optimizers.SGDOptimizer
    sklearn.tree._tree.Tree sklearn.utils._bunch.Bunch
    """
KNOWN_TYPES = frozenset(_NAMES.split())
# Types of other libraries, each by the package that has it. A booster is a text or a block of bytes that the library's
# own parser reads: no code of the file's runs, and the parser is as exposed as it is to the library's own files.
OTHER_TYPES = {
    "collections.OrderedDict": "",
    "lightgbm.basic.Booster": "lightgbm",
    "lightgbm.sklearn.LGBMClassifier": "lightgbm",
    "lightgbm.sklearn.LGBMRegressor": "lightgbm",
    "xgboost.core.Booster": "xgboost",
    "xgboost.sklearn.XGBClassifier": "xgboost",
    "xgboost.sklearn.XGBRFClassifier": "xgboost",
    "xgboost.sklearn.XGBRFRegressor": "xgboost",
    "xgboost.sklearn.XGBRegressor": "xgboost",
}
_HINT = "save it with skops.io.dump(estimator, 'model.skops')"


def load_estimator(path: Path, *, allow_pickle: bool) -> tuple[Any, SourceKind]:
    """Load a fitted estimator from a .skops file, or with `allow_pickle` from a .joblib file.

    Raises:
        UsageError: there is no such file, or its ending is not known.
        RejectedError: it is broken, holds types that are not known, or is a pickle without opt-in.
        ConfigurationError: what it holds is no fitted estimator.
    """
    if not path.is_file():
        raise UsageError(f"there is no model file {path}")
    if path.suffix == ".skops":
        estimator, kind = _load_skops(path), SourceKind.SKOPS
    elif path.suffix in (".joblib", ".pkl", ".pickle"):
        if not allow_pickle:
            raise RejectedError(
                f"{path.name} is a pickle: loading it runs whatever code is in it",
                f"{_HINT}, or add --allow-pickle if you made the file yourself",
            )
        estimator, kind = _load_pickle(path), SourceKind.JOBLIB
    elif path.suffix in (".ubj", ".json", ".txt"):
        raise UsageError(
            f"{path.name} may hold a booster, but neither its labels nor what its scores are",
            "read it with XGBClassifier's or XGBRegressor's load_model() and save that with skops.io.dump(); of "
            "LightGBM, save the fitted LGBMClassifier or LGBMRegressor",
        )
    else:
        raise UsageError(f"{path.name}: a model is a .skops, .onnx or (with --allow-pickle) .joblib file", _HINT)
    if not hasattr(estimator, "fit") or not hasattr(estimator, "n_features_in_"):
        raise ConfigurationError(f"{path.name} holds no fitted estimator but a {type(estimator).__name__}")
    return estimator, kind


def _load_skops(path: Path) -> Any:
    import skops.io

    refuse_bomb(path)
    try:
        asked = skops.io.get_untrusted_types(file=path)
    except Exception as error:  # a broken file fails anywhere in zipfile, json or skops
        raise RejectedError(f"{path.name} is no skops file: {error}", _HINT) from error
    unknown = sorted(set(asked) - KNOWN_TYPES - set(OTHER_TYPES))
    if unknown:
        raise RejectedError(
            f"{path.name} holds types that are not known to be safe: {', '.join(unknown[:5])}",
            "use estimators of scikit-learn, XGBoost and LightGBM only, or export the model as ONNX",
        )
    wanted = {OTHER_TYPES[name] for name in asked if OTHER_TYPES.get(name)}
    if absent := sorted(name for name in wanted if importlib.util.find_spec(name) is None):
        raise RejectedError(
            f"{path.name} holds a model of {' and '.join(absent)}, which is not installed here",
            "pip install 'edgeloop[boost]'",
        )
    try:
        estimator = skops.io.load(path, trusted=sorted(asked))
    except Exception as error:  # as above; and scikit-learn's own constructors may refuse what they are given
        raise RejectedError(f"{path.name} cannot be loaded: {error}", _HINT) from error
    refuse_broken_trees(estimator)
    return estimator


def _load_pickle(path: Path) -> Any:
    import joblib

    try:
        return joblib.load(path)  # noqa: TID251 - the one place, after the owner's explicit opt-in
    except Exception as error:  # whatever the file's own code raises
        raise RejectedError(f"{path.name} cannot be loaded: {error!r}", _HINT) from error
