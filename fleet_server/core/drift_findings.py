"""What is said of drift: the alert that others listen to, and the sentence that a person reads.

House rules: a sentence names the column, how much in words, on how many devices of how many, and since when; the most
moved columns come first, and the rest are counted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fleet_server.core.concept_rules import Promise, Truth
from fleet_server.core.drift_machine import DriftState
from fleet_server.core.drift_scopes import Against, ColumnMove
from fleet_server.core.yardstick import ABSENT, BROKEN, CONFIDENCE, LEVEL, OUTPUT, OUTSIDE, SPREAD, Yardstick

_SHOWN = 3
_TELLING_SIGMA = 0.05
_TELLING_RATIO = 1.15
_TELLING_SHARE = 0.005
_STUCK = 0.1
# Normal scores end at about 2 for the outermost twentieth: beyond, the figure says less than the word.
_FAR = 1.8
_AGAINST = {
    Against.PAST: "against their own past",
    Against.DEVICES: "each against its own past",
    Against.TRAINING: "against training",
}


class Cause(StrEnum):
    """What drifted."""

    INPUTS = "inputs"
    OUTPUTS = "outputs"
    ACCURACY = "accuracy"


@dataclass(frozen=True, slots=True)
class DriftAlert:
    """Drift of a model's version in a group (or of all its devices) was confirmed."""

    model: str
    version: int
    group: str | None
    state: str
    cause: Cause
    sentence: str
    evidence: Mapping[str, Any]


def cause_of(yardstick: Yardstick, moves: Sequence[ColumnMove]) -> Cause:
    """Return inputs where one of them moved, else outputs."""
    names = {yardstick.names[move.column] for move in moves}
    return Cause.OUTPUTS if names and names <= {OUTPUT, CONFIDENCE} else Cause.INPUTS


def describe(yardstick: Yardstick, column: int, figures: Sequence[float], share: tuple[int, float]) -> str:
    """Say in words how a column moved, the most telling first."""
    told = []
    for figure, what in (
        (ABSENT, "is missing"),
        (BROKEN, "is no finite number"),
        (OUTSIDE, "lies outside of the training range" if yardstick.ordered[column] else "is of an unknown category"),
    ):
        if figures[figure] >= _TELLING_SHARE:
            told.append(f"{what} in {figures[figure]:.0%} more of the rows")
    if yardstick.ordered[column]:
        told += _describe_order(figures)
    elif abs(share[1]) >= _TELLING_SHARE:
        what = "answers label" if yardstick.names[column] == OUTPUT else "is category"
        place = share[0]
        if yardstick.labels is not None and yardstick.names[column] == OUTPUT:
            place = int(yardstick.labels[place]) if place < len(yardstick.labels) else -1
        named = f"{what} {place}" if place >= 0 else "answers other labels"
        told.append(f"{named} {abs(share[1]):.0%} of the rows {'more' if share[1] > 0 else 'less'} often")
    return f"{yardstick.names[column]} {' and '.join(told) if told else 'changed its shape'}"


def _describe_order(figures: Sequence[float]) -> list[str]:
    told = []
    level = figures[LEVEL]
    if abs(level) >= _FAR:
        told.append(f"{'rose' if level > 0 else 'fell'} by about {_FAR:.1f} σ or more")
    elif abs(level) >= _TELLING_SIGMA:
        told.append(f"{'rose' if level > 0 else 'fell'} by about {abs(level):.2g} σ")
    if figures[SPREAD]:
        ratio = math.sqrt(max(0.0, 1 + figures[SPREAD]))
        if ratio <= _STUCK:
            told.insert(0, "is stuck near one value")
        elif ratio >= _TELLING_RATIO or ratio <= 1 / _TELLING_RATIO:
            told.append(f"varies {ratio:.1f} times as much")
    return told


def rank(moves: Sequence[ColumnMove]) -> list[ColumnMove]:
    """Return moves, the largest first."""
    return sorted(moves, key=lambda move: -max(abs(move.share[1]), *(abs(item) for item in move.figures)))


def tell_scope(yardstick: Yardstick, moves: Sequence[ColumnMove], since: str) -> str:
    """Return the sentence on a group's drift."""
    first = rank(moves)[:_SHOWN]
    parts = [
        f"{describe(yardstick, move.column, move.figures, move.share)} on {move.devices} of {move.of} devices "
        f"({_AGAINST[move.against]})"
        for move in first
    ]
    more = len(moves) - len(first)
    rest = f"; {more} more column{'s' if more > 1 else ''} moved" if more else ""
    return f"{'; '.join(parts)}{rest}, since {since}."


def tell_truth(promise: Promise, truth: Truth, since: str) -> str:
    """Return the sentence on answers that became wrong, or right again."""
    recent = truth.recent if truth.recent is not None else math.nan
    what, figure = ("accuracy", f"{recent:.1%}") if promise.of_labels else ("mean absolute error", f"{recent:.3g}")
    card = f"{promise.value:.1%}" if promise.of_labels else f"{promise.value:.3g}"
    return (
        f"{what} on labels that came back is about {figure}, where the model card has {card}, "
        f"over {truth.labels} labels in {truth.windows} windows, since {since}."
    )


def tell_calm(state: DriftState, devices: int, drifting: int) -> str:
    """Return the sentence on a group that has not drifted."""
    match state:
        case DriftState.LEARNING:
            return f"{devices} devices are learning their own level; no column is far from training."
        case DriftState.RECOVERED:
            return f"What had moved is back where it was on the {devices} devices."
        case DriftState.WATCH:
            return f"One look moved on the {devices} devices; it takes more to be drift."
        case _:
            return f"No column moved for the {devices} devices as a whole; {drifting} of them drift by themselves."


def plain_moves(yardstick: Yardstick, moves: Sequence[ColumnMove]) -> list[dict[str, Any]]:
    """Return moves in JSON's own types: the evidence."""
    return [
        {
            "feature": yardstick.names[move.column],
            "against": str(move.against),
            "shift_sigma": round(move.figures[LEVEL], 4),
            "spread": round(move.figures[SPREAD], 4),
            "outside": round(move.figures[OUTSIDE], 4),
            "missing": round(move.figures[ABSENT], 4),
            "invalid": round(move.figures[BROKEN], 4),
            "devices": move.devices,
            "of": move.of,
            "words": describe(yardstick, move.column, move.figures, move.share),
        }
        for move in rank(moves)
    ]
