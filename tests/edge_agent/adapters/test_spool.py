"""The spool: capped, counted, in order, and never in the way."""

import os
from pathlib import Path

import pytest

from edge_agent.adapters.spool import BATCH, Spool
from edge_agent.adapters.spool_file import MIB
from edge_agent.core.spool_rules import Message, Priority


def message(payload: bytes, priority: Priority = Priority.WINDOW) -> Message:
    return Message("edgeloop/v1/d/dev/up/window", payload, priority, 60)


def test_messages_come_back_in_order_until_acknowledged(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "spool.db", 1) as spool:
        for number in range(BATCH + 5):  # some on disk, some in memory
            spool.put(message(b"%d" % number))
        first = spool.peek(0, 10)
        assert [item.payload for item in first] == [b"%d" % number for number in range(10)]
        assert [item.payload for item in spool.peek(first[-1].number, 100)][-1] == b"%d" % (BATCH + 4)
        spool.acknowledge(tuple(item.number for item in first))
        spool.acknowledge((first[0].number, spool.peek(0, 100)[-1].number))  # a repeat, and one in memory
        assert len(spool) == BATCH + 5 - 11
    with Spool.open(tmp_path / "spool.db", 1) as spool:
        assert len(spool) == BATCH + 5 - 11
        assert spool.peek(0, 1)[0].payload == b"10"


def test_what_is_acknowledged_at_once_never_touches_the_disk(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "spool.db", 1) as spool:
        before = (tmp_path / "spool.db-wal").stat().st_size
        for _ in range(5 * BATCH):
            spool.put(message(b"x" * 100))
            spool.acknowledge((spool.peek(0, 1)[0].number,))
        assert len(spool) == 0
        assert spool.size_bytes == 0
        assert (tmp_path / "spool.db-wal").stat().st_size == before


def test_an_event_is_on_disk_at_once(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db", 1)
    spool.put(message(b"it happened", Priority.EVENT))
    with Spool.open(tmp_path / "spool.db", 1) as other:
        assert [item.payload for item in other.peek(0, 5)] == [b"it happened"]
    spool.close()


def test_a_full_spool_drops_the_least_important_and_counts(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "spool.db", 1) as spool:
        spool.put(message(b"event", Priority.EVENT))
        for number in range(100):
            spool.put(message(b"%03d" % number + os.urandom(10_000), Priority.HEALTH))
        for number in range(150):
            spool.put(message(b"%03d" % number + os.urandom(10_000), Priority.WINDOW))
        kept = spool.peek(0, 1000)
        assert kept[0].payload == b"event"
        assert {item.priority for item in kept} == {Priority.EVENT, Priority.WINDOW}
        assert kept[-1].payload[:3] == b"149"
        numbers = [int(item.payload[:3]) for item in kept[1:]]
        assert numbers == list(range(numbers[0], 150))
        assert spool.dropped == 1 + 100 + 150 - len(kept)
        assert spool.size_bytes <= MIB
        spool.put(message(b"health", Priority.HEALTH))
        spool.put(message(os.urandom(2 * MIB), Priority.EVENT))  # larger than all: cannot be kept
        assert spool.peek(0, 1)[0].payload != b""
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3 * MIB


def test_numbers_are_never_given_twice(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "spool.db", 1) as spool:
        spool.put(message(b"a", Priority.EVENT))
        last = spool.peek(0, 1)[0].number
        spool.acknowledge((last,))
    with Spool.open(tmp_path / "spool.db", 1) as spool:
        spool.put(message(b"b"))
        assert spool.peek(0, 1)[0].number > last


@pytest.mark.parametrize("damage", [b"", b"garbage" * 1000])
def test_a_damaged_file_is_replaced(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "spool.db").write_bytes(damage)
    with Spool.open(tmp_path / "spool.db", 1) as spool:
        spool.put(message(b"on", Priority.EVENT))
        assert len(spool) == 1
