"""Health and windows."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from fleet_server.api.answers import Answer, ListOf, Time
from fleet_server.api.askers import Reader
from fleet_server.api.context import Context, Paging
from fleet_server.services.clock import iso, parse_iso
from fleet_server.services.errors import InvalidError
from fleet_server.store.health import HealthFilter
from fleet_server.store.windows import StoredWindow, WindowFilter

router = APIRouter(prefix="/api/v1", tags=["telemetry"])
Name = Annotated[str | None, Query(max_length=64)]
Since = Annotated[str | None, Query(max_length=40, description="ISO 8601, when the server received it")]
VersionNumber = Annotated[int | None, Query(ge=1, le=2**31 - 1)]


class WindowShown(Answer):
    """A window of one device, with its counts."""

    device: str
    model: str
    version: int
    boot: int
    number: int
    digest: str
    started: Time
    ended: Time
    received: Time
    rows: int
    errors: int
    rejected: int
    counts: dict[str, Any]


def read_since(text: str | None, name: str = "since") -> int | None:
    """Return a time in epoch milliseconds, None where none was given.

    Raises:
        InvalidError: no ISO 8601 time; the message says it of the parameter `name`.
    """
    try:
        return None if text is None else parse_iso(text)
    except (ValueError, OverflowError) as error:
        raise InvalidError(f"{name}: {text!r} is no ISO 8601 time") from error


@router.get("/health")
def list_health(
    context: Context, paging: Paging, _asker: Reader, device: Name = None, model: Name = None, since: Since = None
) -> ListOf[dict[str, Any]]:
    """List health objects, newest first."""
    page = context.telemetry.list_health(HealthFilter(device, model, read_since(since)), paging)
    items = [{"device": item.device, "received": iso(item.received), **item.body} for item in page.items]
    return ListOf(items=items, next=page.next)


@router.get("/windows")
def list_windows(
    context: Context,
    paging: Paging,
    _asker: Reader,
    device: Name = None,
    model: Name = None,
    version: VersionNumber = None,
    since: Since = None,
) -> ListOf[WindowShown]:
    """List windows, newest first."""
    page = context.telemetry.list_windows(WindowFilter(device, model, version, read_since(since)), paging)
    return ListOf(items=[_window(item) for item in page.items], next=page.next)


def _window(stored: StoredWindow) -> WindowShown:
    counts = stored.read_counts()
    sums = {"rows": counts.rows, "errors": counts.errors, "rejected": counts.rejected}
    plain = {name: getattr(stored, name) for name in WindowShown.model_fields if name not in sums}
    return WindowShown.model_validate(plain | sums)
