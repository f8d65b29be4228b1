"""Log densities of Gaussians, one column each: what mixtures, quadratic discriminants and naive Bayes share.

House rules: rows are centred on each mean before anything else, since the expanded square loses all digits far from 0.
"""

from collections.abc import Sequence

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Metric
from trainer.core.arrays import Floats

# Up to this many weights all components stand in one matrix of blocks, mostly zeros: fewer steps, more weights.
_BLOCK_WEIGHTS = 16_384


def add_squares(b: Builder, source: int, means: Floats, deviations: Floats, bias: Floats) -> int:
    """Add `bias - sum(((x - mean) / deviation)²) / 2` for independent columns: means and deviations (k, n)."""
    count, columns = means.shape
    apart = b.scale(
        b.pick(source, np.tile(np.arange(columns), count)), means.reshape(-1), np.sqrt(0.5) / deviations.reshape(-1)
    )
    sums = np.repeat(-np.eye(count), columns, axis=0)
    return b.dense(b.apply(apart, Function.SQUARE), sums, bias)


def add_gaussians(b: Builder, source: int, means: Floats, factors: Sequence[Floats], bias: Floats) -> int:
    """Add `bias - |(x - mean) @ factor|² / 2`: means (k, n), one factor (n, rank) each, bias (k,)."""
    halved = [np.sqrt(0.5) * factor for factor in factors]
    count, columns = means.shape
    ranks = [factor.shape[1] for factor in factors]
    if count * columns * sum(ranks) <= _BLOCK_WEIGHTS:
        blocks = np.zeros((count * columns, sum(ranks)))
        for index, factor in enumerate(halved):
            start = sum(ranks[:index])
            blocks[index * columns : (index + 1) * columns, start : start + ranks[index]] = factor
        apart = b.scale(b.pick(source, np.tile(np.arange(columns), count)), means.reshape(-1), 1.0)
        turned = b.dense(apart, blocks)
    else:
        parts = [b.dense(b.scale(source, mean, 1.0), factor) for mean, factor in zip(means, halved, strict=True)]
        turned = b.join(*parts)
    return b.dense(b.apply(turned, Function.SQUARE), np.repeat(-np.eye(count), ranks, axis=0), bias)


def add_tied(b: Builder, source: int, means: Floats, factor: Floats, bias: Floats) -> int:
    """Add `bias - |(x - mean) @ factor|² / 2` for one factor (n, rank) that all means (k, n) share."""
    middle = means.mean(axis=0)
    turned = b.dense(b.scale(source, middle, 1.0), np.sqrt(0.5) * factor)
    distances = b.distance(turned, (means - middle) @ factor * np.sqrt(0.5), Metric.SQUARED)
    return b.scale(distances, bias, -1.0)
