"""One small fitted model of each family with rows to judge it by, and the gate that a build holds it to."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from tests.fakes import trainer_models
from tests.fakes.lowering import hard_rows, with_missing
from tests.fakes.trainer_models import quietly_fit, rows
from trainer.core.parity import compare, default_budget, judge_agreement, judge_exact, judge_loss
from trainer.stages import variants
from trainer.stages.children import run_model
from trainer.stages.environments import Environment
from trainer.stages.rehearsal import Rehearsal
from trainer.stages.variants import Plan

TREES = ("forest", "extra", "forest-nan", "boosting", "hist-nan", "isolation")
FAMILIES = ("logistic", "ridge", "mlp", "svc", "neighbours", "bayes", *TREES)


def rehearsals() -> Mapping[str, Rehearsal]:
    """Each family fitted, and asked for its rows and for hard ones: on thresholds and beside them, and extremes."""
    x, y = rows(0, classes=2, n=160)
    wrong = np.where(np.random.default_rng(1).random(len(y)) < 0.15, 1 - y, y)
    holes = with_missing(x, 0.1)
    fits = {
        "logistic": trainer_models.fitted_logistic(),
        "ridge": trainer_models.fitted_ridge(),
        "mlp": trainer_models.fitted_mlp(),
        "svc": (quietly_fit(SVC(), x / x.std(axis=0), y), x / x.std(axis=0), y),
        "neighbours": (quietly_fit(KNeighborsClassifier(3), x, y), x, y),
        "bayes": (quietly_fit(GaussianNB(), x, y), x, y),
        "forest": (quietly_fit(RandomForestClassifier(10, random_state=0), x, wrong), x, wrong),
        "extra": (quietly_fit(ExtraTreesClassifier(10, random_state=0), x, wrong), x, wrong),
        "forest-nan": (quietly_fit(RandomForestClassifier(10, random_state=0), holes, wrong), holes, wrong),
        "boosting": (quietly_fit(GradientBoostingRegressor(n_estimators=20), x, x[:, 0] * y), x, x[:, 0] * y),
        "hist-nan": (quietly_fit(HistGradientBoostingClassifier(max_iter=10), holes, wrong), holes, wrong),
        "isolation": (quietly_fit(IsolationForest(n_estimators=10, random_state=0), x, None), x, None),
    }
    return {name: with_hard_rows(trainer_models.rehearsal(*fit)) for name, fit in fits.items()}


def with_hard_rows(rehearsal: Rehearsal) -> Rehearsal:
    source = rehearsal.source
    known = np.nan_to_num(rehearsal.x.astype(np.float64))
    x = np.concatenate([rehearsal.x, hard_rows(variants.lower_source(source), known)])
    return replace(rehearsal, x=x, reference=source.score(x))


def verdict(rehearsal: Rehearsal, plan: Plan, data: bytes, folder: Path, environment: Environment | None) -> str | None:
    """What the gate says of a model file on a release."""
    path = folder / plan.model_file
    path.write_bytes(data)
    scores = run_model(path, plan.runtime, rehearsal.x, plan.options, environment=environment).scores
    source = rehearsal.source
    difference = compare(source.output, rehearsal.reference, scores, trees=source.trees)
    _, quality = rehearsal.measure(scores[: len(rehearsal.judged)])
    kind = source.output.kind
    if not plan.form:
        return judge_exact(difference)
    return judge_loss(kind, quality, rehearsal.quality, default_budget(kind)) or judge_agreement(kind, difference)
