"""Which model of a worker is to blame for its ends, and when a worker is replaced before it dies: pure rules.

House rules: a model is suspected where it was at work (a prediction, or its loading) at the moment of the end. One end
proves nothing, since a bystander may have been at work too; several within a span do. Times are monotonic seconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from edge_agent.core.control import Beat, ModelBeat

MAX_STRIKES = 3
STRIKE_SPAN_S = 6 * 3600.0
# Of the worker's limit of data memory: where it is replaced, and how much of that it must have gained since it began.
WORN_SHARE = 0.85
WORN_GROWTH_SHARE = 0.1
SICK_ROWS = 100
SICK_S = 60.0


@dataclass(frozen=True, slots=True)
class Strike:
    """A model, by its digest, was at work when a worker ended; `alone` where no other was.

    `weight` is 2 where it was being loaded: models are loaded one after another, so a bystander is out of the question.
    """

    digest: str
    at: float
    alone: bool
    weight: int


@dataclass(frozen=True, slots=True)
class StrikeLog:
    """The strikes within the span."""

    strikes: tuple[Strike, ...] = ()

    def add(self, suspects: Iterable[str], now: float, *, loading: bool) -> "StrikeLog":
        """Return the log with one more end at `now`."""
        digests = tuple(suspects)
        recent = tuple(strike for strike in self.strikes if now - strike.at <= STRIKE_SPAN_S)
        weight = 2 if loading else 1
        return StrikeLog((*recent, *(Strike(digest, now, len(digests) == 1, weight) for digest in digests)))

    def without(self, digest: str) -> "StrikeLog":
        """Return the log without a model that was dealt with."""
        return StrikeLog(tuple(strike for strike in self.strikes if strike.digest != digest))

    def guilty(self) -> str | None:
        """Return the model whose strikes weigh `MAX_STRIKES` or more; of several, the one that was alone most often."""
        counts: dict[str, tuple[int, int]] = {}
        for strike in self.strikes:
            alone, total = counts.get(strike.digest, (0, 0))
            counts[strike.digest] = (alone + strike.alone, total + strike.weight)
        over = {digest: count for digest, count in counts.items() if count[1] >= MAX_STRIKES}
        return max(over, key=lambda digest: over[digest], default=None)


def judge_memory(first: Beat, latest: Beat, limit_mb: float) -> str | None:
    """Return why a serving worker is to be replaced for its memory, or `None`.

    A large set of models is no leak: only what was gained since the first beat counts as growth.
    """
    grown = latest.data_mb - first.data_mb
    if latest.data_mb < WORN_SHARE * limit_mb or grown < WORN_GROWTH_SHARE * limit_mb:
        return None
    return f"its memory has grown from {first.data_mb:.0f} to {latest.data_mb:.0f} MiB of {limit_mb:.0f}"


@dataclass(slots=True)
class _LastGood:
    right_n: int
    err_n: int
    at: float


class SickLog:
    """When each model of one worker last answered a row right."""

    def __init__(self) -> None:
        self._last: dict[str, _LastGood] = {}

    def sick(self, beats: Iterable[ModelBeat], now: float) -> tuple[ModelBeat, ...]:
        """Return the models that answered nothing right in their last `SICK_ROWS` rows and `SICK_S` seconds."""
        found = []
        for beat in beats:
            right_n = beat.infer_n - beat.err_n
            last = self._last.get(beat.model)
            if last is None or right_n != last.right_n:
                self._last[beat.model] = _LastGood(right_n, beat.err_n, now)
            elif beat.err_n - last.err_n >= SICK_ROWS and now - last.at >= SICK_S:
                found.append(beat)
        return tuple(found)
