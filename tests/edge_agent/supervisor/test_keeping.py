"""What the updates keep: a transition waits for a disk that refuses, and nothing else stops for it."""

import dataclasses
import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.adapters.journal import Journal, Report, UnwritableError
from edge_agent.adapters.markers import Markers
from edge_agent.contract.messages import Desired
from edge_agent.contract.states import UpdateState
from edge_agent.core.update_machine import Update
from edge_agent.supervisor.keeping import Keeper
from tests.fakes.disk_calls import CHANGES, Failing, watched

NEVER = 1_000_000
SET = Desired("dev", 3, 0, ())
FETCHING = Update(state=UpdateState.FETCHING, target=SET, highest_seq=3)
VERIFYING = dataclasses.replace(FETCHING, state=UpdateState.VERIFYING)
REPORT = Report(b"report", terminal=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Failing]:
    failing = Failing(errno.ENOSPC, CHANGES, first=NEVER)
    with watched(tmp_path, failing):
        yield failing


@pytest.fixture
def journal(tmp_path: Path, disk: Failing) -> Iterator[Journal]:
    with Journal.open(tmp_path / "agent.db") as opened:
        yield opened


@pytest.fixture
def keeper(tmp_path: Path, journal: Journal) -> Keeper:
    markers = Markers(tmp_path / "good")
    markers.prepare()
    return Keeper(journal, markers)


def seen(tmp_path: Path) -> Markers:
    markers = Markers(tmp_path / "good")
    markers.prepare()
    return markers


def test_a_transition_waits_until_it_can_be_written(keeper: Keeper, journal: Journal, disk: Failing) -> None:
    assert keeper.save(FETCHING, REPORT, 10.0)
    disk.first = 0
    assert not keeper.save(VERIFYING, REPORT, 20.0)
    assert keeper.unsaved == VERIFYING
    assert keeper.retry_at > 20.0
    assert journal.load() == FETCHING
    disk.first = NEVER
    assert keeper.save(VERIFYING, REPORT, keeper.retry_at)
    assert keeper.unsaved is None
    assert journal.load() == VERIFYING
    assert len(journal.reports()) == 2


def test_what_is_no_transition_is_let_go(keeper: Keeper, journal: Journal, disk: Failing, tmp_path: Path) -> None:
    disk.first = 0
    keeper.note(FETCHING)
    keeper.queue(REPORT)
    keeper.mark(SET, ())
    assert keeper.unsaved is None
    assert journal.load() == Update()
    disk.first = NEVER
    assert seen(tmp_path).rebuilt() is None


def test_what_is_kept_is_seen_by_a_rebuild(keeper: Keeper, tmp_path: Path) -> None:
    assert (keeper.count_boot(), keeper.count_boot()) == (1, 2)
    keeper.note(FETCHING)
    assert seen(tmp_path).boot == 2
    assert seen(tmp_path).rebuilt() == Update(highest_seq=2)
    keeper.mark(SET, ())
    rebuilt = seen(tmp_path).rebuilt()
    assert rebuilt is not None
    assert rebuilt.good == SET


def test_a_start_that_is_not_counted_is_none(keeper: Keeper, disk: Failing) -> None:
    disk.first = 0
    with pytest.raises(UnwritableError):
        keeper.count_boot()


def test_a_start_counts_above_what_a_lost_journal_had(tmp_path: Path) -> None:
    markers = seen(tmp_path)
    markers.see(boot=17)
    with Journal.open(tmp_path / "agent.db", markers.rebuilt) as journal:
        assert Keeper(journal, markers).count_boot() == 18
