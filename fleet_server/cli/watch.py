"""A rollout followed live on the terminal, until it ends or cannot be told."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        case "unapproved":
            return Exit.INCONCLUSIVE
        case _:
            return None


def watch_rollout(client: FleetClient, rollout: str, timeout_s: float | None, output: str) -> int:
    """Show a rollout until it ends; `timeout_s` seconds at most."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with _showing() as update:
        while True:
            found = client.get(f"/rollouts/{rollout}")
            update(found)
            end = judge_end(found)
            if end is not None or (deadline is not None and time.monotonic() >= deadline):
                break
            threading.Event().wait(POLL_S)
    if output == "json":
        print_json(found)
    return _conclude(found, end)


@contextmanager
def _showing() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield what shows a rollout as it is now: drawn in place on a terminal, a line for each change elsewhere."""
    from rich.live import Live

    console = stderr_console()
    if not console.is_terminal:
        told: dict[str, str] = {}
        yield lambda found: _tell_changes(found, told)
        return
    with Live(console=console, auto_refresh=False) as live:
        yield lambda found: live.update(_view(found), refresh=True)


def _tell_changes(found: dict[str, Any], told: dict[str, str]) -> None:
    for phase in found["phases"]:
        for device in phase["devices"]:
            why = " · ".join(str(device[key]) for key in ("reason", "detail") if device.get(key))
            line = f"phase {phase['index'] + 1}  {device['device']}  {device['state']}  {why}".rstrip()
            if told.get(device["device"]) != line:
                told[device["device"]] = line
                say(line)


def _conclude(found: dict[str, Any], end: Exit | None) -> int:
    name = f"{found['model']}@{found['version']} on {found['group']}"
    reason = f": {found['reason']}" if found.get("reason") else ""
    match end:
        case Exit.DONE:
            say(f"{name} succeeded on {_sum(found, 'succeeded')} of {_sum(found, 'total')} devices.")
        case Exit.FAILED:
            say(f"{name} {found['state']}{reason}. Its devices: edgeloop rollout show {found['id']}")
        case Exit.INCONCLUSIVE if found["state"] == "unapproved":
            say(f"{name} waits for another person: edgeloop rollout approve {found['id']}")
        case Exit.INCONCLUSIVE:
            say(f"{name} is paused{reason}. Go on: edgeloop rollout resume {found['id']}")
        case _:
            say(f"{name} is {found['state']} and not at its end. Go on: edgeloop rollout watch {found['id']}")
            return Exit.INCONCLUSIVE
    return end


def _sum(found: dict[str, Any], key: str) -> int:
    return sum(int(phase[key]) for phase in found["phases"])


def _view(found: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = Text.assemble(
        (f"{found['model']}@{found['version']}", "bold"), f" → {found['group']}  ", styled(found["state"])
    )
    if found.get("reason"):
        head.append(f"  {clean(str(found['reason']))}")
    grid = Table.grid(padding=(0, 2))
    for _ in range(4):
        grid.add_column(overflow="fold")
    for phase in found["phases"]:
        total = int(phase["total"])
        grid.add_row(
            Text(f"phase {phase['index'] + 1}", style="bold"),
            Text(bar(phase["succeeded"] / total if total else 1.0), style=STYLES.get(phase["state"], "")),
            styled(phase["state"]),
            Text(f"{phase['succeeded']} of {total}"),
        )
        for device in phase["devices"]:
            why = " · ".join(clean(str(device[key])) for key in ("reason", "detail") if device.get(key))
            name = Text(f"  {device['device']}")
            grid.add_row(name, Text(show(device.get("variant"))), styled(device["state"]), Text(why))
    return Group(head, grid)
