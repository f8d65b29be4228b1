"""The journal: what a cut between any two statements leaves."""

import dataclasses
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters.journal import Journal, JournalError, Report
from edge_agent.contract.messages import Desired
from edge_agent.contract.states import UpdateState
from edge_agent.core.update_machine import Update, offer

FETCHING = dataclasses.replace(
    offer(Update(), Desired("dev", 1, 0, ())), state=UpdateState.FETCHING, target=Desired("dev", 1, 0, ()), waiting=None
)
VERIFYING = dataclasses.replace(FETCHING, state=UpdateState.VERIFYING)


class CutError(Exception):
    """The power goes."""


class CutConnection:
    """A connection that dies before its n-th statement, and so loses what was not committed."""

    def __init__(self, db: sqlite3.Connection, after: int) -> None:
        self._db = db
        self._left = after

    def execute(self, *words: Any) -> sqlite3.Cursor:
        if self._left == 0:
            self._db.close()  # as the kernel would: nothing is rolled back by us
            raise CutError
        self._left -= 1
        return self._db.execute(*words)

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with Journal.open(path) as journal:
        assert journal.load() == Update()
        journal.save(FETCHING, Report(b"one", terminal=False))
    with Journal.open(path) as journal:
        assert journal.load() == FETCHING
        assert [report.body for report in journal.reports()] == [b"one"]


def test_a_cut_leaves_transition_and_report_or_neither(tmp_path: Path) -> None:
    seen = set()
    for after in range(10):
        path = tmp_path / f"{after}.db"
        with Journal.open(path) as journal:
            journal.save(FETCHING, Report(b"fetching", terminal=True))
        db = sqlite3.connect(path, isolation_level=None)
        cut = CutConnection(db, after)
        try:
            Journal(cut).save(VERIFYING, Report(b"verifying", terminal=True))  # type: ignore[arg-type]
            db.close()
        except CutError:
            pass
        with Journal.open(path) as journal:
            left = journal.load().state, tuple(report.body for report in journal.reports())
        seen.add(left)
    assert seen == {
        (UpdateState.FETCHING, (b"fetching",)),
        (UpdateState.VERIFYING, (b"fetching", b"verifying")),
    }


def test_boots_count_over_restarts(tmp_path: Path) -> None:
    counted = []
    for _ in range(3):
        with Journal.open(tmp_path / "agent.db") as journal:
            counted.append(journal.count_boot())
    assert counted == [1, 2, 3]


def test_progress_is_replaced_and_outcomes_are_kept_in_order(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "agent.db") as journal:
        for body, terminal in ((b"a", False), (b"END1", True), (b"b", False), (b"c", False), (b"END2", True)):
            journal.save(FETCHING, Report(body, terminal))
        journal.queue_report(Report(b"d", terminal=False))
        reports = journal.reports()
        assert [report.body for report in reports] == [b"END1", b"END2", b"d"]
        journal.acknowledge(reports[0].number)
        assert [report.body for report in journal.reports()] == [b"END2", b"d"]


@pytest.mark.parametrize("damage", [b"", b"garbage" * 1000])
def test_a_damaged_file_is_refused_or_new(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "agent.db"
    path.write_bytes(damage)
    if not damage:
        with Journal.open(path) as journal:
            assert journal.load() == Update()
        return
    with pytest.raises(JournalError, match="move it away"):
        Journal.open(path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    Journal.open(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(JournalError, match="schema 99"):
        Journal.open(path)


def test_an_unreadable_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with Journal.open(path) as journal:
        journal.save(FETCHING)
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE update_row SET body = x'7B'")
    db.close()
    with Journal.open(path) as journal, pytest.raises(JournalError, match="not readable"):
        journal.load()
