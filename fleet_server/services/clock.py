"""The time of the server: epoch milliseconds in UTC, handed to services so that tests can turn it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], int]


def now_ms() -> int:
    """Return the time in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def iso(ms: int) -> str:
    """Return epoch milliseconds as ISO 8601 text in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_iso(text: str) -> int:
    """Return the epoch milliseconds of an ISO 8601 text; without a zone it is UTC.

    Raises:
        ValueError: the text is no time.
    """
    found = datetime.fromisoformat(text)
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
