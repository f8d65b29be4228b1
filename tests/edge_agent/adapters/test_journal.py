"""The journal: what is saved is loaded, what is damaged is begun anew; power cuts are in `tests/faults`."""

import dataclasses
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.adapters.journal import Journal, JournalError, Report
from edge_agent.contract import codec
from edge_agent.contract.messages import Desired
from edge_agent.contract.states import UpdateState
from edge_agent.core.update_machine import Update, offer, recovered

FETCHING = dataclasses.replace(
    offer(Update(), Desired("dev", 1, 0, ())), state=UpdateState.FETCHING, target=Desired("dev", 1, 0, ()), waiting=None
)
VERIFYING = dataclasses.replace(FETCHING, state=UpdateState.VERIFYING)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with Journal.open(path) as journal:
        assert journal.load() == Update()
        journal.save(FETCHING, Report(b"one", terminal=False))
    with Journal.open(path) as journal:
        assert journal.load() == FETCHING
        assert [report.body for report in journal.reports()] == [b"one"]


def test_boots_count_over_restarts(tmp_path: Path) -> None:
    counted = []
    for _ in range(3):
        with Journal.open(tmp_path / "agent.db") as journal:
            counted.append(journal.count_boot())
    assert counted == [1, 2, 3]
    with Journal.open(tmp_path / "agent.db") as journal:
        assert journal.count_boot(2) == 4
        assert journal.count_boot(40) == 41, "an old copy of the file has come back"


def test_progress_is_replaced_and_outcomes_are_kept_in_order(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "agent.db") as journal:
        for body, terminal in ((b"a", False), (b"END1", True), (b"b", False), (b"c", False), (b"END2", True)):
            journal.save(FETCHING, Report(body, terminal))
        journal.queue_report(Report(b"d", terminal=False))
        reports = journal.reports()
        assert [report.body for report in reports] == [b"END1", b"END2", b"d"]
        journal.acknowledge(reports[0].number)
        assert [report.body for report in journal.reports()] == [b"END2", b"d"]


GOOD = Desired("dev", 7, 0, ())
KNOWN = recovered(GOOD, (), 9)


def damaged_at_the_update(path: Path) -> None:
    """One bit of the update's row, which SQLite itself does not look at."""
    data = path.read_bytes()
    assert data.count(b'"state":"fetching"') == 1
    path.write_bytes(data.replace(b'"state":"fetching"', b'"state":"fetchinf"'))


def damaged_in_the_middle(path: Path) -> None:
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + os.urandom(4096) + data[middle + 4096 :])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"garbage" * 1000),
    "header": lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]),
    "short": lambda path: path.write_bytes(path.read_bytes()[:-4096]),
    "half a page": lambda path: path.write_bytes(path.read_bytes()[:2048]),
    "middle": damaged_in_the_middle,
    "row": damaged_at_the_update,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_journal_is_begun_anew_from_what_is_known(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "agent.db"
    with Journal.open(path) as journal:
        assert not journal.rebuilt
        journal.count_boot()
        journal.save(FETCHING, Report(b"one", terminal=True))
    DAMAGES[damage](path)
    with Journal.open(path, lambda: KNOWN) as journal:
        assert journal.rebuilt
        assert journal.load() == KNOWN
        assert journal.count_boot(41) == 42
    with Journal.open(path, lambda: None) as journal:
        assert not journal.rebuilt
        assert journal.load() == KNOWN


def test_damage_with_nothing_known_begins_at_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    path.write_bytes(b"garbage" * 1000)
    with Journal.open(path) as journal:
        assert "damaged" in journal.rebuilt
        assert journal.load() == Update()
    assert (tmp_path / "agent.db.damaged").read_bytes() == b"garbage" * 1000


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    Journal.open(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="schema 99"):
        Journal.open(path, lambda: KNOWN)
    assert path.read_bytes() == before


def test_the_journal_of_an_older_agent_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with Journal.open(path) as journal:
        journal.count_boot()
        journal.save(FETCHING, Report(b"one", terminal=True))
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE update_row SET body = ?", (codec.encode(FETCHING),))  # schema 1 had no checksum
        db.execute("PRAGMA user_version=1")
    db.close()
    for _ in range(2):
        with Journal.open(path, lambda: KNOWN) as journal:
            assert not journal.rebuilt
            assert journal.load() == FETCHING
            assert [report.body for report in journal.reports()] == [b"one"]
