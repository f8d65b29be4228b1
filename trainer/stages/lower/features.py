"""Lowering of what makes more features out of a row: products, splines, and approximations of kernels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Operation
from trainer.errors import CannotLower
from trainer.stages.lower.kernels import add_kernel_sums, add_normalized, kernel_of
from trainer.stages.lower.monomials import Monomial, add_monomials
from trainer.stages.lower.registry import Lowering
from trainer.stages.lower.steps import add_at_least, add_clipped, add_fixed


def lower_polynomial(estimator: Any, b: Builder, source: int) -> int:
    """PolynomialFeatures: the products that `powers_` names, degree by degree, each from one of a degree less."""
    wanted: list[Monomial] = [
        tuple(np.repeat(np.arange(len(powers)), powers).tolist()) for powers in np.asarray(estimator.powers_)
    ]
    return add_monomials(b, source, wanted)


def lower_fourier(estimator: Any, b: Builder, source: int) -> int:
    """RBFSampler: cosines of random projections (Rahimi and Recht, NIPS 2007)."""
    angles = b.dense(source, estimator.random_weights_, estimator.random_offset_)
    return b.scale(b.apply(angles, Function.COS), 0.0, np.sqrt(2.0 / estimator.n_components))


def lower_skewed(estimator: Any, b: Builder, source: int) -> int:
    """SkewedChi2Sampler: cosines of random projections of `log(x + skewedness)`."""
    logs = b.apply(b.scale(source, -estimator.skewedness, 1.0), Function.LOG)
    angles = b.dense(logs, estimator.random_weights_, estimator.random_offset_)
    return b.scale(b.apply(angles, Function.COS), 0.0, np.sqrt(2.0 / estimator.n_components))


def lower_chi_squared(estimator: Any, b: Builder, source: int) -> int:
    """AdditiveChi2Sampler: samples of the kernel's Fourier transform (Vedaldi and Zisserman, PAMI 34, 2012).

    A column of 0 gives zeros; its logarithm is taken of 1 instead.
    """
    interval = estimator.sample_interval or {1: 0.8, 2: 0.5, 3: 0.4}[estimator.sample_steps]
    zero = b.combine(source, Operation.EQ, b.constant(0.0))
    logs = b.apply(b.combine(source, Operation.ADD, zero), Function.LOG)
    root = b.apply(source, Function.SQRT)
    parts = [b.scale(root, 0.0, np.sqrt(interval))]
    for step in range(1, estimator.sample_steps):
        angle = b.scale(logs, 0.0, step * interval)
        size = b.scale(root, 0.0, np.sqrt(2 * interval / np.cosh(np.pi * step * interval)))
        parts += [b.combine(size, Operation.MUL, b.apply(angle, wave)) for wave in (Function.COS, Function.SIN)]
    return b.join(*parts)


def lower_frequencies(estimator: Any, b: Builder, source: int) -> int:
    """TfidfTransformer over counts: their logarithm where `sublinear_tf`, by `idf_`, each row by its `norm`."""
    if estimator.sublinear_tf:
        zero = b.combine(source, Operation.EQ, b.constant(0.0))
        logs = b.apply(b.combine(source, Operation.ADD, zero), Function.LOG)
        source = b.combine(b.scale(logs, -1.0, 1.0), Operation.SUB, zero)
    if estimator.use_idf:
        source = b.scale(source, 0.0, estimator.idf_)
    return source if estimator.norm is None else add_normalized(b, source, estimator.norm)


def lower_nystroem(estimator: Any, b: Builder, source: int) -> int:
    """Nystroem: kernels with `components_`, on `normalization_.T`."""
    points = estimator.components_
    points = np.asarray(points.toarray() if hasattr(points, "toarray") else points, dtype=np.float64)
    return add_kernel_sums(b, source, points, kernel_of(estimator, points.shape[1]), estimator.normalization_.T)


def lower_splines(estimator: Any, b: Builder, source: int) -> int:
    """SplineTransformer: its B-splines (`bsplines_`) by the recursion of Cox and de Boor, constant beyond the ends."""
    if estimator.extrapolation != "constant":
        raise CannotLower(
            f"no lowering for SplineTransformer with extrapolation={estimator.extrapolation!r}",
            "use extrapolation='constant'",
        )
    if estimator.degree == 0:
        raise CannotLower("SplineTransformer of degree 0 has no value beyond its ends", "use KBinsDiscretizer")
    parts = []
    for column, spline in enumerate(estimator.bsplines_):
        knots, degree = np.asarray(spline.t, dtype=np.float64), int(spline.k)
        last = len(knots) - degree - 1
        inside = add_clipped(b, b.pick(source, [column]), float(knots[degree]), float(knots[last]))
        parts.append(_add_splines(b, inside, knots, degree))
    joined = b.join(*parts)
    if estimator.include_bias:
        return joined
    widths = np.cumsum([b.width(part) for part in parts]) - 1
    return b.pick(joined, np.setdiff1d(np.arange(b.width(joined)), widths))


def _add_splines(b: Builder, value: int, knots: Any, degree: int) -> int:
    """Add all B-splines of one column, whose value lies between knots `degree` and `-degree - 1`."""
    basis = _add_pieces(b, value, knots, degree)
    for order in range(1, degree + 1):
        count = len(knots) - 1 - order
        starts, ends = knots[:count], knots[order + 1 :]
        rise = b.scale(b.pick(value, [0] * count), starts, 1 / (knots[order:-1] - starts))
        fall = b.scale(b.pick(value, [0] * count), ends, -1 / (ends - knots[1 : count + 1]))
        left = b.combine(rise, Operation.MUL, b.pick(basis, range(count)))
        right = b.combine(fall, Operation.MUL, b.pick(basis, range(1, count + 1)))
        basis = b.combine(left, Operation.ADD, right)
    return basis


def _add_pieces(b: Builder, value: int, knots: Any, degree: int) -> int:
    """Add 1 for the span between two knots that the value lies in, else 0; the last span includes its end.

    In a span is what has reached its first knot and not the next one's. The first span of all needs no test.
    """
    first, last = degree, len(knots) - degree - 1
    start = np.zeros(len(knots) - 1)
    start[first] = 1
    inner = knots[first + 1 : last]
    if not len(inner):
        return add_fixed(b, value, start)
    spans = np.zeros((len(inner), len(start)))
    for index in range(len(inner)):
        spans[index, first + index : first + index + 2] = -1, 1
    return b.dense(add_at_least(b, b.pick(value, [0] * len(inner)), inner), spans, start)


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.preprocessing.PolynomialFeatures": lower_polynomial,
    "sklearn.preprocessing.SplineTransformer": lower_splines,
    "sklearn.kernel_approximation.RBFSampler": lower_fourier,
    "sklearn.kernel_approximation.SkewedChi2Sampler": lower_skewed,
    "sklearn.kernel_approximation.Nystroem": lower_nystroem,
    "sklearn.kernel_approximation.AdditiveChi2Sampler": lower_chi_squared,
    "sklearn.feature_extraction.text.TfidfTransformer": lower_frequencies,
}
