"""A rollout followed live on the terminal, until it ends or cannot be told."""

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from fleet_server.cli.client import FleetClient
from fleet_server.cli.failures import Exit
from fleet_server.cli.output import STYLES, bar, clean, print_json, say, show, stderr_console, styled

if TYPE_CHECKING:
    from rich.console import RenderableType

POLL_S = 1.0
MOVING = frozenset({"offered", "returning"})


def judge_end(rollout: dict[str, Any]) -> Exit | None:
    """Return the exit code of a rollout that is over, or None while it moves.

    A halted or aborted one is over when none of its devices is still returning, so that what is shown last holds.
    """
    moving = any(device["state"] in MOVING for phase in rollout["phases"] for device in phase["devices"])
    match rollout["state"]:
        case "succeeded":
            return Exit.DONE
        case "halted" | "aborted":
            return None if moving else Exit.FAILED
        case "paused":
            return None if moving else Exit.INCONCLUSIVE
        case _:
            return None


def watch_rollout(client: FleetClient, rollout: str, timeout_s: float | None, output: str) -> int:
    """Show a rollout until it ends; `timeout_s` seconds at most."""
    from rich.live import Live

    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    found = client.get(f"/rollouts/{rollout}")
    console = stderr_console()
    with Live(_view(found), console=console, auto_refresh=False, transient=output == "json") as live:
        while (end := judge_end(found)) is None and (deadline is None or time.monotonic() < deadline):
            threading.Event().wait(POLL_S)
            found = client.get(f"/rollouts/{rollout}")
            live.update(_view(found), refresh=True)
    if output == "json":
        print_json(found)
    return _conclude(found, end)


def _conclude(found: dict[str, Any], end: Exit | None) -> int:
    name = f"{found['model']}@{found['version']} on {found['group']}"
    reason = f": {found['reason']}" if found.get("reason") else ""
    match end:
        case Exit.DONE:
            say(f"{name} succeeded on {_sum(found, 'succeeded')} of {_sum(found, 'total')} devices.")
        case Exit.FAILED:
            say(f"{name} {found['state']}{reason}. Its devices: edgeloop rollout show {found['id']}")
        case Exit.INCONCLUSIVE:
            say(f"{name} is paused{reason}. Go on: edgeloop rollout resume {found['id']}")
        case _:
            say(f"{name} is {found['state']} and not at its end. Go on: edgeloop rollout watch {found['id']}")
            return Exit.INCONCLUSIVE
    sys.stderr.flush()
    return end


def _sum(found: dict[str, Any], key: str) -> int:
    return sum(int(phase[key]) for phase in found["phases"])


def _view(found: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    head = Text.assemble(
        (f"{found['model']}@{found['version']}", "bold"), f" → {found['group']}  ", styled(found["state"])
    )
    if found.get("reason"):
        head.append(f"  {clean(str(found['reason']))}")
    return Group(head, *(_phase(phase) for phase in found["phases"]))


def _phase(phase: dict[str, Any]) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for _ in range(4):
        grid.add_column(overflow="fold")
    total = int(phase["total"])
    share = phase["succeeded"] / total if total else 1.0
    grid.add_row(
        Text(f"phase {phase['index'] + 1}", style="bold"),
        Text(bar(share), style=STYLES.get(phase["state"], "")),
        Text(f"{phase['succeeded']}/{total}"),
        styled(phase["state"]),
    )
    for device in phase["devices"]:
        why = " · ".join(clean(str(device[key])) for key in ("reason", "detail") if device.get(key))
        grid.add_row("", f"{device['device']}  {show(device.get('variant'))}", styled(device["state"]), Text(why))
    return grid
