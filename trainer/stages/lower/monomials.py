"""Products of columns, and polynomial kernels written out in them.

House rules: a monomial is the ascending tuple of its columns, each as often as its power; `()` is 1.
"""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Operation
from trainer.core.arrays import Floats
from trainer.stages.lower.steps import add_fixed

Monomial = tuple[int, ...]
# More products than this are no gain over the points of a kernel.
MOST = 4096


def add_monomials(b: Builder, source: int, wanted: Sequence[Monomial]) -> int:
    """Add one column a monomial, degree by degree, each product from one of a degree less."""
    needed = {monomial[:length] for monomial in wanted for length in range(1, len(monomial) + 1)}
    place: dict[Monomial, int] = {(column,): column for column in range(b.width(source))}
    value = source
    parts, columns = [source], dict(place)
    for degree in range(2, max((len(monomial) for monomial in wanted), default=0) + 1):
        level = sorted(monomial for monomial in needed if len(monomial) == degree)
        before = b.pick(value, [place[monomial[:-1]] for monomial in level])
        value = b.combine(before, Operation.MUL, b.pick(source, [monomial[-1] for monomial in level]))
        place = {monomial: index for index, monomial in enumerate(level)}
        columns |= {monomial: index + len(columns) for index, monomial in enumerate(level)}
        parts.append(value)
    if () in wanted:
        columns[()] = len(columns)
        parts.append(add_fixed(b, source, [1.0]))
    return b.pick(b.join(*parts), [columns[monomial] for monomial in wanted])


def count_monomials(columns: int, degree: int, *, lower: bool) -> int:
    """Return how many monomials there are of a degree, and with `lower` also of each degree from 1 below it."""
    return math.comb(columns + degree, degree) - 1 if lower else math.comb(columns + degree - 1, degree)


def add_expanded(
    b: Builder, source: int, points: Floats, gamma: float, coef0: float, degree: int, weights: Floats, bias: Floats
) -> int:
    """Add `(gamma x·p + coef0)^degree @ weights + bias`, points (m, n), weights (m, outputs), by the binomial theorem.

    The sum over the points is made here, in float64: what cancels there costs no digits on the device.
    """
    columns = points.shape[1]
    degrees = range(1, degree + 1) if coef0 else [degree]
    wanted = [monomial for size in degrees for monomial in combinations_with_replacement(range(columns), size)]
    matrix = np.zeros((len(wanted), weights.shape[1]))
    for index, monomial in enumerate(wanted):
        size = len(monomial)
        ways = math.factorial(size) / math.prod(math.factorial(power) for power in Counter(monomial).values())
        factor = math.comb(degree, size) * coef0 ** (degree - size) * gamma**size * ways
        matrix[index] = factor * (points[:, list(monomial)].prod(axis=1) @ weights)
    return b.dense(add_monomials(b, source, wanted), matrix, bias + coef0**degree * weights.sum(axis=0))
