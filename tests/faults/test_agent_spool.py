"""Telemetry on a disk that refuses, or is full, or lost: nothing blocks, little memory is used, losses are counted."""

import errno
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest

from edge_agent.adapters.spool import BATCH, MEMORY_BYTES, Spool
from edge_agent.adapters.spool_file import MIB
from edge_agent.core.spool_rules import Message, Priority
from tests.fakes.disk_calls import CHANGES, WRITES, Failing, watched

TROUBLES = {"full": (errno.ENOSPC, WRITES), "read-only": (errno.EROFS, CHANGES), "failing": (errno.EIO, CHANGES)}
NEVER = 1_000_000


def message(payload: bytes, priority: Priority = Priority.WINDOW) -> Message:
    return Message("edgeloop/v1/d/dev/up/window", payload, priority, 60)


def opened(folder: Path, cap_mb: float = 1) -> Spool:
    return Spool.open(folder / "spool.db", cap_mb)


def payloads(spool: Spool) -> list[bytes]:
    return [item.payload for item in spool.peek(0, 10_000)]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_messages_wait_in_a_little_memory_and_go_to_disk_when_it_ends(tmp_path: Path, trouble: str) -> None:
    number, calls = TROUBLES[trouble]
    disk = Failing(number, calls, first=NEVER)
    said = [b"%03d" % number for number in range(3 * BATCH)]
    with watched(tmp_path, disk), opened(tmp_path) as spool:
        disk.first = 0
        for payload in said:
            spool.put(message(payload))
        spool.put(message(b"event", Priority.EVENT))
        assert disk.happened
        assert payloads(spool) == [*said, b"event"]
        assert spool.dropped == 0
        disk.first = NEVER
        spool.put(message(b"last", Priority.EVENT))
        assert payloads(spool) == [*said, b"event", b"last"]
    with opened(tmp_path) as spool:
        assert payloads(spool) == [*said, b"event", b"last"]


def test_memory_is_bounded_and_the_least_important_go_first(tmp_path: Path) -> None:
    sizes = 20 * MEMORY_BYTES // 10_000
    disk = Failing(errno.ENOSPC, WRITES, first=NEVER)
    with watched(tmp_path, disk), opened(tmp_path, 16) as spool:
        disk.first = 0
        for number in range(sizes):
            priority = Priority.EVENT if number < 3 else Priority.HEALTH
            spool.put(message(b"%05d" % number + os.urandom(10_000), priority))
        kept = spool.peek(0, 10_000)
        assert sum(len(item.payload) for item in kept) <= MEMORY_BYTES + BATCH * 10_200
        assert [item.payload[:5] for item in kept[:3]] == [b"00000", b"00001", b"00002"]
        assert kept[-1].payload[:5] == b"%05d" % (sizes - 1)
        assert spool.dropped == sizes - len(kept)


def test_what_was_sent_is_not_sent_again_while_it_cannot_be_deleted(tmp_path: Path) -> None:
    disk = Failing(errno.ENOSPC, WRITES, first=NEVER)
    with watched(tmp_path, disk), opened(tmp_path) as spool:
        for number in range(BATCH):
            spool.put(message(b"%d" % number))
        disk.first = 0
        spool.acknowledge(tuple(item.number for item in spool.peek(0, BATCH - 1)))
        assert payloads(spool) == [b"%d" % (BATCH - 1)]
        disk.first = NEVER
        spool.put(message(b"event", Priority.EVENT))
        assert len(spool) == 2
    with opened(tmp_path) as spool:
        assert payloads(spool) == [b"%d" % (BATCH - 1), b"event"]


def test_a_disk_that_does_not_read_gives_what_is_in_memory(tmp_path: Path) -> None:
    disk = Failing(errno.EIO, frozenset({"read"}), first=NEVER)
    with watched(tmp_path, disk), opened(tmp_path) as spool:
        for _ in range(3 * BATCH):  # more than SQLite keeps in memory
            spool.put(message(os.urandom(8000)))
        disk.first = 0
        spool.put(message(b"fresh"))
        assert b"fresh" in payloads(spool)
        assert disk.happened
        for _ in range(BATCH):
            spool.put(message(os.urandom(8000)))  # no room, and what could go cannot be found
        disk.first = NEVER
        assert b"fresh" in payloads(spool)


def test_losses_are_counted_over_restarts_until_they_are_told(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        for _ in range(150):
            spool.put(message(os.urandom(10_000)))
        lost = spool.dropped
        assert lost > 0
    with opened(tmp_path) as spool:
        assert spool.dropped == lost
        told: list[int] = []

        def tell(losses: Mapping[Priority, int]) -> Message:
            told.append(sum(losses.values()))
            return message(b"%d lost" % told[0], Priority.EVENT)

        spool.tell_losses(tell)
        assert told[0] >= lost  # room for the event may cost some more, which it speaks of, too
        assert spool.dropped == 0
    with opened(tmp_path) as spool:
        assert spool.dropped == 0
        assert b"%d lost" % told[0] in payloads(spool)


def test_telling_of_losses_without_room_for_it_loses_no_count(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.losses[Priority.WINDOW] = 5
        spool.tell_losses(lambda _losses: message(os.urandom(2 * MIB), Priority.EVENT))
        assert spool.losses == {Priority.WINDOW: 5, Priority.EVENT: 1, Priority.HEALTH: 0, Priority.FEEDBACK: 0}


def test_a_database_that_is_full_blocks_nothing(tmp_path: Path) -> None:
    """Its own cap, far below the cap on payloads: not even a row can be added."""
    with opened(tmp_path) as spool:
        spool._db.execute("PRAGMA max_page_count=8")
        for number in range(200):
            spool.put(message(b"%03d" % number + os.urandom(3000), Priority.EVENT))
        kept = spool.peek(0, 1000)
        assert kept[-1].payload[:3] == b"199"
        assert len(kept) + spool.dropped == 200
        spool.acknowledge(tuple(item.number for item in kept))
        assert len(spool) == 0


def test_the_log_before_the_database_stays_small(tmp_path: Path) -> None:
    with opened(tmp_path, 8) as spool:
        largest = 0
        for _ in range(40):
            for _ in range(BATCH):
                spool.put(message(os.urandom(3000)))
            spool.acknowledge(tuple(item.number for item in spool.peek(0, BATCH)))
            largest = max(largest, (tmp_path / "spool.db-wal").stat().st_size)
        assert largest < 2 * MIB


def test_a_damaged_spool_is_a_loss_that_is_told(tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_bytes(b"garbage" * 1000)
    with opened(tmp_path) as spool:
        assert spool.dropped == 1


def test_a_spool_that_cannot_be_written_is_not_thrown_away(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.put(message(b"kept", Priority.EVENT))
    with watched(tmp_path, Failing(errno.ENOSPC, WRITES)), opened(tmp_path) as spool:
        spool.put(message(b"in memory", Priority.EVENT))
        assert payloads(spool)[-1] == b"in memory"
    db = sqlite3.connect(tmp_path / "spool.db")
    assert (b"kept",) in db.execute("SELECT payload FROM message").fetchall()
    db.close()
