"""`edgeloop feedback`: labelled rows that devices sent, where both ends allow it."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from fleet_server.cli.client import connect
from fleet_server.cli.failures import CommandError, Exit
from fleet_server.cli.output import Column, Output, field, print_json, print_rows, say, show_time

app = App(name="feedback", help="Labelled rows of devices: what they saw, and what turned out to be true.")

_ABOUT = ("device", "version", "received")
_ROWS = (
    Column("MODEL", field("model")),
    Column("ROWS", field("rows"), "number"),
    Column("DEVICES", field("devices"), "number"),
    Column("OLDEST", lambda row: show_time(row.get("oldest"))),
    Column("NEWEST", lambda row: show_time(row.get("newest"))),
    Column("OVER THE CAP", field("capped"), "number"),
    Column("TOO OLD", field("expired"), "number"),
)


@app.command(name="list")
def list_models(*, output: Output = "table") -> None:
    """List by model how many rows are kept, and how many were dropped."""
    with connect() as client:
        rows = client.get("/feedback")["items"]
    print_rows(rows, _ROWS, output, empty="No labelled rows yet: devices send them where both ends allow it.")


@app.command
def export(model: str, file: Path, /, *, device: str | None = None, since: str | None = None) -> None:
    """Write a model's labelled rows to a CSV file, newest first: the columns, then `truth` and `prediction`.

    Parameters
    ----------
    model
        The model's name.
    file
        Where to; it must not exist yet.
    device
        Only the rows of one device.
    since
        Only what the server received at this time (ISO 8601) or later.
    """
    with connect() as client:
        messages = client.pages(f"/models/{model}/feedback", device=device, since=since)
    columns = messages[0]["columns"] if messages else []
    alike = [message for message in messages if message["columns"] == columns]
    try:
        with file.open("x", encoding="utf-8", newline="") as out:
            writer = csv.writer(out)
            writer.writerow([*_ABOUT, *columns, "truth", "prediction"])
            writer.writerows(_lines(alike))
    except OSError as error:
        raise CommandError(
            f"{file} cannot be written", str(error), f"edgeloop feedback export {model} OTHER"
        ) from error
    say(f"Wrote {sum(len(message['rows']) for message in alike)} rows to {file}.")
    if other := sum(len(message["rows"]) for message in messages) - sum(len(message["rows"]) for message in alike):
        say(f"Left out {other} older rows that have other columns.")


@app.command
def forget(
    model: str,
    /,
    *,
    device: str | None = None,
    before: str | None = None,
    yes: Annotated[bool, Parameter(negative="")] = False,
    output: Output = "table",
) -> None:
    """Delete a model's labelled rows from the server for good.

    Parameters
    ----------
    model
        The model's name.
    device
        Only the rows of one device.
    before
        Only what the server received before this time (ISO 8601).
    yes
        Do it: without this, nothing is deleted.
    """
    if not yes:
        why = "they would be gone for good, and no retraining could use them"
        raise CommandError(f"no row was deleted of {model}", why, f"edgeloop feedback forget {model} --yes", Exit.USAGE)
    with connect() as client:
        found = client.delete(f"/models/{model}/feedback", device=device, before=before)
    if output == "json":
        print_json(found)
    else:
        say(f"Deleted {found['rows']} rows of {model}.")


def _lines(messages: Iterable[dict[str, Any]]) -> Iterator[list[Any]]:
    for message in messages:
        about = [message[name] for name in _ABOUT]
        for row in message["rows"]:
            yield [*about, *row["inputs"], _cell(row["truth"]), _cell(row["prediction"])]


def _cell(value: Any) -> Any:
    """Return a label or value as a cell; an array and a boolean as JSON."""
    return json.dumps(value) if isinstance(value, (list, bool)) else value
