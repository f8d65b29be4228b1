"""Pages of a list: an opaque cursor that names the last row seen, so that a page is the same cost at any depth."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, Connection, Select

T = TypeVar("T")
MAX_LIMIT = 1000


class CursorError(ValueError):
    """A cursor is none that this server gave out."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which part of a list is wanted: after the cursor, at most `limit` rows."""

    cursor: str | None = None
    limit: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_LIMIT:
            raise CursorError(f"limit is 1 to {MAX_LIMIT}")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One part of a list, and the cursor of the next part where there is one."""

    items: tuple[T, ...]
    next: str | None


def encode_cursor(key: str | int) -> str:
    """Return the cursor that stands for the row with this key."""
    kind = "i" if isinstance(key, int) else "s"
    return base64.urlsafe_b64encode(f"{kind}{key}".encode()).decode().rstrip("=")


def decode_cursor(text: str) -> str | int:
    """Return the key of a cursor.

    Raises:
        CursorError: it is none that this server gave out.
    """
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
        if plain[:1] == "i":
            return int(plain[1:])
        if plain[:1] == "s":
            return plain[1:]
    except (binascii.Error, ValueError) as error:
        raise CursorError("this cursor was not given out by this server") from error
    raise CursorError("this cursor was not given out by this server")


def read_page(
    connection: Connection,
    query: Select[Any],
    key: Column[Any],
    request: PageRequest,
    make: Callable[[Any], T],
    *,
    newest_first: bool = False,
) -> Page[T]:
    """Read one page of a query in the order of its unique column `key`.

    Raises:
        CursorError: the cursor does not fit this list.
    """
    if request.cursor is not None:
        after = decode_cursor(request.cursor)
        if isinstance(after, int) != (key.type.python_type is int):
            raise CursorError("this cursor belongs to another list")
        query = query.where(key < after if newest_first else key > after)
    rows = connection.execute(
        query.order_by(key.desc() if newest_first else key.asc()).limit(request.limit + 1)
    ).fetchall()
    shown = rows[: request.limit]
    more = encode_cursor(shown[-1]._mapping[key.name]) if len(rows) > request.limit else None  # noqa: SLF001 - SQLAlchemy's public name
    return Page(tuple(make(row) for row in shown), more)
