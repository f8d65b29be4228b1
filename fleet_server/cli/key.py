"""`edgeloop key`: API keys, each with a role, and where it is wanted with limits and an end."""

from typing import Annotated

from cyclopts import App, Parameter

from fleet_server.cli.client import connect
from fleet_server.cli.output import (
    Column,
    Output,
    Row,
    field,
    print_json,
    print_rows,
    say,
    show_time,
    stdout_console,
)
from fleet_server.core.permissions import Role

app = App(name="key", help="API keys: a role, limits, an end.")
_DAY_S = 24 * 3600


def _limits(row: Row) -> list[str]:
    return [f"{kind}={','.join(row[kind])}" for kind in ("groups", "models") if row.get(kind) is not None]


def _time(name: str) -> Column:
    return Column(name.upper(), lambda row: show_time(row.get(name)))


_KEYS = (
    Column("ID", field("id")),
    Column("NAME", field("name")),
    Column("ROLE", field("role")),
    Column("LIMITS", _limits),
    _time("created"),
    _time("expires"),
    _time("used"),
    _time("revoked"),
)


@app.command
def create(
    name: str,
    /,
    *,
    role: Role,
    group: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    model: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    days: int | None = None,
    output: Output = "table",
) -> None:
    """Make a key and print its text, which is shown this once.

    Parameters
    ----------
    name
        What the audit log calls it; no other key or user may have it.
    role
        What it may do.
    group
        Limit its changes to rollouts of this group; may be repeated.
    model
        Limit its changes to this model; may be repeated.
    days
        When it ends, in days from now; without an end where it is left out.
    """
    body = {
        "name": name,
        "role": role,
        "groups": list(group) or None,
        "models": list(model) or None,
        "ttl_s": None if days is None else days * _DAY_S,
    }
    with connect() as client:
        made = client.post("/keys", body)
    if output == "json":
        print_json(made)
        return
    stdout_console().print(made["key"], markup=False, soft_wrap=True)
    say(f"The key of {name} is shown this once. To take it away: edgeloop key revoke {made['id']}")


@app.command(name="list")
def list_keys(*, output: Output = "table") -> None:
    """List keys, the revoked ones among them."""
    with connect() as client:
        rows = client.pages("/keys")
    print_rows(rows, _KEYS, output, empty="No keys. Make one: edgeloop key create NAME --role viewer")


@app.command
def revoke(key: str, /) -> None:
    """Revoke a key, and end the sessions that it opened.

    Parameters
    ----------
    key
        Its id, as `edgeloop key list` shows it.
    """
    with connect() as client:
        client.delete(f"/keys/{key}")
    say(f"Revoked {key}.")
