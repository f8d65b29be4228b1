"""Counts of one served model, from many threads: rows are noted on the hot path, and folded into tallies at once.

House rules: the hot path notes a row, its answer and its time under one lock; everything else happens once for
many rows, at a beat, or when a window closes. Windows close by the monotonic clock or by rows; an empty one is
never sent. Copies and closed windows are handed over in their order, under the lock.
"""

import dataclasses
import random
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_agent.contract.feedback import LabelledRow
from edge_agent.contract.messages import AgentSettings
from edge_agent.contract.windows import LATENCY_BUCKETS, LATENCY_EDGES_US, Feedback, latency_quantile_ms
from edge_agent.core import telemetry, telemetry_health
from edge_agent.core.control import FeedbackSample, ModelBeat, WindowClosed, WindowUnderWay
from edge_agent.core.feedback_sample import Reservoir, sample_capacity
from edge_agent.worker.engine import Model, Prediction

NOTED_ROWS_MIN, NOTED_ROWS_MAX, NOTED_VALUES = 256, 1024, 131_072
_LATENCY_EDGES = np.array(LATENCY_EDGES_US)
Matrix = NDArray[np.float32]
Counted = WindowClosed | WindowUnderWay | FeedbackSample
Labelled = tuple[Matrix, Any, Any]
W = TypeVar("W", WindowClosed, WindowUnderWay)


@dataclasses.dataclass(frozen=True, slots=True)
class Clock:
    """The two times a meter needs: monotonic seconds for durations, epoch milliseconds for stamps."""

    monotonic_s: Callable[[], float]
    epoch_ms: Callable[[], int]


@dataclasses.dataclass(slots=True)
class Totals:
    """Cumulative counters since the worker began."""

    rows: int = 0
    errors: int = 0
    rejected: int = 0
    latency: list[int] = dataclasses.field(default_factory=lambda: [0] * LATENCY_BUCKETS)
    latency_sum_us: float = 0.0
    feedback: Feedback = dataclasses.field(default_factory=Feedback)


