"""When it is drift: the thresholds, as a typed document of a model.

House rules: unknown keys are refused by name; every field changes an outcome, and a test shows it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import comb
from typing import Any


class DriftPolicyError(ValueError):
    """A policy is none; the text names the field and what it may be."""


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """When it is drift, on a device, in a group, and of the answers' truth.

    `learning_windows`: windows of a device that set its own level and spread. `min_rows`: rows of a look at least;
    smaller windows are merged until they have them. `confirm` of the last `of` looks make it drift.
    `alpha`: false alarms of a device for each window, after confirmation, over all columns together; `scope_alpha`:
    those of a group for each look. `psi_floor`: the least PSI that matters on a device (0.1: a shift of 0.32 σ).
    `rare_floor`: the least rise of the share of missing, invalid or outside values. `group_effect_sigma` and
    `group_effect_share`: the least shift of a column, and the least change of a category's share, that matter in a
    group. `offset_sigma`: how far devices may stand from training by their nature; a group is held against training
    beyond that. `device_share`: share of a group's devices that make it drift by themselves.
    `accuracy_margin`: how far accuracy may fall below the card's, absolute; for values, how far their error may rise
    above it, relative. `accuracy_alpha`: its false alarms for each look. `look_s`: seconds that a look of a group waits
    for its devices at most.
    """

    learning_windows: int = 24
    min_rows: int = 200
    confirm: int = 2
    of: int = 3
    alpha: float = 0.001
    scope_alpha: float = 0.001
    psi_floor: float = 0.1
    rare_floor: float = 0.01
    group_effect_sigma: float = 0.1
    group_effect_share: float = 0.05
    offset_sigma: float = 0.3
    device_share: float = 0.1
    accuracy_margin: float = 0.05
    accuracy_alpha: float = 0.0001
    look_s: int = 5400

    def __post_init__(self) -> None:
        """Check.

        Raises:
            DriftPolicyError: a field is out of its range.
        """
        limits: dict[str, tuple[float, float]] = {
            "learning_windows": (8, 1000),
            "min_rows": (20, 10**9),
            "of": (1, 24),
            "confirm": (1, self.of),
            "look_s": (1, 604800),
        }
        for name in ("alpha", "scope_alpha", "accuracy_alpha"):
            limits[name] = (1e-12, 0.5)
        for field in fields(self):
            low, high = limits.get(field.name, (0, 100))
            value = getattr(self, field.name)
            if not low <= value <= high:
                raise DriftPolicyError(f"{field.name} is {low:g} to {high:g}, not {value!r}")

    def column_alpha(self, alpha: float, columns: int) -> float:
        """Return the level of one column in one look, so that `alpha` holds after confirmation over all columns.

        `confirm` looks of the same column must agree by chance: with `of` looks there are C(of, confirm) ways, each
        of probability level**confirm (Boole's inequality).
        """
        ways = comb(self.of, self.confirm)
        return float(min(0.5, (alpha / (columns * ways)) ** (1 / self.confirm)))


def parse_drift_policy(document: Mapping[str, Any]) -> DriftPolicy:
    """Read a policy; what is left out is the default.

    Raises:
        DriftPolicyError: a key is unknown, or a value of the wrong type or out of its range.
    """
    known = {field.name: field.type for field in fields(DriftPolicy)}
    for key, value in document.items():
        if key not in known:
            raise DriftPolicyError(f"{key!r} is none of {', '.join(known)}")
        whole = known[key] is int
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            raise DriftPolicyError(f"{key} is a {'whole ' if whole else ''}number, not {value!r}")
    return DriftPolicy(**document)


def plain_policy(policy: DriftPolicy) -> dict[str, Any]:
    """Return a policy in JSON's own types."""
    return asdict(policy)
