"""Lowering of naive Bayes: joint log likelihoods, one column a class, and their softmax."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Operation, Reduction
from trainer.stages.lower.gaussians import add_squares
from trainer.stages.lower.registry import Lowering
from trainer.stages.lower.steps import add_above, add_equals, add_known, group_matrix


def lower_gaussian(estimator: Any, b: Builder, source: int) -> int:
    """GaussianNB: Gaussians with `theta_`, `var_` and `class_prior_`."""
    variances = np.asarray(estimator.var_, dtype=np.float64)
    bias = np.log(estimator.class_prior_) - 0.5 * np.log(2 * np.pi * variances).sum(axis=1)
    # What all classes share does not change the softmax, and costs digits.
    densities = add_squares(b, source, np.asarray(estimator.theta_), np.sqrt(variances), bias - bias.max())
    return b.apply(densities, Function.SOFTMAX)


def lower_multinomial(estimator: Any, b: Builder, source: int) -> int:
    """MultinomialNB: `x @ feature_log_prob_.T + class_log_prior_`."""
    return b.apply(b.dense(source, estimator.feature_log_prob_.T, estimator.class_log_prior_), Function.SOFTMAX)


def lower_complement(estimator: Any, b: Builder, source: int) -> int:
    """ComplementNB: `x @ feature_log_prob_.T`; the prior counts only where there is one class."""
    return b.apply(b.dense(source, estimator.feature_log_prob_.T), Function.SOFTMAX)


def lower_bernoulli(estimator: Any, b: Builder, source: int) -> int:
    """BernoulliNB: columns above `binarize` count as 1, each with its log odds (`feature_log_prob_`)."""
    present = np.asarray(estimator.feature_log_prob_)
    absent = np.log(1 - np.exp(present))
    if estimator.binarize is not None:
        source = add_above(b, source, np.full(present.shape[1], estimator.binarize))
    scores = b.dense(source, (present - absent).T, estimator.class_log_prior_ + absent.sum(axis=1))
    return b.apply(scores, Function.SOFTMAX)


def lower_categorical(estimator: Any, b: Builder, source: int) -> int:
    """CategoricalNB: the log probability of each column's category (`feature_log_prob_`), by its whole number.

    A category beyond the known ones, at which scikit-learn raises, gives NaN, which a device refuses to answer.
    """
    tables = estimator.feature_log_prob_
    sizes = [table.shape[1] for table in tables]
    whole = b.combine(
        b.apply(source, Function.SIGN), Operation.MUL, b.apply(b.apply(source, Function.ABS), Function.FLOOR)
    )
    chosen = add_equals(b, whole, [np.arange(size) for size in sizes])
    scores = b.dense(chosen, np.hstack(tables).T, estimator.class_log_prior_)
    known = b.reduce(b.dense(chosen, group_matrix(sizes)), Reduction.MIN)
    return b.apply(add_known(b, scores, known), Function.SOFTMAX)


_PLACE = "sklearn.naive_bayes."
LOWERINGS: Mapping[str, Lowering] = {
    _PLACE + "GaussianNB": lower_gaussian,
    _PLACE + "MultinomialNB": lower_multinomial,
    _PLACE + "ComplementNB": lower_complement,
    _PLACE + "BernoulliNB": lower_bernoulli,
    _PLACE + "CategoricalNB": lower_categorical,
}
