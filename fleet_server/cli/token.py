"""`edgeloop device token`: the tokens by which boards enrol."""

from datetime import timedelta
from typing import Annotated, Any

from cyclopts import App, Parameter

from fleet_server.cli.client import connect
from fleet_server.cli.label import parse_label
from fleet_server.cli.output import Column, Output, field, print_fields, print_json, print_rows, say, show_time

tokens = App(name="token", help="Enrolment tokens: make one (the default), list, revoke.")

_TOKENS = (
    Column("ID", field("id")),
    Column("LABEL", field("label")),
    Column("USED", lambda row: f"{row.get('used', 0)}/{row.get('uses')}", "number"),
    Column("PROFILE", field("profile")),
    Column("LABELS", field("labels")),
    Column("EXPIRES", lambda row: show_time(row.get("expires"))),
)


@tokens.default
def make_token(
    *,
    label: str | None = None,
    uses: int = 1,
    ttl: int = 3600,
    profile: str | None = None,
    set_label: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    output: Output = "table",
) -> None:
    """Make an enrolment token and print the command to run on the device.

    Parameters
    ----------
    label
        A note that tells tokens apart.
    uses
        How many devices may enrol with it.
    ttl
        Seconds until it expires.
    profile
        The only profile that may enrol with it.
    set_label
        A label (key=value) that its devices get; may be repeated.
    """
    wanted: dict[str, Any] = {"label": label, "uses": uses, "ttl_s": ttl, "profile": profile}
    body = {key: value for key, value in wanted.items() if value is not None}
    if set_label:
        body["labels"] = dict(parse_label(text) for text in set_label)
    with connect() as client:
        made = client.post("/tokens", body)
        url = client.context.url
    if output == "json":
        print_json(made)
        return
    print_fields([("token", made["token"]), ("expires", show_time(made["expires"])), ("devices", uses)])
    say(f"It is shown once. It expires in {timedelta(seconds=ttl)}. On the device:")
    say(f"  edge-agent enroll --server {url} --token {made['token']} --id DEVICE")


@tokens.command(name="list")
def list_tokens(*, output: Output = "table") -> None:
    """List the tokens that still work (never their secrets)."""
    with connect() as client:
        rows = client.pages("/tokens")
    print_rows(rows, _TOKENS, output, empty="No tokens. Make one: edgeloop device token")


@tokens.command(name="revoke")
def revoke_token(token: str, /) -> None:
    """Revoke a token by its id."""
    with connect() as client:
        client.delete(f"/tokens/{token}")
    say(f"Revoked {token}.")
