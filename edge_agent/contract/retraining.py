"""What came of a retraining: the retrained model against the running one on the same rows, and whether it won.

`trainer retrain` writes it as `verdict.json`, won or lost; the server keeps it with the proposal that asked for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.contract.card import DataFingerprint
from edge_agent.contract.topics import check_name

VERDICT_NAME = "verdict.json"
# Beside the verdict, and only where it was won.
VERSION_FOLDER = "version"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both models on the same rows: each one's metric, and the mean gain of a row by the retrained one.

    A gain is in shares of rows (0.02: two more of a hundred are right) for labels, in shares of the running model's
    mean absolute error for values. `lower` is the lower end of its one-sided confidence interval, by blocks of `block`
    rows.
    """

    rows: int
    running: float
    retrained: float
    gain: float
    lower: float
    block: int


@dataclass(frozen=True, slots=True)
class GateTerms:
    """What a retrained model must do.

    Win by `margin` at least on the newest fresh rows, surely by `confidence`; lose at most `tolerance` on the
    back-test. Both as gains in `Comparison`. `newest` is the share of the fresh rows that nothing was trained on.
    """

    margin: float = 0.01
    tolerance: float = 0.01
    confidence: float = 0.95
    newest: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 1 or not 0 <= self.tolerance <= 1:
            raise ValueError("margin and tolerance are 0 to 1: shares of rows, or of the running model's error")
        if not 0.5 <= self.confidence < 1:
            raise ValueError(f"confidence is at least 0.5 and below 1, not {self.confidence:g}")
        if not 0.05 <= self.newest <= 0.95:
            raise ValueError(f"newest is 0.05 to 0.95 of the fresh rows, not {self.newest:g}")


@dataclass(frozen=True, slots=True)
class RetrainVerdict:
    """The verdict. `reason` is one sentence with the figures; `built` is what was compiled, on the newest fresh rows.

    `running_variant` names the bundle that the running version was judged by. `base` and `fresh` are the rows: the
    recipe's own, and the devices'.
    """

    model: str
    won: bool
    reason: str
    metric: str
    terms: GateTerms
    newest: Comparison
    backtest: Comparison
    base: DataFingerprint
    fresh: DataFingerprint
    train_rows: int
    running_digest: str
    running_variant: str
    built: Comparison | None = None
    lineage: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.model)
