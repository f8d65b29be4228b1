"""`edgeloop rollout`: bring a version to a group in phases, watch it, and steer it."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from fleet_server.cli.client import connect
from fleet_server.cli.explain import explain, read_policy
from fleet_server.cli.failures import CommandError, Exit
from fleet_server.cli.output import (
    Column,
    Output,
    field,
    print_fields,
    print_json,
    print_rows,
    print_table,
    say,
    show_time,
)
from fleet_server.cli.watch import watch_rollout

app = App(name="rollout", help="Bring a version to a group, in phases.")
app.command(explain)

SOAK = ("min_s", "max_s", "min_rows", "max_error_ratio")
SETTINGS = ("health_s", "window_s", "window_rows", "threshold")
Approval = Annotated[
    bool,
    Parameter(negative="", help="Let it begin only when another person has approved it: edgeloop rollout approve."),
]

Model = Annotated[str, Parameter(help="The model's name.")]
Version = Annotated[int, Parameter(help="The number of the version.")]
Group = Annotated[str, Parameter(help="The group of devices.")]

_ROLLOUTS = (
    Column("ID", field("id")),
    Column("MODEL", lambda row: f"{row.get('model')}@{row.get('version')}"),
    Column("GROUP", field("group")),
    Column("STATE", field("state"), "state"),
    Column("PHASE", lambda row: f"{(row.get('phase') or 0) + 1}/{len(row.get('phases', ()))}"),
    Column("DONE", lambda row: _done(row.get("phases", ())), "number"),
    Column("REASON", field("reason")),
    Column("UPDATED", lambda row: show_time(row.get("updated"))),
)
_PLAN = (
    Column("DEVICE", field("device")),
    Column("PHASE", lambda row: "–" if row.get("phase") is None else row["phase"] + 1, "number"),
    Column("VARIANT", field("variant")),
    Column("FROM", field("from_version"), "number"),
    Column("REASON", field("reason")),
)
_DEVICES = (
    Column("DEVICE", field("device")),
    Column("STATE", field("state"), "state"),
    Column("VARIANT", field("variant")),
    Column("FROM", field("from_version"), "number"),
    Column("REASON", field("reason")),
    Column("DETAIL", field("detail")),
)


def _done(phases: Any) -> str:
    return f"{sum(phase['succeeded'] for phase in phases)}/{sum(phase['total'] for phase in phases)}"


@app.command(name="list")
def list_rollouts(*, output: Output = "table") -> None:
    """List rollouts."""
    with connect() as client:
        rows = client.pages("/rollouts")
    empty = "No rollouts. Start one: edgeloop rollout start MODEL VERSION --group GROUP"
    print_rows(rows, _ROLLOUTS, output, empty=empty)


@app.command
def start(
    model: Model,
    version: Version,
    /,
    *,
    group: Group,
    policy: str | None = None,
    phase: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    max_failures: int | None = None,
    phase_soak: float | None = None,
    phase_timeout: float | None = None,
    soak: str | None = None,
    settings: str | None = None,
    approval: Approval = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    watch: Annotated[bool, Parameter(negative="")] = False,
    output: Output = "table",
) -> int:
    """Start a rollout, or show with --dry-run which devices would get what.

    Parameters
    ----------
    policy
        A file (TOML or JSON) with the whole policy, see docs/how-to/rollouts.md; the options here win over it.
    phase
        How far a phase goes: a percentage of the group, or a count; repeated for each phase (25%, then 100%).
    max_failures
        How many devices may fail before the rollout halts and its devices return to what they ran (0).
    phase_soak
        Seconds to wait after a phase before the next (0).
    phase_timeout
        Seconds that a phase may take before it pauses (3600).
    soak
        When a device counts as healthy: min_s=10,max_s=60,min_rows=20,max_error_ratio=0 (any of these).
    settings
        How often devices report, and the decision threshold: health_s=60,window_s=3600,window_rows=10000,threshold=0.5.
    dry_run
        Print the plan and change nothing.
    watch
        Follow it to its end (exit code 0 succeeded, 1 failed, 4 inconclusive).
    """
    said = {"max_failures": max_failures, "phase_soak_s": phase_soak, "phase_timeout_s": phase_timeout}
    document = _document(policy, said | {"phases": list(phase) or None})
    body = {"model": model, "version": version, "group": group, "policy": document, "approval": approval}
    for key, text, names in (("soak", soak, SOAK), ("settings", settings, SETTINGS)):
        body |= {} if text is None else {key: parse_numbers(text, names)}
    return _plan(body, output) if dry_run else _start(body, output, watch=watch)


def _document(file: str | None, said: dict[str, Any]) -> dict[str, Any]:
    """Return the policy of a file, with what the options say in its place."""
    return ({} if file is None else read_policy(file)) | {key: said[key] for key in said if said[key] is not None}


def _plan(body: dict[str, Any], output: str) -> int:
    with connect() as client:
        made = client.post("/rollouts", {**body, "dry_run": True})
    if output == "json":
        print_json(made)
    else:
        empty = f"The group {body['group']} has no devices: edgeloop group show {body['group']}"
        print_rows(made["devices"], _PLAN, output, empty=empty)
    return Exit.DONE


def _start(body: dict[str, Any], output: str, *, watch: bool) -> int:
    with connect() as client:
        made = client.post("/rollouts", {**body, "dry_run": False})
        if watch:
            return watch_rollout(client, made["id"], None, output)
    _print(made, output)
    say(f"Next: edgeloop rollout watch {made['id']}")
    return Exit.DONE


@app.command
def show(rollout: str, /, *, output: Output = "table") -> None:
    """Show a rollout: its phases, and each device with its state and reason."""
    with connect() as client:
        found = client.get(f"/rollouts/{rollout}")
    _print(found, output)


@app.command
def watch(rollout: str, /, *, timeout: float | None = None, output: Output = "table") -> int:
    """Follow a rollout to its end: exit code 0 succeeded, 1 failed, 4 inconclusive (paused, or no end in time).

    Parameters
    ----------
    rollout
        The rollout's id.
    timeout
        Seconds to follow it at most.
    """
    with connect() as client:
        return watch_rollout(client, rollout, timeout, output)


@app.command
def approve(rollout: str, /, *, output: Output = "table") -> None:
    """Approve a rollout that waits for it; it takes another person than who started it."""
    _steer(rollout, "approve", output)


@app.command
def pause(rollout: str, /, *, output: Output = "table") -> None:
    """Pause a rollout: devices under way finish, no other begins."""
    _steer(rollout, "pause", output)


@app.command
def resume(rollout: str, /, *, output: Output = "table") -> None:
    """Resume a paused rollout."""
    _steer(rollout, "resume", output)


@app.command
def abort(rollout: str, /, *, output: Output = "table") -> None:
    """Abort a rollout: its devices return to what they ran before."""
    _steer(rollout, "abort", output)


@app.command
def promote(rollout: str, /, *, output: Output = "table") -> None:
    """Go on to the next phase now, without waiting for the soak of this one."""
    _steer(rollout, "promote", output)


def _steer(rollout: str, verb: Literal["approve", "pause", "resume", "abort", "promote"], output: str) -> None:
    with connect() as client:
        client.post(f"/rollouts/{rollout}/{verb}")
        found = client.get(f"/rollouts/{rollout}")
    _print(found, output)


def parse_numbers(text: str, names: Sequence[str]) -> dict[str, float]:
    """Return the numbers of `name=1,other=2.5`; the server checks their sense.

    Raises:
        CommandError: a name that is not among `names`, or no number.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        try:
            if name not in names:
                raise ValueError(f"known are {', '.join(names)}")
            found[name] = int(value) if name.endswith("_rows") else float(value)
        except ValueError as error:
            what = f"{part.strip()!r} is no name=number that is taken here"
            raise CommandError(what, str(error), "edgeloop rollout start --help", Exit.USAGE) from error
    return found


def _print(found: dict[str, Any], output: str) -> None:
    if output == "json":
        print_json(found)
        return
    print_fields(
        [
            ("rollout", found["id"]),
            ("model", f"{found['model']}@{found['version']}"),
            ("group", found["group"]),
            ("state", found["state"]),
            ("reason", found.get("reason")),
            ("created", show_time(found.get("created"))),
            ("updated", show_time(found.get("updated"))),
        ]
    )
    for phase in found.get("phases", ()):
        title = f"phase {phase['index'] + 1}: {phase['state']}, {phase['succeeded']} of {phase['total']} succeeded"
        print_table(phase["devices"], _DEVICES, title=title)
