"""Whether devices go bad more often in the canary than in the stable arm at the same time, at every moment of looking.

House rules: the device is the unit, and counts once. The first thing that is asked of a bad device is which arm it is
of: if the version changes nothing, each device that was at risk is as likely as any other, whatever befalls the whole
fleet at that time. The product of the ratios of likelihoods (many times as likely in the canary, to equally likely) is
an e-process: it ever reaches 1/a with a probability of a at most. Sources: J. ter Schure, M. F. Perez-Ortiz, A. Ly and
P. Grunwald (2024), The safe logrank test, The New England Journal of Statistics in Data Science 2(2); J. Ville (1939),
Etude critique de la notion de collectif, for the bound.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

# How many times as likely to go bad a canary device is supposed to be; mixed with equal weights, so that neither a
# doubling among many nor a handful among few takes long to show.
HAZARD_RATIOS = (3.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True, order=True)
class BadDevice:
    """A device that went bad: when (epoch seconds), its name (which orders those of one moment), and its arm."""

    at: float
    device: str
    canary: bool


@dataclass(frozen=True, slots=True)
class NewlyBad:
    """What the bad devices of both arms say: the e-value, and the counts that it rests on."""

    e_value: float
    canary: int
    canary_bad: int
    stable: int
    stable_bad: int


def weigh_newly_bad(canary: int, stable: int, bad: Iterable[BadDevice]) -> NewlyBad:
    """Weigh the `bad` devices among `canary` and `stable` ones; without either arm there is nothing to compare: 1.

    Raises:
        ValueError: more are bad than there are.
    """
    ordered = sorted(bad)
    canary_bad = sum(item.canary for item in ordered)
    stable_bad = len(ordered) - canary_bad
    if canary_bad > canary or stable_bad > stable:
        raise ValueError(f"{canary_bad} of {canary} and {stable_bad} of {stable} devices cannot be bad")
    if not canary or not stable:
        return NewlyBad(1.0, canary, canary_bad, stable, stable_bad)
    logs = [0.0] * len(HAZARD_RATIOS)
    left_canary, left_stable = canary, stable
    for item in ordered:
        for place, ratio in enumerate(HAZARD_RATIOS):
            share = (left_canary + left_stable) / (ratio * left_canary + left_stable)
            logs[place] += math.log(ratio * share if item.canary else share)
        left_canary -= item.canary
        left_stable -= not item.canary
    e_value = sum(math.exp(min(log, 700.0)) for log in logs) / len(logs)
    return NewlyBad(e_value, canary, canary_bad, stable, stable_bad)
