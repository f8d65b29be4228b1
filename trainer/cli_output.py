"""What the `trainer`'s smaller commands print, and the time at which they do it."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime


def now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; what is long is folded on a terminal and in full elsewhere."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    Console(highlight=False, width=None if sys.stdout.isatty() else 140).print(table)


def print_json(value: object) -> None:
    """Print one JSON object."""
    import json

    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
