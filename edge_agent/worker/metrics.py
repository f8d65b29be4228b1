"""`/metrics` in Prometheus' text exposition format 0.0.4.

House rules: base units (seconds, bytes) in names; counters end in `_total` and are cumulative since the worker began.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edge_agent.contract.windows import LATENCY_EDGES_US
from edge_agent.worker.memory import read_memory

if TYPE_CHECKING:
    from edge_agent.core.control import ModelBeat
    from edge_agent.worker.serving import ServedModel

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Figure = tuple[str, str, str, Callable[["ModelBeat"], float]]

_FIGURES: Sequence[Figure] = (
    ("edgeloop_rows_total", "counter", "Rows that reached the model.", lambda beat: beat.infer_n),
    ("edgeloop_errors_total", "counter", "Rows without an answer: not finite, or raised.", lambda beat: beat.err_n),
    ("edgeloop_rejected_total", "counter", "Requests refused before the model.", lambda beat: beat.rejected_n),
    ("edgeloop_confidence_mean", "gauge", "Mean largest probability, recent windows.", lambda beat: beat.conf_mean),
    ("edgeloop_drift_psi_max", "gauge", "Largest debiased PSI of a feature.", lambda beat: beat.drift_psi_max),
    ("edgeloop_missing_ratio", "gauge", "Share of missing values.", lambda beat: beat.missing_ratio),
    ("edgeloop_out_of_range_ratio", "gauge", "Share outside the training range.", lambda beat: beat.out_of_range_ratio),
)


def metrics_text(models: Sequence["ServedModel"], refused: int) -> str:
    """Return all metrics of the worker; `refused` counts requests refused before a model was known."""
    lines: list[str] = []
    found = [(model, _labels(model), model.meter.beat()) for model in models]
    for name, kind, text, figure in _FIGURES:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{{{labels}}} {figure(beat)!r}" for _model, labels, beat in found]
    lines += _latency([(model, labels) for model, labels, _beat in found])
    lines += _feedback([(model, labels) for model, labels, _beat in found])
    memory = read_memory()
    lines += [
        "# HELP edgeloop_http_refused_total Requests refused by the HTTP layer without a model.",
        "# TYPE edgeloop_http_refused_total counter",
        f"edgeloop_http_refused_total {refused}",
        "# HELP edgeloop_worker_resident_bytes Resident memory of the worker.",
        "# TYPE edgeloop_worker_resident_bytes gauge",
        f"edgeloop_worker_resident_bytes {int(memory.resident_mb * 2**20)}",
    ]
    return "\n".join([*lines, ""])


def _latency(models: Sequence[tuple["ServedModel", str]]) -> list[str]:
    name = "edgeloop_inference_seconds"
    lines = [f"# HELP {name} Time of one call of the model.", f"# TYPE {name} histogram"]
    for model, labels in models:
        totals, seen = model.meter.totals, 0
        for edge, count in zip(LATENCY_EDGES_US, totals.latency, strict=False):
            seen += count
            lines.append(f'{name}_bucket{{{labels},le="{edge / 1e6:.6g}"}} {seen}')
        seen += totals.latency[-1]
        lines.append(f'{name}_bucket{{{labels},le="+Inf"}} {seen}')
        lines.append(f"{name}_sum{{{labels}}} {totals.latency_sum_us / 1e6!r}")
        lines.append(f"{name}_count{{{labels}}} {seen}")
    return lines


def _feedback(models: Sequence[tuple["ServedModel", str]]) -> list[str]:
    lines: list[str] = []
    for name, text, part in (
        ("edgeloop_feedback_total", "True labels or values that came back.", "n"),
        ("edgeloop_feedback_correct_total", "Predictions that were right by feedback.", "correct"),
        ("edgeloop_feedback_abs_error_sum", "Sum of the absolute errors of values.", "abs_error"),
    ):
        lines += [f"# HELP {name} {text}", f"# TYPE {name} counter"]
        lines += [f"{name}{{{labels}}} {getattr(model.meter.totals.feedback, part)!r}" for model, labels in models]
    return lines


def _labels(model: "ServedModel") -> str:
    # Names are [a-z0-9_.-] by contract, so nothing in them needs escaping.
    return f'model="{model.manifest.model}",version="{model.version}"'
