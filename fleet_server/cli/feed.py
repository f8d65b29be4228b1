"""`edgeloop events` and `edgeloop decisions`: what devices say happened, and what was decided about it."""

import sys
from typing import Any

from fleet_server.cli.client import FleetClient, connect
from fleet_server.cli.output import Column, Output, field, print_rows, print_table, say, show_time

LATEST = 50

_EVENTS = (
    Column("TIME", lambda row: show_time(row.get("at"))),
    Column("DEVICE", field("device")),
    Column("CODE", field("code")),
    Column("MODEL", field("model")),
    Column("DETAIL", field("detail")),
)
_DECISIONS = (
    Column("TIME", lambda row: show_time(row.get("at"))),
    Column("DECISION", field("kind")),
    Column("MODEL", field("model")),
    Column("VERSION", field("version"), "number"),
    Column("ROLLOUT", field("rollout")),
    Column("AUTHOR", field("author")),
    Column("REASON", field("reason")),
)


def events(*, follow: bool = False, device: str | None = None, limit: int = LATEST, output: Output = "table") -> None:
    """List the latest events of devices, or follow them as they come.

    Parameters
    ----------
    follow
        Go on with new events until interrupted; JSON is then one object a line.
    device
        Only those of one device.
    limit
        How many at most.
    """
    with connect() as client:
        rows = client.pages("/events", most=limit, device=device)
        empty = "No events yet: devices write them when they boot and update."
        if not follow:
            print_rows(rows, _EVENTS, output, empty=empty)
            return
        if output == "table" and rows:
            print_table(rows[::-1], _EVENTS)
        say("Following; Ctrl-C ends.")
        _follow(client, device, output)


def decisions(*, model: str | None = None, limit: int = LATEST, output: Output = "table") -> None:
    """List decisions with their evidence and author, newest first.

    Parameters
    ----------
    model
        Only those on one model.
    limit
        How many at most.
    """
    with connect() as client:
        rows = client.pages("/decisions", most=limit, model=model)
    empty = "No decisions yet: a rollout makes the first. edgeloop rollout start MODEL VERSION --group GROUP"
    print_rows(rows, _DECISIONS, output, empty=empty)


def _follow(client: FleetClient, device: str | None, output: str) -> None:
    import json

    for kind, data in client.stream():
        if kind != "event" or (device is not None and data.get("device") != device):
            continue
        if output == "json":
            sys.stdout.write(json.dumps(data, ensure_ascii=False) + "\n")
            sys.stdout.flush()
        else:
            _print_line(data)


def _print_line(row: dict[str, Any]) -> None:
    from fleet_server.cli.output import clean, show, stdout_console

    stdout_console().print("  ".join(clean(show(column.text(row))) for column in _EVENTS), markup=False)
