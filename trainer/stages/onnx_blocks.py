"""Keeps a matrix that is zero in blocks without its zeros: as its blocks, which ONNX Runtime joins when it loads them.

The weights of a support vector machine for every two classes, or of one Gaussian beside the other, are mostly zeros.
Each run of rows is kept with only those columns in which it has something, and is spread by operators that have no
inputs but constants: those are computed once, when the session is made.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.kernels.rounding import Singles
from trainer.stages.onnx_writer import OnnxWriter

# What one more block takes in the file: its names, its operator, where its columns belong.
_OVERHEAD_BYTES = 160
_MOST_BLOCKS = 64
_LEAST_BYTES = 2048
# A saving below this share is not worth the operators.
_WORTH = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Rows `begin` to `end`, of which only these columns, in ascending order, are not zero."""

    begin: int
    end: int
    columns: NDArray[np.intp]

    @property
    def is_whole(self) -> bool:
        """Whether the columns stand side by side."""
        return int(self.columns[-1] - self.columns[0]) == len(self.columns) - 1


def add_matrix(w: OnnxWriter, matrix: Singles) -> str:
    """Add a matrix as a constant, in blocks where that makes the file smaller by a fifth at least."""
    if matrix.nbytes < _LEAST_BYTES or np.count_nonzero(matrix) > _WORTH * matrix.size:
        return w.constant(matrix)
    blocks = find_blocks(matrix != 0)
    size = sum(4 * (block.end - block.begin) * (len(block.columns) + 1) + _OVERHEAD_BYTES for block in blocks)
    if not 1 < len(blocks) <= _MOST_BLOCKS or size > _WORTH * matrix.nbytes:
        return w.constant(matrix)
    return w.op("Concat", *[_add_block(w, matrix, block) for block in blocks], axis=0)


def find_blocks(filled: NDArray[np.bool_]) -> list[Block]:
    """Return runs of rows that have their non-zero columns nearly in common: each row joins where that costs less."""
    blocks: list[Block] = []
    begin, union = 0, filled[0]
    for row in range(1, len(filled)):
        wider = union | filled[row]
        width, more = int(union.sum()), int(wider.sum())
        joined = 4 * ((row - begin) * (more - width) + more)
        if joined > 4 * int(filled[row].sum()) + _OVERHEAD_BYTES:
            blocks.append(_block(begin, row, union))
            begin, union = row, filled[row]
        else:
            union = wider
    return [*blocks, _block(begin, len(filled), union)]


def _block(begin: int, end: int, union: NDArray[np.bool_]) -> Block:
    columns = np.flatnonzero(union)
    return Block(begin, end, columns if len(columns) else np.zeros(1, dtype=np.intp))


def _add_block(w: OnnxWriter, matrix: Singles, block: Block) -> str:
    kept: Any = np.ascontiguousarray(matrix[block.begin : block.end, block.columns])
    columns = matrix.shape[1]
    if block.is_whole:
        before, after = int(block.columns[0]), columns - 1 - int(block.columns[-1])
        return w.op("Pad", w.constant(kept), w.integers(0, before, 0, after))
    # All other columns are copies of a column of zeros.
    places = np.full(columns, len(block.columns), dtype=np.int32)
    places[block.columns] = np.arange(len(block.columns), dtype=np.int32)
    padded = np.column_stack([kept, np.zeros(len(kept), dtype=np.float32)])
    return w.op("Gather", w.constant(padded), w.constant(places), axis=1)
