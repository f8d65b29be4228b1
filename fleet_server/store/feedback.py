"""Labelled rows by their message's key (device, boot, number): a repeat replaces; capped by model, kept for some days.

House rules: what is dropped, for the cap or for its age, is counted by model in the same transaction. A device that is
removed takes its rows along.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.engine import Row

from edge_agent.contract import codec
from edge_agent.contract.feedback import FeedbackRows, LabelledRow
from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.schema_feedback import feedback, feedback_losses


@dataclass(frozen=True, slots=True)
class StoredFeedback:
    """One labelled row as a device sent it; `received` and `ts` (the device's clock) in epoch milliseconds."""

    device: str
    boot: int
    number: int
    model: str
    version: int
    digest: str
    ts: int
    received: int
    columns: tuple[str, ...]
    row: LabelledRow


@dataclass(frozen=True, slots=True)
class FeedbackTotals:
    """What is kept of a model, and what was dropped: over its cap (`capped`), or too old (`expired`)."""

    model: str
    rows: int
    devices: int
    oldest: int | None
    newest: int | None
    capped: int
    expired: int


def save_feedback(connection: Connection, message: FeedbackRows, received: int, kept_rows: int | None = None) -> None:
    """Save a message in the place of an earlier copy of itself, and keep the newest `kept_rows` of its model."""
    connection.execute(
        delete(feedback).where(
            feedback.c.device == message.device,
            feedback.c.boot == message.boot,
            feedback.c.number == message.number,
        )
    )
    head = {name: getattr(message, name) for name in ("device", "boot", "number", "model", "version", "digest", "ts")}
    body = {"columns": list(message.columns), "rows": codec.to_plain(message.rows), "row_count": len(message.rows)}
    connection.execute(insert(feedback).values(**head, **body, received=received))
    if kept_rows is not None:
        _keep_newest(connection, message.model, kept_rows)


def list_feedback(
    connection: Connection, model: str, since: int | None = None, limit: int | None = None
) -> tuple[StoredFeedback, ...]:
    """Return labelled rows of a model, newest message first: received at `since` or later, at most `limit`."""
    query = select(feedback).where(feedback.c.model == model).order_by(feedback.c.n.desc())
    if since is not None:
        query = query.where(feedback.c.received >= since)
    found: list[StoredFeedback] = []
    for message in connection.execute(query):
        found += _rows_of(message)
        if limit is not None and len(found) >= limit:
            return tuple(found[:limit])
    return tuple(found)


def page_feedback(
    connection: Connection, model: str, request: PageRequest, device: str | None = None, since: int | None = None
) -> Page[tuple[StoredFeedback, ...]]:
    """Return one page of messages, newest first, each as its rows; `limit` counts messages."""
    query = select(feedback).where(feedback.c.model == model)
    if device is not None:
        query = query.where(feedback.c.device == device)
    if since is not None:
        query = query.where(feedback.c.received >= since)
    return read_page(connection, query, feedback.c.n, request, _rows_of, newest_first=True)


def feedback_totals(connection: Connection) -> tuple[FeedbackTotals, ...]:
    """Return what is kept and what was dropped, by model."""
    kept = connection.execute(
        select(
            feedback.c.model,
            func.sum(feedback.c.row_count),
            func.count(feedback.c.device.distinct()),
            func.min(feedback.c.received),
            func.max(feedback.c.received),
        ).group_by(feedback.c.model)
    )
    rows = {model: (int(count), devices, oldest, newest) for model, count, devices, oldest, newest in kept}
    lost = {row.model: (row.capped, row.expired) for row in connection.execute(select(feedback_losses))}
    nothing = (0, 0, None, None)
    return tuple(
        FeedbackTotals(model, *rows.get(model, nothing), *lost.get(model, (0, 0)))
        for model in sorted(rows.keys() | lost.keys())
    )


def forget_feedback(connection: Connection, model: str, device: str | None = None, before: int | None = None) -> int:
    """Delete a model's rows, or one device's of them, or those received before a time; return how many rows."""
    chosen = [feedback.c.model == model]
    if device is not None:
        chosen.append(feedback.c.device == device)
    if before is not None:
        chosen.append(feedback.c.received < before)
    count = connection.execute(select(func.coalesce(func.sum(feedback.c.row_count), 0)).where(*chosen)).scalar_one()
    connection.execute(delete(feedback).where(*chosen))
    return int(count)


def expire_feedback(connection: Connection, before: int) -> None:
    """Delete the rows of all models that were received before a time, and count them."""
    old = feedback.c.received < before
    query = select(feedback.c.model, func.sum(feedback.c.row_count)).where(old).group_by(feedback.c.model)
    for model, count in connection.execute(query).fetchall():
        _count_lost(connection, model, {"expired": int(count)})
    connection.execute(delete(feedback).where(old))


def _keep_newest(connection: Connection, model: str, kept_rows: int) -> None:
    mine = feedback.c.model == model
    total = int(connection.execute(select(func.coalesce(func.sum(feedback.c.row_count), 0)).where(mine)).scalar_one())
    if total <= kept_rows:
        return
    doomed, dropped = [], 0
    for n, count in connection.execute(select(feedback.c.n, feedback.c.row_count).where(mine).order_by(feedback.c.n)):
        if total - dropped <= kept_rows:
            break
        doomed.append(n)
        dropped += count
    connection.execute(delete(feedback).where(mine, feedback.c.n <= doomed[-1]))
    _count_lost(connection, model, {"capped": dropped})


def _count_lost(connection: Connection, model: str, more: Mapping[str, int]) -> None:
    added = {name: feedback_losses.c[name] + count for name, count in more.items()}
    done = connection.execute(update(feedback_losses).where(feedback_losses.c.model == model).values(added))
    if done.rowcount == 0:
        connection.execute(insert(feedback_losses).values({"model": model, "capped": 0, "expired": 0, **more}))


def _rows_of(message: Row[Any]) -> tuple[StoredFeedback, ...]:
    plain: Sequence[Any] = message.rows
    return tuple(
        StoredFeedback(
            message.device,
            message.boot,
            message.number,
            message.model,
            message.version,
            message.digest,
            message.ts,
            message.received,
            tuple(message.columns),
            codec.from_plain(LabelledRow, item),
        )
        for item in plain
    )
