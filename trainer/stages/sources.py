"""Loads models that were fitted elsewhere: skops and ONNX by default, joblib only by explicit opt-in.

House rules: loading must not run a file's code. skops builds known types only, and the list of those that we add to
its own is here; a pickle is whatever its author wanted, so only its owner may load one, on the owner's machine.
"""

from pathlib import Path
from typing import Any

from edge_agent.contract.card import SourceKind
from trainer.errors import ConfigurationError, RejectedError, UsageError
from trainer.stages.skops_limits import refuse_bomb, refuse_broken_trees

# Types of scikit-learn and numpy that skops does not trust by itself; each only holds numbers, or is a plain function.
KNOWN_TYPES = frozenset(
    {
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.linear_model._sgd_fast.Hinge",
        "sklearn.linear_model._sgd_fast.SquaredHinge",
        "sklearn.linear_model._sgd_fast.EpsilonInsensitive",
        "sklearn.linear_model._sgd_fast.SquaredEpsilonInsensitive",
        "sklearn._loss._loss.CyHalfBinomialLoss",
        "sklearn._loss._loss.CyHalfMultinomialLoss",
        "sklearn._loss._loss.CyHalfSquaredError",
        "sklearn._loss._loss.CyHuberLoss",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.MultinomialLogit",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.feature_selection._univariate_selection.chi2",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.utils._bunch.Bunch",
        "numpy.dtype",
    }
)
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
    unknown = sorted(set(asked) - KNOWN_TYPES)
    if unknown:
        raise RejectedError(
            f"{path.name} holds types that are not known to be safe: {', '.join(unknown[:5])}",
            "use estimators of scikit-learn only, or export the model as ONNX",
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
