"""A bundle proven on this very board: golden vectors replayed in a batch and by row, latency and memory measured."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge_agent.adapters.runtimes import RuntimeFaultError, trim_memory
from edge_agent.contract.messages import Proof
from edge_agent.contract.states import Reason
from edge_agent.core.proof import judge_golden
from edge_agent.worker.bundle import BundleError, read_golden
from edge_agent.worker.engine import Model, reason_of
from edge_agent.worker.memory import read_memory

Matrix = NDArray[np.float32]

WARM_UP_CALLS = 20
TIMED_CALLS = 300
TIME_BUDGET_S = 2.0
MIN_TIMED_CALLS = 5


def prove(model: Model, load_ms: float, clock: Callable[[], float] = time.perf_counter) -> Proof:
    """Return the proof of a loaded model.

    Raises:
        BundleError: GOLDEN_MISMATCH, NON_FINITE_OUTPUT, OUT_OF_MEMORY or LOAD_FAILED with what was seen.
    """
    bundle = model.bundle
    x, expected = read_golden(bundle)
    golden = bundle.manifest.golden
    try:
        batch = model.runtime.predict(x)
        times: list[float] = []
        rows = []
        started = clock()
        for row in range(len(x)):
            rows.append(model.runtime.predict(x[row : row + 1]))
            if clock() - started > TIME_BUDGET_S and row + 1 >= MIN_TIMED_CALLS:
                break  # a slow model: the batch has replayed every row already
        _time_calls(model, x, times, clock)
    except (RuntimeFaultError, MemoryError) as error:
        raise BundleError(reason_of(error), f"golden vectors: {error}") from error
    verdict = judge_golden(golden, expected, batch, model.rule)
    if verdict.reason is Reason.OK:
        single = judge_golden(golden, expected[: len(rows)], np.concatenate(rows), model.rule)
        verdict = single if single.reason is not Reason.OK else verdict
    if verdict.reason is not Reason.OK:
        raise BundleError(verdict.reason, verdict.detail)
    times.sort()  # and not np.quantile, whose first call imports 4 MB of masked arrays
    p50, p99 = (times[round(q * (len(times) - 1))] for q in (0.5, 0.99))
    del batch, rows
    trim_memory()
    memory = read_memory()
    return Proof(
        digest=bundle.digest,
        golden_rows=verdict.rows,
        max_abs_diff=verdict.max_abs_diff,
        label_agreement=verdict.label_agreement,
        latency_p50_us=p50,
        latency_p99_us=p99,
        load_ms=load_ms,
        memory_mb=memory.anonymous_mb,
        memory_peak_mb=memory.anonymous_peak_mb,
    )


def _time_calls(model: Model, x: Matrix, times: list[float], clock: Callable[[], float]) -> None:
    """Append the time in microseconds of single-row calls over the golden rows, after a warm-up, within the budget."""
    started = clock()
    for call in range(WARM_UP_CALLS + TIMED_CALLS):
        row = call % len(x)
        begin = clock()
        model.runtime.predict(x[row : row + 1])
        end = clock()
        if call >= WARM_UP_CALLS or end - started > TIME_BUDGET_S / 2:
            times.append((end - begin) * 1e6)
        if end - started > TIME_BUDGET_S and len(times) >= MIN_TIMED_CALLS:
            return
