"""Counts of one served model, from many threads: a ring of rows on the hot path, folded into tallies at once.

House rules: the hot path copies a row, adds a latency bucket and a counter under one lock; everything else happens
once in 256 rows, at a beat, or when a window closes. Windows close by the monotonic clock or by rows; an empty one is
never sent.
"""

import dataclasses
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge_agent.contract.messages import AgentSettings
from edge_agent.contract.windows import LATENCY_BUCKETS, Feedback, latency_bucket, latency_quantile_ms
from edge_agent.core import telemetry, telemetry_health
from edge_agent.core.control import ModelBeat, WindowClosed
from edge_agent.worker.engine import Model, Prediction

RING_ROWS = 256
Matrix = NDArray[np.float32]


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


class Meter:
    """Counts for one model version; `on_closed` gets every closed window, from whichever thread closed it."""

    def __init__(
        self,
        model: Model,
        version: int,
        settings: AgentSettings,
        clock: Clock,
        on_closed: Callable[[WindowClosed], None],
    ) -> None:
        self._model = model
        self._name = model.manifest.model
        self._version = version
        self._clock = clock
        self._on_closed = on_closed
        self._lock = threading.Lock()
        self._table = telemetry.table_of(model.bundle.baseline, labels=len(model.rule.labels))
        self._training = telemetry_health.training_counts(model.bundle.baseline, self._table)
        self._tally = telemetry.new_tally(self._table)
        self._last: telemetry.Tally | None = None
        self._x: Matrix = np.zeros((RING_ROWS, model.columns), np.float32)
        self._scores: Matrix = np.zeros((RING_ROWS, model.manifest.output.columns), np.float32)
        self._labels = np.zeros(RING_ROWS, np.intp)
        self._pending = 0
        self.totals = Totals()
        self._started_ms = clock.epoch_ms()
        self._settings = settings
        self._window_ends = clock.monotonic_s() + settings.window_s

    def configure(self, settings: AgentSettings) -> None:
        """Take new settings; a shorter span holds for the window under way."""
        with self._lock:
            self._settings = settings
            self._window_ends = min(self._window_ends, self._clock.monotonic_s() + settings.window_s)
            self._close_if_full()

    def record(self, x: Matrix, prediction: Prediction, microseconds: float) -> None:
        """Count answered rows and the time that their inference took."""
        rows = len(x)
        with self._lock:
            at = self._pending
            if rows == 1:
                self._x[at] = x[0]
                self._scores[at] = prediction.scores[0]
                if prediction.indices is not None:
                    self._labels[at] = prediction.indices[0]
                self._pending = at + 1
            else:
                self._fold_pending()
                self._fold(x, prediction.scores, prediction.indices)
            self._count_call(rows, microseconds)
            if self._pending >= RING_ROWS or self._tally.rows >= self._settings.window_rows:
                self._fold_pending()
                self._close_if_full()

    def fail(self, x: Matrix, errors: int, microseconds: float) -> None:
        """Count rows that reached the model, of which `errors` got no answer: not finite, or the runtime raised."""
        with self._lock:
            self._fold_inputs(x)
            self._count_call(len(x), microseconds)
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

    def tick(self) -> None:
        """Close the window if its time is over."""
        with self._lock:
            if self._clock.monotonic_s() >= self._window_ends:
                self._close()

    def flush(self) -> None:
        """Close the window under way."""
        with self._lock:
            self._close()

    def beat(self) -> ModelBeat:
        """Return the cumulative counters, and figures over the window under way and the one before."""
        with self._lock:
            self._fold_pending()
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

    def _count_call(self, rows: int, microseconds: float) -> None:
        bucket = latency_bucket(microseconds)
        tally, totals = self._tally, self.totals
        tally.latency[bucket] += 1
        totals.latency[bucket] += 1
        totals.latency_sum_us += microseconds
        tally.rows += rows
        totals.rows += rows

    def _fold_pending(self) -> None:
        if self._pending:
            at, self._pending = self._pending, 0
            has_labels = bool(self._model.rule.labels)
            self._fold(self._x[:at], self._scores[:at], self._labels[:at] if has_labels else None)

    def _fold(self, x: Matrix, scores: Matrix, labels: NDArray[np.intp] | None) -> None:
        self._fold_inputs(x)
        if labels is None:
            telemetry.fold_values(self._tally, scores[:, 0])
        else:
            telemetry.fold_labels(self._tally, labels, scores.max(axis=1) if self._table.confidence else None)

    def _fold_inputs(self, x: Matrix) -> None:
        for start in range(0, len(x), telemetry.FOLD_ROWS):
            telemetry.fold_inputs(self._tally, x[start : start + telemetry.FOLD_ROWS])

    def _close_if_full(self) -> None:
        if self._tally.rows >= self._settings.window_rows:
            self._close()

    def _close(self) -> None:
        self._fold_pending()
        started, self._started_ms = self._started_ms, self._clock.epoch_ms()
        self._window_ends = self._clock.monotonic_s() + self._settings.window_s
        if self._tally.empty:
            return
        closed, self._tally = self._tally, telemetry.new_tally(self._table)
        self._last = closed
        self._on_closed(
            WindowClosed(
                self._name, self._version, self._model.digest, started, self._started_ms, telemetry.counts_of(closed)
            )
        )
