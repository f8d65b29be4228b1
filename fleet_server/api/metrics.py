"""Prometheus' text format 0.0.4 of what the server knows; no label holds what a stranger could choose freely.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterable

from fleet_server.services.fleet import Summary
from fleet_server.services.wire import Traffic
from fleet_server.store.health import StoredHealth

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HEALTH = {
    "infer_n": ("counter", "edgeloop_device_inferences_total", "Rows predicted since the agent began"),
    "err_n": ("counter", "edgeloop_device_errors_total", "Rows whose prediction failed"),
    "rejected_n": ("counter", "edgeloop_device_rejected_total", "Rows refused as bad input"),
    "infer_ms_p50": ("gauge", "edgeloop_device_inference_p50_milliseconds", "Median latency of one row"),
    "infer_ms_p99": ("gauge", "edgeloop_device_inference_p99_milliseconds", "99th percentile of one row's latency"),
    "drift_psi_max": ("gauge", "edgeloop_device_drift_psi_max", "Largest PSI over the features, on the device"),
    "mem_mb": ("gauge", "edgeloop_device_memory_mebibytes", "Memory of the agent"),
    "cpu_pct": ("gauge", "edgeloop_device_cpu_percent", "CPU of the board"),
    "temp_c": ("gauge", "edgeloop_device_temperature_celsius", "Temperature of the board"),
    "spool_n": ("gauge", "edgeloop_device_spooled_messages", "Messages that wait on the device"),
}


def render_metrics(summary: Summary, traffic: Traffic, health: tuple[StoredHealth, ...]) -> str:
    """Return all metrics as text."""
    lines: list[str] = []
    for kind, name, text, value in (
        ("gauge", "edgeloop_devices", "Enrolled devices", summary.devices),
        ("gauge", "edgeloop_devices_online", "Devices whose status says ready", summary.online),
        ("gauge", "edgeloop_devices_in_sync", "Devices that attest what they should run", summary.in_sync),
        ("gauge", "edgeloop_models", "Models", summary.models),
        ("gauge", "edgeloop_rollouts_active", "Running and paused rollouts", summary.rollouts_active),
        ("gauge", "edgeloop_broker_connected", "Whether the broker is connected", int(summary.broker_connected)),
        ("counter", "edgeloop_mqtt_messages_in_total", "Messages received", traffic.messages_in),
        ("counter", "edgeloop_mqtt_messages_out_total", "Messages published", traffic.messages_out),
        ("counter", "edgeloop_mqtt_bytes_in_total", "Bytes received", traffic.bytes_in),
        ("counter", "edgeloop_mqtt_bytes_out_total", "Bytes published", traffic.bytes_out),
        ("counter", "edgeloop_chunk_bytes_published_total", "Bytes published on chunk topics", traffic.chunk_bytes_out),
    ):
        lines += _family(kind, name, text, [("", value)])
    lines += _family(
        "counter",
        "edgeloop_messages_passed_over_total",
        "Messages of devices that did not count",
        [(f'{{reason="{reason}"}}', count) for reason, count in sorted(traffic.passed_over.items())],
    )
    for key, (kind, name, text) in _HEALTH.items():
        found = [(_labels(item), item.body[key]) for item in health if key in item.body]
        lines += _family(kind, name, text, found)
    return "\n".join(lines) + "\n"


def _family(kind: str, name: str, text: str, samples: Iterable[tuple[str, float]]) -> list[str]:
    return [
        f"# HELP {name} {text}.",
        f"# TYPE {name} {kind}",
        *(f"{name}{labels} {value}" for labels, value in samples),
    ]


def _labels(item: StoredHealth) -> str:
    # Ids and model names are checked where they come in: no character in them needs escaping.
    return f'{{device="{item.device}",model="{item.model}",version="{item.body.get("version", 0)}"}}'
