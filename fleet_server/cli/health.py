"""`edgeloop health`: throughput, latency and errors by device and model, as devices report them."""

from fleet_server.cli.client import connect
from fleet_server.cli.output import Column, Output, field, print_rows, show_ratio, show_time

_HEALTH = (
    Column("TIME", lambda row: show_time(row.get("received") or row.get("ts"))),
    Column("DEVICE", field("device")),
    Column("MODEL", lambda row: f"{row.get('model')}@{row.get('version')}"),
    Column("ROWS", field("infer_n"), "number"),
    Column("ERRORS", field("err_n"), "number"),
    Column("REJECTED", field("rejected_n"), "number"),
    Column("P50 ms", field("infer_ms_p50"), "number"),
    Column("P95 ms", field("infer_ms_p95"), "number"),
    Column("P99 ms", field("infer_ms_p99"), "number"),
    Column("CONFIDENCE", field("conf_mean"), "number"),
    Column("PSI MAX", field("drift_psi_max"), "number"),
    Column("OUT OF RANGE", lambda row: show_ratio(row.get("out_of_range_ratio")), "number"),
    Column("CPU %", field("cpu_pct"), "number"),
    Column("MEM MiB", field("mem_mb"), "number"),
)


def health(
    *,
    device: str | None = None,
    model: str | None = None,
    since: str | None = None,
    limit: int = 20,
    output: Output = "table",
) -> None:
    """List the latest health reports.

    Parameters
    ----------
    device
        Only those of one device.
    model
        Only those of one model.
    since
        Only those after an ISO 8601 time, such as 2026-11-22T14:00:00Z.
    limit
        How many at most.
    """
    with connect() as client:
        rows = client.pages("/health", most=limit, device=device, model=model, since=since)
    empty = "No health reports yet: a device with a model reports every 60 s. edgeloop device list"
    print_rows(rows, _HEALTH, output, empty=empty)
