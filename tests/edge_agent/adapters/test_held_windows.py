"""Copies of windows under way in the spool: the newest is sent, once, whatever ends its worker."""

import sqlite3
from pathlib import Path

import pytest

from edge_agent.adapters.held_windows import Holder
from edge_agent.adapters.spool import Spool
from edge_agent.core.spool_rules import Message, Priority

ONE, TWO = Holder(1, "digits"), Holder(2, "digits")


def window(payload: bytes) -> Message:
    return Message("edgeloop/v1/d/dev/up/window", payload, Priority.WINDOW, 60)


def waiting(spool: Spool) -> list[bytes]:
    return [message.payload for message in spool.peek(0, 100)]


def test_a_copy_is_no_message_until_its_worker_is_gone(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "spool.db", 1) as spool:
        spool.hold(ONE, window(b"old"))
        spool.flush()
        spool.hold(ONE, window(b"new"))
        spool.hold(TWO, window(b"of another worker"))
        assert (waiting(spool), len(spool)) == ([], 0)
        spool.release(1)
        assert waiting(spool) == [b"new"]
        spool.release(1)
        assert waiting(spool) == [b"new"]
    with Spool.open(tmp_path / "spool.db", 1) as spool:
        assert waiting(spool) == [b"new", b"of another worker"]
        spool.acknowledge(tuple(message.number for message in spool.peek(0, 9)))
    with Spool.open(tmp_path / "spool.db", 1) as spool:
        assert waiting(spool) == []


def test_a_closed_window_takes_the_place_of_its_copy_on_disk_at_once(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db", 1)
    spool.hold(ONE, window(b"copy"))
    spool.flush()
    spool.put(window(b"closed"), instead_of=ONE)
    with Spool.open(tmp_path / "spool.db", 1) as after_a_cut:  # nothing was closed before it
        assert waiting(after_a_cut) == [b"closed"]
    spool.close()


def test_a_window_without_a_copy_is_written_in_a_batch_as_before(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db", 1)
    spool.put(window(b"closed"), instead_of=ONE)
    with Spool.open(tmp_path / "spool.db", 1) as other:
        assert waiting(other) == []
    spool.close()


def test_a_copy_that_finds_no_room_is_a_loss_that_is_counted(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "spool.db", 1) as spool:
        spool.hold(ONE, window(bytes(2 * 2**20)))
        spool.release(1)
        assert (waiting(spool), spool.losses[Priority.WINDOW]) == ([], 1)
        spool.release(1)
        assert spool.losses[Priority.WINDOW] == 1


def test_an_hour_of_copies_writes_little(tmp_path: Path) -> None:
    """80 copies of 1.8 kB: what the card takes, by the pages of the log and of the database."""
    with Spool.open(tmp_path / "spool.db", 1) as spool:
        pages = 0
        db = sqlite3.connect(tmp_path / "spool.db")
        for number in range(80):
            before = (tmp_path / "spool.db-wal").stat().st_size
            spool.hold(ONE, window(bytes([number]) * 1800))
            spool.flush()
            pages = max(pages, ((tmp_path / "spool.db-wal").stat().st_size - before) // 4096)
        db.close()
    assert pages <= 3


@pytest.mark.parametrize("name", ["held", "message"])
def test_the_table_is_made_in_a_spool_of_an_older_agent(tmp_path: Path, name: str) -> None:
    db = sqlite3.connect(tmp_path / "spool.db")
    db.execute(
        "CREATE TABLE message (number INTEGER PRIMARY KEY AUTOINCREMENT, priority INTEGER NOT NULL,"
        " topic TEXT NOT NULL, expiry_s INTEGER NOT NULL, payload BLOB NOT NULL) STRICT"
    )
    db.execute("INSERT INTO message VALUES (7, 1, 't', 60, x'6f6c64')")
    db.commit()
    db.close()
    with Spool.open(tmp_path / "spool.db", 1) as spool:
        assert waiting(spool) == [b"old"]
        assert spool._db.execute(f"SELECT count(*) FROM {name}").fetchone()
