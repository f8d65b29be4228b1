"""`edgeloop operations`: long-running work of the server, followed to its end or cancelled."""

import threading
from typing import Any

from fleet_server.cli.client import FleetClient, connect
from fleet_server.cli.failures import CommandError, Exit
from fleet_server.cli.output import Column, Output, field, print_fields, print_json, print_rows, say, show_time

ENDED = frozenset({"succeeded", "failed", "cancelled"})
POLL_S = 1.0

_OPERATIONS = (
    Column("ID", field("id")),
    Column("KIND", field("kind")),
    Column("STATE", field("state"), "state"),
    Column("SUBJECT", field("subject")),
    Column("STEP", lambda row: (row.get("progress") or [None])[-1]),
    Column("CREATED", lambda row: show_time(row.get("created"))),
    Column("UPDATED", lambda row: show_time(row.get("updated"))),
    Column("ERROR", field("error")),
)


def operations(
    operation: str | None = None,
    /,
    *,
    follow: bool = False,
    cancel: bool = False,
    output: Output = "table",
) -> int:
    """List long-running operations, or show, follow or cancel one.

    Parameters
    ----------
    operation
        The id of one operation.
    follow
        Follow it to its end; the exit code is 0 when it succeeded, 1 when not.
    cancel
        Cancel it.
    """
    with connect() as client:
        if operation is None:
            if follow or cancel:
                raise CommandError("which operation?", "it needs an id", "edgeloop operations", Exit.USAGE)
            empty = "No operations yet. A build makes one: edgeloop model build FILE --data CSV --target COLUMN"
            print_rows(client.pages("/operations"), _OPERATIONS, output, empty=empty)
            return Exit.DONE
        if cancel:
            client.delete(f"/operations/{operation}")
        if follow:
            return follow_operation(client, operation, output)
        _print(client.get(f"/operations/{operation}"), output)
    return Exit.DONE


def follow_operation(client: FleetClient, operation: str, output: str) -> int:
    """Tell each new step of an operation on stderr until it ends, print it, and return the exit code."""
    told: list[str] = []
    while True:
        found = client.get(f"/operations/{operation}")
        steps = [str(step) for step in found.get("progress") or ()]
        for step in steps[len(told) :]:
            say(step)
        told = steps
        if found["state"] in ENDED:
            _print(found, output)
            return Exit.DONE if found["state"] == "succeeded" else Exit.FAILED
        threading.Event().wait(POLL_S)


def _print(found: dict[str, Any], output: str) -> None:
    if output == "json":
        print_json(found)
    else:
        print_fields((name, show_time(value) if name in _TIMES else value) for name, value in found.items())


_TIMES = frozenset({"created", "updated", "started", "ended"})
