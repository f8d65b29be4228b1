"""Power cuts at every instant of every durable procedure: the agent's own readers see old or new, never a part.

And what was promised is never lost. Forgetting a flush must be found by the same check, or it would prove nothing.
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.crash_states import Recording, crash_states, recorded
from tests.fakes.disk_calls import Recorder
from tests.faults.durable_procedures import FILES, Procedure, Seen
from tests.faults.sqlite_procedures import SQLITE

PROCEDURES = FILES | SQLITE


def record(procedure: Procedure, folder: Path) -> Recording:
    folder.mkdir()
    procedure.before(folder)
    disk = Recorder()
    with recorded(folder, disk) as made:
        procedure.act(folder, disk)
    return made[0]


def bad_states(procedure: Procedure, recording: Recording, scratch: Path, *, enough: int = 3) -> list[str]:
    """Return what readers see that they must not, each with the cut that left it; and look at no more than enough."""
    found: list[str] = []
    for number, state in enumerate(crash_states(recording)):
        folder = scratch / str(number)
        state.lay_out(folder)
        saw: Seen
        try:
            saw = procedure.read(folder)
        except Exception as error:  # noqa: BLE001 - whatever a reader raises is a finding
            saw = repr(error)
        shutil.rmtree(folder)
        if saw not in procedure.allowed[state.promised]:
            found.append(f"{saw} after {state.after} changes and {state.promised} promises: {sorted(state.tree)}")
            if len(found) == enough:
                break
    return found


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Where thousands of states are laid out: in memory where the system has a place for that."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


@pytest.mark.parametrize("name", PROCEDURES)
def test_a_cut_leaves_old_or_new(scratch: Path, name: str) -> None:
    recording = record(PROCEDURES[name], scratch / "disk")
    assert not bad_states(PROCEDURES[name], recording, scratch)


@pytest.mark.parametrize("name", PROCEDURES)
def test_a_forgotten_flush_is_found(scratch: Path, name: str) -> None:
    procedure = PROCEDURES[name]
    recording = record(procedure, scratch / "disk")
    harmless = tuple(
        str(change.path.relative_to(recording.folder))
        for position, change in recording.syncs()
        if not bad_states(procedure, recording.without(position), scratch, enough=1)
    )
    assert harmless == procedure.spare


def test_states_are_many_enough_to_mean_something(scratch: Path) -> None:
    """A guard for the enumerator: each procedure has states before, within and after it."""
    for name, procedure in PROCEDURES.items():
        recording = record(procedure, scratch / name)
        counted = Counter(state.promised for state in crash_states(recording))
        assert len(counted) == len(procedure.allowed), name
        assert sum(counted.values()) >= 2, name
