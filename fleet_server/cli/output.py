"""How answers look: tables for people, JSON for programs, and numbers and times in the same form everywhere."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Row = Mapping[str, Any]
Output = Annotated[Literal["table", "json"], Parameter(name=["--output", "-o"], help="How to print the answer.")]

PLAIN_WIDTH = 180
STYLES = {
    "succeeded": "green",
    "ready": "green",
    "done": "green",
    "running": "cyan",
    "offered": "cyan",
    "queued": "cyan",
    "waiting": "bright_black",
    "pending": "bright_black",
    "skipped": "bright_black",
    "stopped": "yellow",
    "paused": "yellow",
    "unapproved": "yellow",
    "returning": "yellow",
    "returned": "yellow",
    "refused": "yellow",
    "halted": "red",
    "failed": "red",
    "lost": "red",
    "drift": "red",
    "watch": "yellow",
    "ok": "green",
    "aborted": "magenta",
    "cancelled": "magenta",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its title, how a row's text is found, and whether it is a number or a state."""

    title: str
    text: Callable[[Row], Any]
    kind: Literal["text", "number", "state"] = "text"


def stdout_console() -> "Console":
    """Return a console for results; outside of a terminal it is wide, so that nothing is cut for want of columns."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    return Console(file=sys.stdout, width=width, highlight=False, emoji=False)


def stderr_console() -> "Console":
    """Return a console for progress and errors."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, emoji=False, soft_wrap=True)


def say(message: str) -> None:
    """Tell a person what happens, on stderr."""
    stderr_console().print(clean(message), markup=False)


def print_json(value: Any) -> None:
    """Print JSON on stdout, for programs."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_rows(rows: Sequence[Row], columns: Sequence[Column], output: str, *, empty: str) -> None:
    """Print a list as a table or as JSON; `empty` says what a person does when there is nothing yet."""
    if output == "json":
        print_json(list(rows))
    elif rows:
        print_table(rows, columns)
    else:
        say(empty)


def print_table(rows: Iterable[Row], columns: Sequence[Column], title: str | None = None) -> None:
    """Print a table on stdout."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.title, justify="right" if column.kind == "number" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(column, row) for column in columns))
    stdout_console().print(table)


def print_fields(pairs: Iterable[tuple[str, Any]]) -> None:
    """Print one thing as lines of name and value; what is unknown is left out."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", [], {}):
            grid.add_row(name, styled(value))
    stdout_console().print(grid)


def styled(value: Any) -> "Text":
    """Return a value as text, coloured where it is the name of a state."""
    from rich.text import Text

    text = clean(show(value))
    return Text(text, style=STYLES.get(text, ""))


def _cell(column: Column, row: Row) -> "Text":
    from rich.text import Text

    text = clean(show(column.text(row)))
    return Text(text, style=STYLES.get(text, "") if column.kind == "state" else "")


def clean(text: str) -> str:
    """Return text without control characters: a device's words must not steer the operator's terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def show(value: Any) -> str:
    """Return a value as short text: nothing as a dash, truth as yes or no, pairs as k=v, floats in four digits."""
    match value:
        case None | "":
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case Mapping():
            return ",".join(f"{key}={show(item)}" for key, item in value.items()) or "–"
        case list() | tuple():
            return ", ".join(show(item) for item in value) or "–"
        case _:
            return str(value)


def field(*path: str) -> Callable[[Row], Any]:
    """Return a function that reads a value at a path of names, or None where a part of it is absent."""

    def read(row: Row) -> Any:
        value: Any = row
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    return read


def show_size(size_bytes: float | None) -> str:
    """Return bytes in B, kB or MB (powers of 1000)."""
    if size_bytes is None:
        return "–"
    if size_bytes < 1000:
        return f"{size_bytes:.0f} B"
    return f"{size_bytes / 1e3:.1f} kB" if size_bytes < 1e6 else f"{size_bytes / 1e6:.2f} MB"


def show_ratio(value: float | None) -> str:
    """Return a ratio in percent."""
    return "–" if value is None else f"{value * 100:.2f} %"


def show_time(text: Any) -> str:
    """Return an ISO 8601 time, or epoch milliseconds, as UTC to the second; anything else as it stands."""
    try:
        if isinstance(text, (int, float)):
            moment = datetime.fromtimestamp(text / 1000, tz=UTC)
        else:
            moment = datetime.fromisoformat(str(text)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return show(text)
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")


def bar(share: float, width: int = 20) -> str:
    """Return a share within 0..1 as a bar of blocks."""
    filled = round(max(0.0, min(1.0, share)) * width)
    return "█" * filled + "░" * (width - filled)
