"""`edgeloop group`: label queries over devices, by name."""

from typing import Annotated

from cyclopts import App, Parameter

from fleet_server.cli.client import connect
from fleet_server.cli.output import Column, Output, Row, field, print_fields, print_json, print_rows, say, show_time

app = App(name="group", help="Groups: label queries over devices.")

_GROUPS = (
    Column("GROUP", field("name")),
    Column("QUERY", lambda row: row.get("query") or "(all devices)"),
    Column("DEVICES", field("devices"), "number"),
    Column("TARGETS", lambda row: targets_text(row)),
)


def targets_text(row: Row) -> list[str]:
    """Return the versions that a group has come to, as model@version."""
    return [f"{model}@{version}" for model, version in (row.get("targets") or {}).items()]


@app.command(name="list")
def list_groups(*, output: Output = "table") -> None:
    """List groups."""
    with connect() as client:
        rows = client.pages("/groups")
    print_rows(rows, _GROUPS, output, empty="No groups. Make one: edgeloop group create all")


@app.command
def create(
    name: str,
    query: str = "",
    /,
    *,
    accept_auto: Annotated[bool, Parameter(negative="")] = False,
    output: Output = "table",
) -> None:
    """Create a group.

    Parameters
    ----------
    name
        Its name.
    query
        Comma-joined key=value, key!=value or key, over labels and id, profile, arch; all devices where left out.
    accept_auto
        Let versions that automatic retraining made, and signed by its own key, be rolled out to it.
    """
    body = {"name": name, "query": query} | ({"accept_auto": True} if accept_auto else {})
    with connect() as client:
        made = client.post("/groups", body)
    if output == "json":
        print_json(made)
        return
    _print(made)
    say(f"Next: edgeloop rollout start MODEL VERSION --group {name} --dry-run")


@app.command
def show(name: str, /, *, output: Output = "table") -> None:
    """Show a group and its devices."""
    with connect() as client:
        found = client.get(f"/groups/{name}")
    if output == "json":
        print_json(found)
    else:
        _print(found)


@app.command
def delete(name: str, /) -> None:
    """Delete a group; its devices keep what they run."""
    with connect() as client:
        client.delete(f"/groups/{name}")
    say(f"Deleted {name}.")


def _print(found: Row) -> None:
    print_fields(
        [
            ("group", found["name"]),
            ("query", found["query"] or "(all devices)"),
            ("created", show_time(found.get("created"))),
            ("automatic versions", "accepted" if found.get("accept_auto") else "refused"),
            ("targets", targets_text(found)),
            ("devices", found.get("members")),
        ]
    )
