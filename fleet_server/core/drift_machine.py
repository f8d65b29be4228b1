"""The states of drift, for a device and for a group or a whole model alike: one table.

House rules: a look judges one window; evidence is what the last looks say together. Every state has a row for every
evidence; nothing else moves a state.

| evidence | meaning |
|---|---|
| `few` | too few windows to judge, or no level of its own yet |
| `clear` | none of the last looks moved |
| `suspect` | a look moved, and not yet enough of the last ones |
| `confirmed` | one column moved in enough of the last looks |
"""

from enum import StrEnum


class DriftState(StrEnum):
    """Learning its own level; as ever; a look moved; enough looks moved; moved and came back."""

    LEARNING = "learning"
    OK = "ok"
    WATCH = "watch"
    DRIFT = "drift"
    RECOVERED = "recovered"


class Evidence(StrEnum):
    """What the last looks say together."""

    FEW = "few"
    CLEAR = "clear"
    SUSPECT = "suspect"
    CONFIRMED = "confirmed"


_LEARNING, _OK, _WATCH, _DRIFT, _RECOVERED = DriftState
MOVES: dict[tuple[DriftState, Evidence], DriftState] = {
    (_LEARNING, Evidence.FEW): _LEARNING,
    (_LEARNING, Evidence.CLEAR): _OK,
    (_LEARNING, Evidence.SUSPECT): _WATCH,
    (_LEARNING, Evidence.CONFIRMED): _DRIFT,
    (_OK, Evidence.FEW): _OK,
    (_OK, Evidence.CLEAR): _OK,
    (_OK, Evidence.SUSPECT): _WATCH,
    (_OK, Evidence.CONFIRMED): _DRIFT,
    (_WATCH, Evidence.FEW): _WATCH,
    (_WATCH, Evidence.CLEAR): _OK,
    (_WATCH, Evidence.SUSPECT): _WATCH,
    (_WATCH, Evidence.CONFIRMED): _DRIFT,
    (_DRIFT, Evidence.FEW): _DRIFT,
    (_DRIFT, Evidence.CLEAR): _RECOVERED,
    (_DRIFT, Evidence.SUSPECT): _DRIFT,
    (_DRIFT, Evidence.CONFIRMED): _DRIFT,
    (_RECOVERED, Evidence.FEW): _RECOVERED,
    (_RECOVERED, Evidence.CLEAR): _OK,
    (_RECOVERED, Evidence.SUSPECT): _WATCH,
    (_RECOVERED, Evidence.CONFIRMED): _DRIFT,
}

# The columns that moved in one look, each with a weight: the PSI on a device, 1 in a group.
Look = tuple[tuple[int, float], ...]
Looks = tuple[Look, ...]


def confirmed_columns(looks: Looks, confirm: int, floor: float) -> tuple[int, ...]:
    """Return the columns that moved in `confirm` of the looks at least, with a mean weight of `floor` there."""
    if not any(looks):
        return ()
    weights: dict[int, list[float]] = {}
    for look in looks:
        for column, weight in look:
            weights.setdefault(column, []).append(weight)
    return tuple(
        sorted(column for column, held in weights.items() if len(held) >= confirm and sum(held) >= floor * len(held))
    )


def weigh(looks: Looks, confirm: int, floor: float) -> Evidence:
    """Return what looks say together."""
    if confirmed_columns(looks, confirm, floor):
        return Evidence.CONFIRMED
    return Evidence.SUSPECT if any(looks) else Evidence.CLEAR


def add_look(looks: Looks, look: Look, of: int) -> Looks:
    """Return the newest `of` looks with one more."""
    return (*looks, look)[-of:]


def next_state(state: DriftState, evidence: Evidence) -> DriftState:
    """Return the state that follows."""
    return MOVES[state, evidence]
