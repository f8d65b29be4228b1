"""Fresh rows for a training: what devices were told was true, as a CSV file, the oldest first.

House rules: rows of devices that do not take part any more are left out, and so are rows with other columns than the
model's; how many is said. A device's clock orders its rows, but none is newer than when it was received. Rows of
devices that were answered at about the same time stand side by side, so that what they share is seen to be shared.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from fleet_server.core.devices import Standing
from fleet_server.store import devices
from fleet_server.store.feedback import StoredFeedback, feedback_totals, list_feedback


@dataclass(frozen=True, slots=True)
class FreshRows:
    """The file, and what is known of it: its SHA-256, rows, devices, span (epoch ms), and rows that were left out."""

    csv: bytes
    sha256: str
    rows: int
    devices: int
    oldest: int
    newest: int
    left_out: int

    def plain(self) -> dict[str, Any]:
        """Return what is known of the file as JSON's own types."""
        return {name: value for name, value in asdict(self).items() if name != "csv"}


def count_fresh(connection: Connection, model: str) -> int:
    """Return how many labelled rows of a model are kept."""
    return next((item.rows for item in feedback_totals(connection) if item.model == model), 0)


def gather_rows(connection: Connection, model: str, columns: Sequence[str], target: str, most: int) -> FreshRows:
    """Return the newest labelled rows of a model, at most `most`, with these columns and the target."""
    active = set(devices.list_standing(connection, Standing.ACTIVE))
    found = list_feedback(connection, model, limit=most)
    fitting = [item for item in found if item.device in active and tuple(item.columns) == tuple(columns)]
    ordered = sorted(place_in_time(fitting), key=lambda placed: (placed[0], placed[1].device))
    text = _write((item for _, item in ordered), columns, target)
    times = [int(at) for at, _ in ordered] or [0]
    sources = {item.device for item in fitting}
    digest = hashlib.sha256(text).hexdigest()
    return FreshRows(text, digest, len(ordered), len(sources), times[0], times[-1], len(found) - len(ordered))


def place_in_time(rows: Iterable[StoredFeedback]) -> list[tuple[float, StoredFeedback]]:
    """Return rows with the time (epoch ms) at which each is taken to have been answered.

    A message says when its window was closed. Its rows lie evenly between the device's message before and that time;
    those of a first message over as long as the device's next took, or where there is none, at its end.
    """
    messages: dict[str, dict[tuple[int, int], list[StoredFeedback]]] = {}
    for item in rows:
        messages.setdefault(item.device, {}).setdefault((item.boot, item.number), []).append(item)
    placed = []
    for mine in messages.values():
        ends = sorted((min(part[0].ts, part[0].received), key) for key, part in mine.items())
        first = 2 * ends[0][0] - ends[1][0] if len(ends) > 1 else ends[0][0]
        starts = [first, *(end for end, _ in ends)]
        for start, (end, key) in zip(starts, ends, strict=False):
            part = mine[key]
            placed += [(start + (end - start) * (place + 1) / len(part), item) for place, item in enumerate(part)]
    return placed


def _write(rows: Iterable[StoredFeedback], columns: Sequence[str], target: str) -> bytes:
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([*columns, target])
    for item in rows:
        inputs = ["" if value is None else repr(float(value)) for value in item.row.inputs]
        lines.writerow([*inputs, _label(item.row.truth)])
    return text.getvalue().encode()


def _label(truth: object) -> str:
    """Return a label as the trainer reads it: JSON's own form of numbers and booleans."""
    if isinstance(truth, bool):
        return "true" if truth else "false"
    if isinstance(truth, tuple | list):
        return str(truth[0]) if truth else ""
    return repr(truth) if isinstance(truth, float) and not truth.is_integer() else str(truth).removesuffix(".0")
