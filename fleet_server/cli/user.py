"""`edgeloop user`: people who sign in on the web page by a name and a password."""

import sys
from typing import Annotated

from cyclopts import App, Parameter

from fleet_server.cli.client import connect
from fleet_server.cli.failures import CommandError, Exit
from fleet_server.cli.output import Column, Output, field, print_json, print_rows, say, show_time
from fleet_server.core.permissions import Role

app = App(name="user", help="People who sign in on the web page.")
sessions_app = App(name="session", help="Signed-in browsers.")
app.command(sessions_app)
Stdin = Annotated[bool, Parameter(negative="", help="Read the password from the first line of stdin.")]

_USERS = (
    Column("NAME", field("name")),
    Column("ROLE", field("role")),
    Column("CREATED", lambda row: show_time(row.get("created"))),
    Column("CHANGED", lambda row: show_time(row.get("changed"))),
)
_SESSIONS = (
    Column("ID", field("id")),
    Column("USER", field("user")),
    Column("KEY", field("key")),
    Column("ADDRESS", field("address")),
    Column("CREATED", lambda row: show_time(row.get("created"))),
    Column("SEEN", lambda row: show_time(row.get("seen"))),
)


@app.command
def add(name: str, /, *, role: Role, password_stdin: Stdin = False, output: Output = "table") -> None:
    """Add a user; the password is asked for.

    Parameters
    ----------
    name
        The name to sign in by; no other user or key may have it.
    role
        What the user may do.
    """
    body = {"name": name, "role": role, "password": _ask(from_stdin=password_stdin)}
    with connect() as client:
        made = client.post("/users", body)
    if output == "json":
        print_json(made)
    else:
        say(f"Added {name}, a {made['role']}, who signs in on the web page.")


@app.command(name="list")
def list_users(*, output: Output = "table") -> None:
    """List users."""
    with connect() as client:
        rows = client.pages("/users")
    print_rows(rows, _USERS, output, empty="No users. Add one: edgeloop user add NAME --role viewer")


@app.command
def role(name: str, role: Role, /) -> None:
    """Give a user another role, and end all of the user's sessions."""
    with connect() as client:
        client.patch(f"/users/{name}", {"role": role})
    say(f"{name} is {role} now, and signs in again.")


@app.command
def passwd(name: str, /, *, password_stdin: Stdin = False) -> None:
    """Give a user another password, and end all of the user's sessions."""
    password = _ask(from_stdin=password_stdin)
    with connect() as client:
        client.patch(f"/users/{name}", {"password": password})
    say(f"{name} has another password now, and signs in again.")


@app.command
def remove(name: str, /) -> None:
    """Remove a user, and end all of the user's sessions."""
    with connect() as client:
        client.delete(f"/users/{name}")
    say(f"Removed {name}.")


@sessions_app.command(name="list")
def list_sessions(*, output: Output = "table") -> None:
    """List signed-in browsers."""
    with connect() as client:
        rows = client.pages("/sessions")
    print_rows(rows, _SESSIONS, output, empty="Nobody is signed in.")


@sessions_app.command
def end(session: str, /) -> None:
    """Sign a browser out."""
    with connect() as client:
        client.delete(f"/sessions/{session}")
    say(f"Ended {session}.")


def _ask(*, from_stdin: bool) -> str:
    """Return a password from the terminal, typed twice, or from stdin; never from an argument, which others can see."""
    from getpass import getpass

    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        raise CommandError(
            "there is no terminal to ask for the password",
            "stdin is not one",
            "give it on stdin, with --password-stdin",
            Exit.USAGE,
        )
    password = getpass("Password (12 characters at least): ")
    if getpass("Again: ") != password:
        raise CommandError("the two passwords differ", "", "edgeloop user --help", Exit.USAGE)
    return password
