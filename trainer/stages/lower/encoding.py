"""Lowering of the encoders of categories and bins. Categories are numbers: text never reaches a device's model.

House rules: where scikit-learn raises at an unknown category, the graph gives NaN, which a device refuses to answer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Reduction
from trainer.core.arrays import Floats
from trainer.errors import CannotLower
from trainer.stages.lower.registry import Lowering
from trainer.stages.lower.steps import add_at_least, add_equals, add_known, group_matrix


def _groups(estimator: Any, index: int) -> tuple[Any, int, bool]:
    """Return the group of each category of feature `index`, their number, and whether the last is of rare ones."""
    count = len(estimator.categories_[index])
    mapping = None
    if getattr(estimator, "_infrequent_enabled", False):
        mapping = estimator._default_to_infrequent_mappings[index]  # noqa: SLF001 - kept nowhere else
    if mapping is None:
        return np.arange(count), count, False
    return np.asarray(mapping), int(np.max(mapping)) + 1, True


def lower_one_hot(estimator: Any, b: Builder, source: int) -> int:
    """OneHotEncoder: one column a category of `categories_`, with `drop`, rare groups, and `handle_unknown`."""
    sizes = [len(categories) for categories in estimator.categories_]
    drops = estimator._drop_idx_after_grouping  # noqa: SLF001 - kept nowhere else
    rare_unknown = estimator.handle_unknown in ("infrequent_if_exist", "warn")
    blocks, bias = [], []
    for index, size in enumerate(sizes):
        groups, count, rare = _groups(estimator, index)
        block, start = np.zeros((size, count)), np.zeros(count)
        block[np.arange(size), groups] = 1
        if rare_unknown and rare:
            # What is known takes 1 off again, so that the last group has 1 for what is not.
            start[-1] = 1
            block[:, -1] -= 1
        dropped = None if drops is None else drops[index]
        kept = [column for column in range(count) if column != dropped]
        blocks.append(block[:, kept])
        bias.append(start[kept])
    if not sum(block.shape[1] for block in blocks):
        raise CannotLower("OneHotEncoder drops every category", "leave the encoder out")
    chosen = add_equals(b, source, estimator.categories_)
    encoded = b.dense(chosen, _diagonal(blocks), np.concatenate(bias))
    if estimator.handle_unknown != "error":
        return encoded
    return add_known(b, encoded, b.reduce(b.dense(chosen, group_matrix(sizes)), Reduction.MIN))


def lower_ordinal(estimator: Any, b: Builder, source: int) -> int:
    """OrdinalEncoder: the number of the category, `unknown_value` for the unknown, where that is allowed."""
    sizes = [len(categories) for categories in estimator.categories_]
    unknown = estimator.unknown_value if estimator.handle_unknown == "use_encoded_value" else np.nan
    base = 0.0 if np.isnan(unknown) else float(unknown)
    blocks = [_groups(estimator, index)[0].astype(np.float64)[:, None] - base for index in range(len(sizes))]
    chosen = add_equals(b, source, estimator.categories_)
    encoded = b.dense(chosen, _diagonal(blocks), base)
    if not np.isnan(unknown):
        return encoded
    known = b.dense(chosen, group_matrix(sizes))
    if estimator.handle_unknown == "error":
        known = b.reduce(known, Reduction.MIN)
    return add_known(b, encoded, known)


def lower_target(estimator: Any, b: Builder, source: int) -> int:
    """TargetEncoder: `encodings_` of the category, `target_mean_` for the unknown; one column a class for many."""
    means = np.atleast_1d(np.asarray(estimator.target_mean_, dtype=np.float64))
    blocks, bias = [], []
    for index in range(len(estimator.categories_)):
        tables = estimator.encodings_[index * len(means) : (index + 1) * len(means)]
        blocks.append(np.column_stack([np.asarray(table) for table in tables]) - means)
        bias.append(means)
    chosen = add_equals(b, source, estimator.categories_)
    return b.dense(chosen, _diagonal(blocks), np.concatenate(bias))


def lower_bins(estimator: Any, b: Builder, source: int) -> int:
    """KBinsDiscretizer: how many inner edges (`bin_edges_`) a value has reached, or one column a bin."""
    inner = [np.asarray(edges, dtype=np.float64)[1:-1] for edges in estimator.bin_edges_]
    sizes = [len(edges) for edges in inner]
    if estimator.encode == "ordinal":
        blocks = [np.ones((size, 1)) for size in sizes]
        bias = np.zeros(len(sizes))
    else:
        # Bin j is what has reached edge j and not edge j + 1; the first bin starts at 1.
        blocks = [np.eye(size, size + 1, 1) - np.eye(size, size + 1) for size in sizes]
        bias = np.concatenate([np.eye(1, size + 1)[0] for size in sizes])
    if not sum(sizes):
        raise CannotLower("KBinsDiscretizer found one bin a column only", "leave the discretizer out")
    picked = b.pick(source, np.repeat(np.arange(len(sizes)), sizes))
    return b.dense(add_at_least(b, picked, np.concatenate(inner)), _diagonal(blocks), bias)


def _diagonal(blocks: Sequence[Floats]) -> Floats:
    """Return the blocks on the diagonal of one matrix; a block may have no rows."""
    matrix = np.zeros((sum(len(block) for block in blocks), sum(block.shape[1] for block in blocks)))
    row = column = 0
    for block in blocks:
        matrix[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return matrix


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.preprocessing.OneHotEncoder": lower_one_hot,
    "sklearn.preprocessing.OrdinalEncoder": lower_ordinal,
    "sklearn.preprocessing.TargetEncoder": lower_target,
    "sklearn.preprocessing.KBinsDiscretizer": lower_bins,
}
