"""From a row to a frozen dataclass, by the names of the columns."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Row

T = TypeVar("T")


def reader(cls: type[T], *leave_out: str) -> Callable[[Row[Any]], T]:
    """Return the function that makes a `cls` of a row whose columns are its fields, `leave_out` aside."""

    def read(row: Row[Any]) -> T:
        return cls(**{name: value for name, value in row._mapping.items() if name not in leave_out})  # noqa: SLF001 - SQLAlchemy's public name

    return read
