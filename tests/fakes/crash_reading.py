"""Reads what power cuts leave: lays out each crash state and looks at it with a procedure's own reader."""

import os
import shutil
import tempfile
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.crash_states import CrashState

Seen = Hashable


@contextmanager
def scratch_folder(otherwise: Path) -> Iterator[Path]:
    """Where thousands of states are laid out: in memory where the system has a place for that."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else otherwise) as folder:
        yield Path(folder)


def bad_states(
    states: Iterable[CrashState],
    read: Callable[[Path], Seen],
    allowed: Callable[[CrashState], frozenset[Seen]],
    scratch: Path,
    *,
    enough: int = 3,
) -> list[str]:
    """Return what readers see that they must not, each with the cut that left it; and look at no more than enough."""
    found: list[str] = []
    for number, state in enumerate(states):
        folder = scratch / str(number)
        state.lay_out(folder)
        saw: Seen
        try:
            saw = read(folder)
        except Exception as error:  # noqa: BLE001 - whatever a reader raises is a finding
            saw = repr(error)
        shutil.rmtree(folder)
        if saw not in allowed(state):
            found.append(f"{saw} after {state.after} changes and {state.promised} promises: {sorted(state.tree)}")
            if len(found) == enough:
                break
    return found
