"""Telemetry of the supervisor: windows have one number from their first copy on; labelled rows leave where they may."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.adapters.spool import Spool
from edge_agent.adapters.trust import DeviceKey
from edge_agent.contract import codec
from edge_agent.contract.envelope import MAX_ENVELOPE_BYTES, PayloadType, inflate, open_envelope
from edge_agent.contract.feedback import FeedbackRows, LabelledRow
from edge_agent.contract.topics import Topics, Up
from edge_agent.contract.window_packing import unpack_window
from edge_agent.contract.windows import LATENCY_BUCKETS, Window, WindowCounts
from edge_agent.core.control import FeedbackSample, WindowClosed, WindowUnderWay
from edge_agent.core.feedback_sample import MAX_SAMPLE_VALUES
from edge_agent.core.spool_rules import Message, Priority
from edge_agent.supervisor.news import Told
from edge_agent.supervisor.reporter import Reporter
from edge_agent.supervisor.telemetry import Telemetry
from tests.fakes.virtual_device import BOARD

TOPICS = Topics()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool.open(tmp_path / "spool.db", 4) as opened:
        yield opened


def telemetry(spool: Spool, *, boot: int = 7, allows_feedback: bool = False) -> Telemetry:
    reporter = Reporter("dev-1", boot, TOPICS, DeviceKey(bytes(32)), lambda: BOARD)
    return Telemetry(spool, reporter, lambda: BOARD, 0.0, allows_feedback=allows_feedback)


def counted(
    kind: type[WindowClosed] | type[WindowUnderWay], rows: int, model: str = "digits"
) -> WindowClosed | WindowUnderWay:
    counts = WindowCounts(rows, 0, 0, (), (rows,), (), (rows,) + (0,) * (LATENCY_BUCKETS - 1))
    return kind(model, 3, "ab" * 32, 1, 2, counts)


def windows(spool: Spool) -> list[Window]:
    found = [message for message in spool.peek(0, 100) if message.topic == TOPICS.up("dev-1", Up.WINDOW)]
    return [unpack_window(open_envelope(one.payload, PayloadType.PACKED_WINDOW).content) for one in found]


def messages(spool: Spool) -> list[Message]:
    return [message for message in spool.peek(0, 100) if message.topic == TOPICS.up("dev-1", Up.FEEDBACK)]


def read_rows(message: Message) -> FeedbackRows:
    plain = inflate(open_envelope(message.payload, PayloadType.FEEDBACK).content)
    return codec.decode(FeedbackRows, plain)


def test_a_window_has_the_number_of_its_copies_and_is_sent_once(spool: Spool) -> None:
    ours = telemetry(spool)
    ours.told(Told(1, counted(WindowUnderWay, 10)))
    ours.told(Told(1, counted(WindowUnderWay, 5, "wine")))
    ours.told(Told(1, counted(WindowUnderWay, 20)))
    assert windows(spool) == []
    ours.told(Told(1, counted(WindowClosed, 25)))
    ours.told(Told(1, counted(WindowClosed, 3)))  # the next one, which never had a copy
    assert [(one.boot, one.number, one.counts.rows) for one in windows(spool)] == [(7, 1, 25), (7, 3, 3)]
    ours.gone(1)
    ours.gone(1)
    assert [(one.model, one.number, one.counts.rows) for one in windows(spool)][2:] == [("wine", 2, 5)]


def test_two_workers_of_one_model_hold_two_windows(spool: Spool) -> None:
    ours = telemetry(spool)
    ours.told(Told(1, counted(WindowUnderWay, 10)))
    ours.told(Told(2, counted(WindowUnderWay, 1)))
    ours.gone(1)
    assert [(one.number, one.counts.rows) for one in windows(spool)] == [(1, 10)]
    ours.told(Told(2, counted(WindowClosed, 4)))
    assert [(one.number, one.counts.rows) for one in windows(spool)] == [(1, 10), (2, 4)]


def test_what_was_under_way_in_the_boot_before_keeps_its_boot(tmp_path: Path) -> None:
    with Spool.open(tmp_path / "spool.db", 4) as spool:
        telemetry(spool, boot=7).told(Told(1, counted(WindowUnderWay, 10)))
    with Spool.open(tmp_path / "spool.db", 4) as spool:
        telemetry(spool, boot=8).told(Told(1, counted(WindowClosed, 2)))
        assert [(one.boot, one.number, one.counts.rows) for one in windows(spool)] == [(7, 1, 10), (8, 1, 2)]


def sample(rows: int, columns: int = 3) -> FeedbackSample:
    chance = random.Random(3)
    made = tuple(
        LabelledRow(tuple(chance.uniform(-1e3, 1e3) for _ in range(columns)), "cat", "dog") for _ in range(rows)
    )
    return FeedbackSample("pets", 3, "ab" * 32, tuple(f"c{index}" for index in range(columns)), made)


def test_labelled_rows_leave_where_the_configuration_allows_it_and_nowhere_else(spool: Spool) -> None:
    telemetry(spool).told(Told(1, sample(4)))
    assert messages(spool) == []
    telemetry(spool, allows_feedback=True).told(Told(1, sample(4)))
    (message,) = messages(spool)
    assert message.priority is Priority.FEEDBACK
    assert min(Priority) is Priority.FEEDBACK  # the first to go where the spool is full
    rows = read_rows(message)
    assert (rows.device, rows.boot, rows.columns, rows.rows) == ("dev-1", 7, ("c0", "c1", "c2"), sample(4).rows)


def test_many_rows_travel_in_messages_that_a_server_takes(spool: Spool) -> None:
    columns = 64
    whole = sample(2 * MAX_SAMPLE_VALUES // columns, columns)
    telemetry(spool, allows_feedback=True).told(Told(1, whole))
    found = messages(spool)
    assert len(found) > 1
    assert all(len(message.payload) <= MAX_ENVELOPE_BYTES for message in found)
    parts = [read_rows(message) for message in found]
    assert tuple(row for part in parts for row in part.rows) == whole.rows
    assert len({part.number for part in parts}) == len(parts)
