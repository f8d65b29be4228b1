"""`edgeloop proposal`: what the fleet proposes to make anew, and a person's word on it."""

from typing import Any

from cyclopts import App

from fleet_server.cli.client import connect
from fleet_server.cli.output import Column, Output, field, print_fields, print_json, print_rows, say, show_time

app = App(name="proposal", help="Proposals to make a model anew.")

_PROPOSALS = (
    Column("ID", field("id")),
    Column("MODEL", lambda row: f"{row.get('model')}@{row.get('version')}"),
    Column("STATE", field("state"), "state"),
    Column("MADE", field("made"), "number"),
    Column("CAUSE", field("cause")),
    Column("WHY IT OPENED", field("sentence")),
    Column("NOW", field("reason")),
    Column("OPENED", lambda row: show_time(row.get("opened"))),
)
_COMPARED = ("rows", "running", "retrained", "gain", "lower")


@app.command(name="list")
def list_proposals(*, model: str | None = None, output: Output = "table") -> None:
    """List proposals, newest first.

    Parameters
    ----------
    model
        Those of this model alone.
    """
    with connect() as client:
        rows = client.pages("/proposals", model=model)
    empty = "No proposals yet: drift or worse accuracy opens one for a model with a pipeline (edgeloop model pipeline)"
    print_rows(rows, _PROPOSALS, output, empty=empty)


@app.command
def show(proposal: str, /, *, output: Output = "table") -> None:
    """Show a proposal: its evidence, its verdict, and what came of it.

    Parameters
    ----------
    proposal
        Its id.
    """
    with connect() as client:
        _print(client.get(f"/proposals/{proposal}"), output)


@app.command(name="open")
def open_proposal(model: str, /, *, reason: str, output: Output = "table") -> None:
    """Propose to make a model anew, without any finding.

    Parameters
    ----------
    model
        The model's name; it has a pipeline.
    reason
        Why, in a sentence.
    """
    with connect() as client:
        made = client.post(f"/models/{model}/proposals", {"reason": reason})
    _print(made, output)
    if output != "json":
        say(f"Next: edgeloop proposal accept {made['id']}")


@app.command
def accept(proposal: str, /, *, output: Output = "table") -> None:
    """Let a proposal's training begin; where it wins, it is signed and rolled out.

    Parameters
    ----------
    proposal
        Its id.
    """
    with connect() as client:
        _print(client.post(f"/proposals/{proposal}/accept"), output)


@app.command
def decline(proposal: str, /, *, reason: str, output: Output = "table") -> None:
    """End a proposal before its rollout.

    Parameters
    ----------
    proposal
        Its id.
    reason
        Why, in a sentence.
    """
    with connect() as client:
        _print(client.post(f"/proposals/{proposal}/decline", {"reason": reason}), output)


def _print(found: dict[str, Any], output: str) -> None:
    if output == "json":
        print_json(found)
        return
    verdict = found.get("verdict") or {}
    names = ("id", "model", "version", "state", "reason", "cause", "sentence", "evidence", "author")
    print_fields(
        [
            *((name, found.get(name)) for name in names),
            ("opened", show_time(found["opened"])),
            ("changed", show_time(found["changed"])),
            *((name, found.get(name)) for name in ("pipeline", "fresh", "operation", "made", "rollout")),
            *((name, _compared(verdict.get(name))) for name in ("newest", "built", "backtest")),
        ]
    )


def _compared(figures: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if figures is None else {name: figures.get(name) for name in _COMPARED}
