"""Whether float32 can hold the columns: the step between neighbouring float32 numbers against the column's spread.

A column of epoch seconds moves in steps of 128 s as float32, and put 98 % of rows out of tolerance when tried.
"""

import numpy as np

from trainer.core.arrays import Floats

WARN = 1e-4
REFUSE = 1e-2


def coarseness(x: Floats) -> Floats:
    """Return for each column `ulp32(max|x|) / std`; 0 for columns that are constant or without values."""
    values = np.where(np.isfinite(x), x, np.nan)
    empty = np.isnan(values).all(axis=0)
    values[:, empty] = 0.0
    peak = np.nanmax(np.abs(values), axis=0).astype(np.float32)
    std = np.nanstd(values, axis=0)
    steps = np.spacing(peak).astype(np.float64)
    # The standard deviation of a constant column is rounding noise, not 0.
    moving = np.nanmax(values, axis=0) > np.nanmin(values, axis=0)
    return np.where(moving, steps / np.where(moving, std, 1.0), 0.0)


def judge_resolution(columns: tuple[str, ...], x: Floats) -> tuple[tuple[str, ...], str | None]:
    """Return warnings about columns that float32 holds coarsely, and the refusal where one is far too coarse."""
    coarse = coarseness(x)
    worst = int(np.argmax(coarse))
    if coarse[worst] > REFUSE:
        return (), (
            f"column {columns[worst]!r} does not fit float32: its steps there are {coarse[worst]:.2g} of the column's "
            "standard deviation"
        )
    warnings = tuple(
        f"column {name!r} is coarse in float32: steps of {value:.2g} standard deviations; subtract a constant from it"
        for name, value in zip(columns, coarse, strict=True)
        if value > WARN
    )
    return warnings, None
