"""Power cuts at every instant of every durable procedure: the agent's own readers see old or new, never a part.

And what was promised is never lost. Forgetting a flush must be found by the same check, or it would prove nothing.
"""

import contextlib
import errno
import itertools
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.adapters.journal import JournalError, UnwritableError
from tests.fakes.crash_reading import bad_states, scratch_folder
from tests.fakes.crash_states import Recording, crash_states, recorded
from tests.fakes.disk_calls import Failing, Recorder
from tests.faults.durable_procedures import FILES, Procedure
from tests.faults.sqlite_procedures import SQLITE
from tests.faults.trust_procedures import TRUST

PROCEDURES = FILES | SQLITE | TRUST
# Not to be done again after a failure to the same end: boots, reports and windows would be counted twice, and telemetry
# promises nothing on a failing disk.
ONCE = {
    "a new journal",
    "a transition with its report",
    "telemetry",
    "a window under way",
    "windows of workers that are gone",
}
REPEATABLE = [name for name in PROCEDURES if name not in ONCE]


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    with scratch_folder(tmp_path) as folder:
        yield folder


def record(procedure: Procedure, folder: Path) -> Recording:
    folder.mkdir()
    procedure.before(folder)
    disk = Recorder()
    with recorded(folder, disk) as made:
        procedure.act(folder, disk)
    return made[0]


def found_bad(procedure: Procedure, recording: Recording, scratch: Path, *, enough: int = 3) -> list[str]:
    states = crash_states(recording)
    return bad_states(states, procedure.read, lambda state: procedure.allowed[state.promised], scratch, enough=enough)


@pytest.mark.parametrize("name", PROCEDURES)
def test_a_cut_leaves_old_or_new(scratch: Path, name: str) -> None:
    recording = record(PROCEDURES[name], scratch / "disk")
    assert not found_bad(PROCEDURES[name], recording, scratch)


@pytest.mark.parametrize("name", PROCEDURES)
def test_a_forgotten_flush_is_found(scratch: Path, name: str) -> None:
    procedure = PROCEDURES[name]
    recording = record(procedure, scratch / "disk")
    harmless = tuple(
        str(change.path.relative_to(recording.folder))
        for position, change in recording.syncs()
        if not found_bad(procedure, recording.without(position), scratch, enough=1)
    )
    assert harmless == procedure.spare


@pytest.mark.parametrize("name", REPEATABLE)
def test_a_flush_that_failed_is_not_taken_for_done(scratch: Path, name: str) -> None:
    """The kernel reports a lost page once and calls it clean from then on: the next try must write anew.

    Names are kept by the file system's own journal, whose failure ends in a read-only disk and not in a silent loss.
    """
    procedure = PROCEDURES[name]
    for first in itertools.count():
        folder = scratch / f"disk-{first}"
        folder.mkdir()
        procedure.before(folder)
        disk = Failing(errno.EIO, frozenset({"fsync"}), first, count=1)
        with recorded(folder, disk) as made:
            with contextlib.suppress(OSError, UnwritableError, JournalError, sqlite3.Error):
                procedure.act(folder, disk)
            if not disk.happened:
                break
            procedure.act(folder, disk)
            disk.promise()
        done = len(made[0].changes)
        states = (state for state in crash_states(made[0]) if state.after >= done)
        assert not bad_states(states, procedure.read, lambda _: procedure.allowed[-1], scratch), first
    assert first > 0


def test_states_are_many_enough_to_mean_something(scratch: Path) -> None:
    """A guard for the enumerator: each procedure has states before, within and after it."""
    for name, procedure in PROCEDURES.items():
        recording = record(procedure, scratch / name)
        counted = Counter(state.promised for state in crash_states(recording))
        assert len(counted) == len(procedure.allowed), name
        assert sum(counted.values()) >= 2, name
