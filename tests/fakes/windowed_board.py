"""Windows as a board would send them, of the three columns that made-up versions have; seeded."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edge_agent.contract.windows import CONFIDENCE_BINS, LATENCY_BUCKETS, FeatureCounts, Feedback, Window, WindowCounts
from tests.fakes.server_versions import EDGES, FEATURES


@dataclass
class WindowedBoard:
    """A board that closes windows of independent normal rows, off training by its own offset for good."""

    id: str
    digest: str
    chance: np.random.Generator
    offset: float = 0.0
    version: int = 1
    boot: int = 1
    number: int = 0
    rows: int = 400
    shift: Mapping[str, float] = field(default_factory=dict)
    stuck: str | None = None
    accuracy: float | None = None
    missing: float = 0.0

    def window(self, ended: int) -> Window:
        """The next window, which ended at this time (epoch milliseconds)."""
        self.number += 1
        columns = tuple(self._column(name) for name in FEATURES)
        right = 0 if self.accuracy is None else int(self.chance.binomial(self.rows, self.accuracy))
        answers = int(self.chance.binomial(self.rows, 0.5))
        counts = WindowCounts(
            self.rows,
            0,
            0,
            columns,
            (answers, self.rows - answers),
            (0,) * (CONFIDENCE_BINS - 1) + (self.rows,),
            (self.rows,) + (0,) * (LATENCY_BUCKETS - 1),
            Feedback() if self.accuracy is None else Feedback(self.rows, right),
        )
        head = self.id, self.boot, self.number, "digits", self.version, self.digest
        return Window(*head, ended - 3_600_000, ended, counts)

    def _column(self, name: str) -> FeatureCounts:
        values = self.chance.normal(self.offset + self.shift.get(name, 0.0), 1.0, self.rows)
        if name == self.stuck:
            values[:] = values[0]
        missing = int(self.chance.binomial(self.rows, self.missing)) if name == FEATURES[0] else 0
        values = values[missing:]
        inside = np.clip(values, -4.0, 4.0)
        bins = np.bincount(np.searchsorted(EDGES, inside), minlength=len(EDGES) + 1)
        sums = round(float(values.sum()), 2), round(float((values**2).sum()), 2)
        return FeatureCounts(tuple(int(item) for item in bins), 0, 0, missing, 0, *sums)
