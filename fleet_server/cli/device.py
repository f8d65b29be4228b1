"""`edgeloop device`: the enrolled boards, their labels, and whether they take part."""

from typing import Annotated, Any

from cyclopts import App, Parameter

from fleet_server.cli.client import connect
from fleet_server.cli.failures import CommandError, Exit
from fleet_server.cli.label import parse_label
from fleet_server.cli.output import (
    Column,
    Output,
    Row,
    field,
    print_fields,
    print_json,
    print_rows,
    print_table,
    say,
    show_ratio,
    show_time,
)
from fleet_server.cli.token import tokens

app = App(name="device", help="Devices and enrolment tokens.")
app.command(tokens)


def running_text(row: Row) -> list[str]:
    """Return what a device says it runs, as model@version (variant)."""
    return [f"{item['model']}@{item['version']} ({item['variant']})" for item in row.get("running") or ()]


def progress_text(row: Row) -> str:
    """Return the update under way as its state and chunks, or how the last one ended."""
    if progress := row.get("progress"):
        total = progress.get("chunks_total") or 0
        chunks = f" {progress.get('chunks_done', 0)}/{total}" if total else ""
        return f"{progress['state']}{chunks}"
    outcome = row.get("outcome") or {}
    result = str(outcome.get("result") or "")
    return result if result in ("", "succeeded") else f"{result}: {outcome.get('reason')}"


_DEVICES = (
    Column("DEVICE", field("id")),
    Column("PROFILE", lambda row: f"{row.get('profile')}{' (simulated)' if row.get('simulated') else ''}"),
    Column("STANDING", field("standing"), "state"),
    Column("PRESENCE", field("presence"), "state"),
    Column("IN SYNC", field("in_sync")),
    Column("RUNNING", running_text),
    Column("UPDATE", progress_text, "state"),
    Column("LABELS", field("labels")),
    Column("LAST SEEN", lambda row: show_time(row.get("last_seen"))),
)


@app.command(name="list")
def list_devices(*, group: str | None = None, find: str | None = None, output: Output = "table") -> None:
    """List devices.

    Parameters
    ----------
    group
        Only those of a group.
    find
        Only those whose id or profile contains this.
    """
    with connect() as client:
        rows = client.pages("/devices", group=group, q=find)
    empty = "No devices. Make an enrolment token: edgeloop device token"
    print_rows(rows, _DEVICES, output, empty=empty)


@app.command
def show(device: str, /, *, output: Output = "table") -> None:
    """Show one device: what it is, what it should run, what it runs."""
    with connect() as client:
        found = client.get(f"/devices/{device}")
    if output == "json":
        print_json(found)
        return
    _print_device(found)


@app.command
def label(device: str, /, *labels: str, output: Output = "table") -> None:
    """Set labels (key=value) or remove them (key-).

    Parameters
    ----------
    device
        The device's id.
    labels
        Pairs to set as key=value, and keys to remove as key-.
    """
    changes = {key: value for text in labels for key, value in [parse_label(text)]}
    if not changes:
        raise CommandError(
            "no label given", "labels are key=value, or key- to remove", "edgeloop device label --help", Exit.USAGE
        )
    with connect() as client:
        found = client.patch(f"/devices/{device}", {"labels": changes})
    if output == "json":
        print_json(found)
    else:
        print_fields([("device", found["id"]), ("labels", found["labels"])])


@app.command
def remove(device: str, /, *, yes: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Remove a device: its credentials stop working, its history stays.

    Parameters
    ----------
    device
        The device's id.
    yes
        Do it: without this, nothing is removed.
    """
    if not yes:
        raise CommandError(
            f"{device} was not removed",
            "its credentials would stop working, and it would have to enrol again",
            f"edgeloop device remove {device} --yes",
            Exit.USAGE,
        )
    with connect() as client:
        client.delete(f"/devices/{device}")
    say(f"Removed {device}.")


@app.command
def approve(device: str, /) -> None:
    """Let a device in that has enrolled and waits (`edgeloop up --approve-devices`)."""
    with connect() as client:
        client.post(f"/devices/{device}/approve", {})
    say(f"Approved {device}.")


@app.command
def quarantine(device: str, /, *, reason: str = "") -> None:
    """Have a device take no part: mute at the broker, its reports no evidence, in no rollout.

    Parameters
    ----------
    device
        The device's id.
    reason
        Why, for the audit log.
    """
    with connect() as client:
        client.post(f"/devices/{device}/quarantine", {"reason": reason})
    say(f"Quarantined {device}. To let it in again: enrol it anew with --force, then: edgeloop device release {device}")


@app.command
def release(device: str, /) -> None:
    """Let a quarantined device in again, after it was enrolled anew with other keys."""
    with connect() as client:
        client.post(f"/devices/{device}/release", {})
    say(f"Released {device}.")


@app.command
def revoke(device: str, /, *, yes: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Revoke a device's keys and certificates: it is out at once, and may be enrolled anew.

    Parameters
    ----------
    device
        The device's id.
    yes
        Do it: without this, nothing is revoked.
    """
    if not yes:
        raise CommandError(
            f"{device} was not revoked",
            "it would be out at once, and would have to enrol again with new keys",
            f"edgeloop device revoke {device} --yes",
            Exit.USAGE,
        )
    with connect() as client:
        client.post(f"/devices/{device}/revoke", {})
    say(f"Revoked {device}.")


def _standing_text(found: Row) -> str:
    reason = found.get("standing_reason")
    return f"{found.get('standing')} ({reason})" if reason else str(found.get("standing"))


def _print_device(found: dict[str, Any]) -> None:
    can = found.get("capabilities") or {}
    print_fields(
        [
            ("device", found["id"]),
            ("profile", f"{found['profile']}{' (simulated)' if found.get('simulated') else ''}"),
            ("standing", _standing_text(found)),
            ("presence", found.get("presence")),
            ("in sync", found.get("in_sync")),
            ("last seen", show_time(found.get("last_seen"))),
            ("enrolled", show_time(found.get("enrolled"))),
            ("labels", found.get("labels")),
            ("board", f"{can['arch']}, {can['cores']} cores, {can['memory_mb']:.0f} MiB" if can else None),
            ("free", f"{can['memory_free_mb']:.0f} MiB memory, {can['disk_free_mb']:.0f} MiB disk" if can else None),
            ("runtimes", can.get("runtimes")),
            ("agent", can.get("agent")),
            ("desired", [f"{row['model']}@{row['version']} ({row['variant']})" for row in found.get("desired") or ()]),
            ("running", running_text(found)),
            ("update", progress_text(found)),
            ("detail", (found.get("outcome") or {}).get("detail")),
        ]
    )
    if health := found.get("health"):
        columns = (
            Column("MODEL", field("model")),
            Column("ROWS", field("infer_n"), "number"),
            Column("ERRORS", field("err_n"), "number"),
            Column("REJECTED", field("rejected_n"), "number"),
            Column("P50 ms", field("infer_ms_p50"), "number"),
            Column("P99 ms", field("infer_ms_p99"), "number"),
            Column("OUT OF RANGE", lambda row: show_ratio(row.get("out_of_range_ratio")), "number"),
        )
        print_table([{**row, "model": model} for model, row in health.items()], columns)
