"""`edgeloop audit`: who did what; and whether the log is whole, asked of the server or of its data folder."""

import json
from pathlib import Path
from typing import Any

from cyclopts import App

from fleet_server.cli.client import connect
from fleet_server.cli.failures import CommandError, Exit
from fleet_server.cli.output import Column, Output, field, print_json, print_rows, say, show_time

app = App(name="audit", help="Who did what, in a log that shows when it was altered.")

_ROWS = (
    Column("N", field("n"), "number"),
    Column("AT", lambda row: show_time(row.get("at"))),
    Column("ACTOR", field("actor")),
    Column("ACTION", field("action")),
    Column("SUBJECT", field("subject")),
    Column("DETAIL", field("detail")),
)


@app.command(name="list")
def list_rows(
    *,
    actor: str | None = None,
    action: str | None = None,
    subject: str | None = None,
    limit: int = 50,
    output: Output = "table",
) -> None:
    """List the audit log, newest first.

    Parameters
    ----------
    actor
        Only what this user, key, `controller` or `device:ID` did.
    action
        Only this action, as `device_enrolled`.
    subject
        Only what was done to this.
    limit
        How many rows at most.
    """
    with connect() as client:
        rows = client.pages("/audit", most=limit, actor=actor, action=action, subject=subject)
    print_rows(rows, _ROWS, output, empty="Nothing is recorded of that.")


@app.command
def verify(*, data_dir: Path | None = None, output: Output = "table") -> int:
    """Check that no row was changed, taken out or put in; the exit code is 0 when the log is whole, 3 when not.

    Parameters
    ----------
    data_dir
        Check this data folder itself, whether its server runs or not; without it the server is asked.
    """
    if data_dir is None:
        with connect() as client:
            found = client.get("/audit/verdict")
    else:
        found = _verify_folder(data_dir)
    if output == "json":
        print_json(found)
    elif found["whole"]:
        say(f"The log is whole: {found['rows']} rows, {found['proven']} of them under a signed checkpoint.")
    else:
        say(f"The log was altered: {found['reason']}.")
    return Exit.DONE if found["whole"] else Exit.UNHEALTHY


@app.command
def export(file: Path, /) -> None:
    """Write the whole log to a file, one JSON object a line, oldest first, with the hash of each row.

    Parameters
    ----------
    file
        Where to; it must not exist yet.
    """
    with connect() as client:
        rows = client.pages("/audit", oldest_first=True)
    try:
        with file.open("x", encoding="utf-8") as out:
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    except OSError as error:
        raise CommandError(f"{file} cannot be written", str(error), "edgeloop audit export OTHER") from error
    say(f"Wrote {len(rows)} rows to {file}.")


def _verify_folder(data_dir: Path) -> dict[str, Any]:
    from fleet_server.services.audit import verify_folder
    from fleet_server.store.errors import StoreError

    try:
        verdict = verify_folder(data_dir)
    except (OSError, ValueError, StoreError) as error:
        raise CommandError(f"the log in {data_dir} cannot be read", str(error), "edgeloop doctor") from error
    return {
        "whole": verdict.whole,
        "rows": verdict.rows,
        "proven": verdict.proven,
        "bad_row": verdict.bad_row,
        "reason": verdict.reason,
    }