def noted_rows(columns: int) -> int:
    """Return how many rows of so many columns are folded at once: many are cheaper a row, and about 1 MiB at most."""
    return min(NOTED_ROWS_MAX, max(NOTED_ROWS_MIN, NOTED_VALUES // max(1, columns)))


class Meter:
    """Counts for one model version; `on_counted` gets windows and samples, from whichever thread closed them."""

    def __init__(
        self,
        model: Model,
        version: int,
        settings: AgentSettings,
        clock: Clock,
        on_counted: Callable[[Counted], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._model = model
        self._name = model.manifest.model
        self._version = version
        self._clock = clock
        self._on_counted = on_counted
        self._chance = chance
        self._sample: Reservoir[Labelled] = Reservoir(0)
        self._copied = telemetry.NOTHING
        self._memory_mb = 0.0
        self._lock = threading.Lock()
        self._table = telemetry.table_of(model.bundle.baseline, labels=len(model.rule.labels))
        self._training = telemetry_health.training_counts(model.bundle.baseline, self._table)
        self._tally = telemetry.new_tally(self._table)
        self._last: telemetry.Tally | None = None
        self._noted: list[tuple[bytes, bytes, bytes, float]] = []
        self._noted_n = 0
        self._most_noted = noted_rows(model.columns)
        self._fold_at = min(self._most_noted, settings.window_rows)
        self.totals = Totals()
        self._started_ms = clock.epoch_ms()
        self._settings = settings
        self._window_ends = clock.monotonic_s() + settings.window_s
        self._begin_sample()

    def configure(self, settings: AgentSettings) -> None:
        """Take new settings; a shorter span holds for the window under way."""
        with self._lock:
            if settings.feedback_rows != self._settings.feedback_rows:
                self._settings = settings
                self._begin_sample()
            self._settings = settings
            self._window_ends = min(self._window_ends, self._clock.monotonic_s() + settings.window_s)
            self._fold_noted()
            self._close_if_full()

    def record(self, x: Matrix, prediction: Prediction, microseconds: float) -> None:
        """Count answered rows and the time that their inference took.

        They are looked at later, many at once. What is kept till then are plain bytes: with arrays, each prediction
        would have to work in memory that is not in the processor's cache yet.
        """
        indices = b"" if prediction.indices is None else prediction.indices.tobytes()
        noted = x.tobytes(), prediction.scores.tobytes(), indices, microseconds
        with self._lock:
            self._noted.append(noted)
            self._noted_n += len(x)
            if self._noted_n >= self._fold_at:
                self._fold_noted()
                self._close_if_full()

    def fail(self, x: Matrix, errors: int, microseconds: float) -> None:
        """Count rows that reached the model, of which `errors` got no answer: not finite, or the runtime raised."""
        with self._lock:
            telemetry.fold_inputs(self._tally, x)
            self._count_calls(len(x), [microseconds])
            self._tally.errors += errors
            self.totals.errors += errors
            self._close_if_full()

    def reject(self, feature: int | None = None, *, missing: bool = False) -> None:
        """Count a refused request, and the value at fault where it was a feature's."""
        with self._lock:
            self._tally.rejected += 1
            self.totals.rejected += 1
            if feature is not None:
                telemetry.count_flawed(self._tally, feature, missing=missing)

    def feedback(self, n: int, correct: int, abs_error: float) -> None:
        """Count true labels or values that came back."""
        with self._lock:
            tally, total = self._tally, self.totals.feedback
            tally.feedback_n += n
            tally.feedback_correct += correct
            tally.feedback_abs_error += abs_error
            self.totals.feedback = Feedback(total.n + n, total.correct + correct, total.abs_error + abs_error)

    def sample(self, x: Matrix, truths: list[Any], predictions: list[Any]) -> None:
        """Offer labelled rows (rows, features) to the sample that goes with this window; the settings say how many."""
        if self._sample.capacity:
            with self._lock:
                for row in zip(x, truths, predictions, strict=True):
                    self._sample.offer(row, self._chance())

    def tick(self, memory_mb: float = 0.0) -> None:
        """Note the worker's anonymous memory in MiB; close the window if its time is over."""
        with self._lock:
            self._memory_mb = memory_mb
            self._tally.memory_mb = max(self._tally.memory_mb, memory_mb)
            if self._clock.monotonic_s() >= self._window_ends:
                self._close()

    def snapshot(self) -> None:
        """Hand over a copy of the window under way, where more was counted than in the copy before."""
        with self._lock:
            self._fold_noted()
            mark = self._tally.mark
            if mark == self._copied:
                return
            self._copied = mark
            window = self._window(WindowUnderWay, self._started_ms, self._clock.epoch_ms(), self._tally)
            self._on_counted(window)

    def flush(self) -> None:
        """Close the window under way."""
        with self._lock:
            self._close()

    def beat(self) -> ModelBeat:
        """Return the cumulative counters, and figures over the window under way and the one before."""
        with self._lock:
            self._fold_noted()
            tallies = (self._tally,) if self._last is None else (self._last, self._tally)
            latency = telemetry_health.latency_counts(tallies)
            missing, out_of_range = telemetry_health.missing_and_range_ratio(tallies)
            return ModelBeat(
                model=self._name,
                version=self._version,
                infer_n=self.totals.rows,
                err_n=self.totals.errors,
                rejected_n=self.totals.rejected,
                infer_ms_p50=latency_quantile_ms(latency, 0.5),
                infer_ms_p95=latency_quantile_ms(latency, 0.95),
                infer_ms_p99=latency_quantile_ms(latency, 0.99),
                conf_mean=telemetry_health.mean_confidence(tallies),
                drift_psi_max=telemetry_health.max_psi(self._training, self._table, tallies),
                missing_ratio=missing,
                out_of_range_ratio=out_of_range,
            )

    # Below, the lock is held.

    def _count_calls(self, rows: int, microseconds: Sequence[float]) -> None:
        tally, totals = self._tally, self.totals
        buckets = np.bincount(np.searchsorted(_LATENCY_EDGES, microseconds)).tolist()
        for bucket, count in enumerate(buckets):
            tally.latency[bucket] += count
            totals.latency[bucket] += count
        totals.latency_sum_us += sum(microseconds)
        tally.rows += rows
        totals.rows += rows

    def _fold_noted(self) -> None:
        if self._noted:
            parts, scores, indices, microseconds = zip(*self._noted, strict=True)
            rows, self._noted_n = self._noted_n, 0
            self._noted.clear()
            labels = np.frombuffer(b"".join(indices), np.intp) if self._model.rule.labels else None
            self._fold(_joined(parts, rows), _joined(scores, rows), labels)
            self._count_calls(rows, microseconds)
        self._fold_at = max(1, min(self._most_noted, self._settings.window_rows - self._tally.rows))

    def _fold(self, x: Matrix, scores: Matrix, labels: NDArray[np.intp] | None) -> None:
        telemetry.fold_inputs(self._tally, x)
        if labels is None:
            telemetry.fold_values(self._tally, scores[:, 0])
        else:
            telemetry.fold_labels(self._tally, labels, _largest(scores) if self._table.confidence else None)

    def _close_if_full(self) -> None:
        if self._tally.rows >= self._settings.window_rows:
            self._close()

    def _close(self) -> None:
        self._fold_noted()
        started, self._started_ms = self._started_ms, self._clock.epoch_ms()
        self._window_ends = self._clock.monotonic_s() + self._settings.window_s
        if self._tally.empty:
            return
        closed, self._tally = self._tally, telemetry.new_tally(self._table)
        self._last, self._copied = closed, telemetry.NOTHING
        self._tally.memory_mb = self._memory_mb
        self._close_sample()
        self._on_counted(self._window(WindowClosed, started, self._started_ms, closed))

    def _window(self, kind: type[W], started: int, ended: int, tally: telemetry.Tally) -> W:
        counts = telemetry.counts_of(tally)
        return kind(self._name, self._version, self._model.digest, started, ended, counts)

    def _begin_sample(self) -> None:
        self._sample = Reservoir(sample_capacity(self._settings.feedback_rows, self._model.columns))

    def _close_sample(self) -> None:
        rows = tuple(_labelled(*row) for row in self._sample.items)
        self._begin_sample()
        if rows:
            self._on_counted(FeedbackSample(self._name, self._version, self._model.digest, self._model.names, rows))


def _largest(scores: Matrix) -> Matrix:
    """Return each row's largest score; numpy reduces many short lines slowly, and few long ones fast."""
    largest: Matrix = np.ascontiguousarray(scores.T).max(axis=0)
    return largest


def _joined(parts: Iterable[bytes], rows: int) -> Matrix:
    return np.frombuffer(b"".join(parts), np.float32).reshape(rows, -1)


def _labelled(x: Matrix, truth: Any, prediction: Any) -> LabelledRow:
    """Return a row as it goes on the wire: a float32's shortest text, and nothing where a value is missing."""
    inputs = tuple(None if np.isnan(value) else float(str(value)) for value in x)
    return LabelledRow(inputs, truth, prediction)
