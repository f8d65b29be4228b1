"""`edgeloop signin`: a new one-time link to the web page."""

from fleet_server.cli.client import connect
from fleet_server.cli.output import Output, print_json, say, show_time, stdout_console


def signin(*, output: Output = "table") -> None:
    """Make a one-time link that signs a browser in to the web page."""
    with connect() as client:
        made = client.post("/signin-codes")
        url = made.get("url") or f"{client.context.url}/signin?code={made['code']}"
    if output == "json":
        print_json(made)
        return
    stdout_console().print(url, markup=False, soft_wrap=True)
    say(f"It works once, until {show_time(made.get('expires'))}.")
