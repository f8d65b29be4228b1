"""Windows in the database: packed, replaced by repeats, rolled up by the hour, forgotten once; rows of before move."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, insert, text

from edge_agent.contract import codec
from edge_agent.contract.windows import Window, WindowCounts, merge
from fleet_server.store import schema, window_hours, windows
from fleet_server.store.database import Database
from fleet_server.store.windows import HOUR_MS, WindowFilter
from tests.fakes.windowed_board import WindowedBoard

NOW = 1_800_000_000_000 - 1_800_000_000_000 % HOUR_MS
KEPT_DAYS = 7
DAY_MS = 24 * HOUR_MS


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.at(tmp_path / "server.db")
    opened.upgrade()
    with opened.write() as connection:
        add_device(connection)
    yield opened
    opened.close()


def add_device(connection: Connection) -> None:
    values = {
        "id": "pi-1",
        "public_key": "ab",
        "profile": "p",
        "cohort": "p",
        "simulated": True,
        "labels": {},
        "capabilities": {},
        "enrolled": 0,
        "presence": "ready",
        "status_boot": 1,
        "reported_boot": -1,
        "reported_seq": -1,
    }
    connection.execute(insert(schema.devices).values(**values))


def board() -> WindowedBoard:
    return WindowedBoard("pi-1", "a" * 64, np.random.default_rng(1))


def save(database: Database, window: Window, received: int) -> bool:
    with database.write() as connection:
        return windows.save_window(connection, window, received, KEPT_DAYS)


def hours(database: Database, now: int) -> list[tuple[int, int, WindowCounts]]:
    with database.write() as connection:
        window_hours.roll_up(connection, now, 100)
        found = list(window_hours.read_hours(connection, "digits", 1, 0))
    return [(item.hour, item.windows, item.read_counts()) for item in found]


def forget(database: Database, now: int) -> None:
    with database.write() as connection:
        windows.forget_windows(connection, now - KEPT_DAYS * DAY_MS)


def test_an_hour_is_the_sum_of_its_windows_whatever_comes_twice(database: Database) -> None:
    source = board()
    held = [source.window(NOW + minute * 60_000) for minute in (5, 25, 45, 65)]
    for window in (*held, held[0], held[2]):
        assert save(database, window, window.ended)
    found = hours(database, NOW + 2 * HOUR_MS)
    assert [(hour, count) for hour, count, _ in found] == [(NOW, 3), (NOW + HOUR_MS, 1)]
    assert found[0][2] == reduce(merge, [window.counts for window in held[:3]])


def test_a_late_window_and_a_changed_repeat_change_the_hour_once(database: Database) -> None:
    source = board()
    first, late = source.window(NOW + 60_000), source.window(NOW + 120_000)
    save(database, first, NOW + 60_000)
    assert hours(database, NOW + HOUR_MS)[0][1] == 1
    save(database, late, NOW + 5 * HOUR_MS)
    save(database, replace(first, counts=late.counts), NOW + 5 * HOUR_MS)
    found = hours(database, NOW + 6 * HOUR_MS)
    assert [(hour, count) for hour, count, _ in found] == [(NOW, 2)]
    assert found[0][2] == merge(late.counts, late.counts)


def test_an_older_copy_that_comes_after_the_whole_window_is_passed_over(database: Database) -> None:
    source = board()
    whole = source.window(NOW + 60_000)
    source.rows = 300
    older = replace(whole, counts=source.window(NOW + 60_000).counts)
    assert save(database, older, NOW + 30_000)
    assert save(database, whole, NOW + 60_000)
    assert not save(database, older, NOW + 90_000)
    # Refused rows and labels are counts of a window as well.
    more = replace(older, counts=replace(older.counts, rejected=200))
    with database.read() as connection:
        assert [item.read_counts() for item in windows.list_windows(connection, WindowFilter())] == [whole.counts]
    assert save(database, more, NOW + 90_000)
    assert [counts for _, _, counts in hours(database, NOW + HOUR_MS)] == [more.counts]


def test_a_repeat_of_a_forgotten_window_counts_no_second_time(database: Database) -> None:
    source = board()
    old, new = source.window(NOW), source.window(NOW + 8 * DAY_MS)
    save(database, old, NOW)
    before = hours(database, NOW + HOUR_MS)
    later = NOW + 8 * DAY_MS
    forget(database, later)
    assert save(database, new, later)
    assert not save(database, old, later)
    assert [item for item in hours(database, later + HOUR_MS) if item[0] == NOW] == before
    with database.read() as connection:
        assert [item.number for item in windows.list_windows(connection, WindowFilter())] == [2]


def test_windows_are_not_forgotten_before_they_are_rolled_up(database: Database) -> None:
    save(database, board().window(NOW), NOW)
    forget(database, NOW + 30 * DAY_MS)
    with database.read() as connection:
        assert len(windows.list_windows(connection, WindowFilter())) == 1


@pytest.mark.parametrize("ended", [0, NOW - 8 * DAY_MS, NOW + 50 * DAY_MS])
def test_a_wrong_clock_puts_a_window_in_the_hour_it_came(database: Database, ended: int) -> None:
    save(database, board().window(max(ended, 3_600_000)), NOW + 60_000)
    assert [hour for hour, _, _ in hours(database, NOW + HOUR_MS)] == [NOW]


def test_a_repeat_keeps_its_place_in_the_order(database: Database) -> None:
    source = board()
    first, second = source.window(NOW), source.window(NOW)
    for window in (first, second, first):
        save(database, window, NOW)
    with database.read() as connection:
        assert [item.number for item in windows.windows_after(connection, 0, 10)] == [1, 2]
        assert [item.number for item in windows.windows_after(connection, 1, 10)] == [2]
        assert windows.last_place(connection) == 2


def test_windows_of_before_are_moved_with_their_counts(tmp_path: Path) -> None:
    database = Database.at(tmp_path / "server.db")
    source = board()
    held = [source.window(NOW + number) for number in range(3)]
    with database.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0009")
        add_device(connection)
        for window in held:
            values = {name: getattr(window, name) for name in ("boot", "number", "digest", "started", "ended")}
            values |= {"counts": json.dumps(codec.to_plain(window.counts)), "received": NOW}
            names = ", ".join(values)
            places = ", ".join(f":{name}" for name in values)
            statement = f"INSERT INTO windows (device, model, version, {names}) VALUES ('pi-1', 'digits', 1, {places})"
            connection.execute(text(statement), values)
    database.upgrade()
    with database.read() as connection:
        found = windows.list_windows(connection, WindowFilter(device="pi-1", model="digits", version=1))
    assert [item.read_counts() for item in found] == [window.counts for window in held]
    assert [item.n for item in found] == [1, 2, 3]
    assert hours(database, NOW + HOUR_MS)[0][1] == 3
    database.close()
