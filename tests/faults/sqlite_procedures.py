"""The durable procedures that go through SQLite: the journal and the spool; see `durable_procedures`."""

import dataclasses
import os
from pathlib import Path

from edge_agent.adapters.held_windows import Holder
from edge_agent.adapters.identity import begin_anew, load_identity, save_identity
from edge_agent.adapters.journal import Journal, Report
from edge_agent.adapters.markers import Markers
from edge_agent.adapters.spool import BATCH, Spool
from edge_agent.adapters.spool_file import connect
from edge_agent.contract.states import UpdateState
from edge_agent.core.spool_rules import Message, Priority
from edge_agent.core.update_machine import Update, recovered
from tests.fakes.disk_calls import Recorder
from tests.faults.durable_procedures import NEW, OLD, SETS, Procedure, Seen, identity, seen

FETCHING = Update(state=UpdateState.FETCHING, target=SETS[2], highest_seq=3)
VERIFYING = dataclasses.replace(FETCHING, state=UpdateState.VERIFYING)
_REPORTING = UpdateState.REPORTING
_BOTH, _LAST = (b"fetching", b"verifying"), (b"verifying",)
# SQLite flushes its rollback journal once before it counts the records in it, and once after; each has a checksum.
_TRANSACTION = ("agent.db-journal", ".", "agent.db-journal", "agent.db", ".")


def journal(folder: Path) -> Journal:
    return Journal.open(folder / "agent.db", lambda: recovered(SETS[1], (), 0))


def read_journal(folder: Path) -> Seen:
    with journal(folder) as opened:
        state, bodies = opened.load().state, tuple(report.body for report in opened.reports())
        assert "damaged" not in opened.rebuilt, opened.rebuilt
        return state, bodies, opened.count_boot() - 1


def begin_journal(folder: Path, disk: Recorder) -> None:
    with journal(folder) as opened:
        disk.promise()
        opened.count_boot()
        disk.promise()


def no_journal(folder: Path) -> None:
    """The reserve is here already; it is an empty one, since states are laid out by the thousand."""
    (folder / "agent.reserve").touch()


def saved_journal(folder: Path) -> None:
    no_journal(folder)
    with journal(folder) as opened:
        opened.count_boot()
        opened.save(FETCHING, Report(b"fetching", terminal=True))


def move_on(folder: Path, disk: Recorder) -> None:
    with journal(folder) as opened:
        opened.save(VERIFYING, Report(b"verifying", terminal=True))
        disk.promise()
        opened.acknowledge(opened.reports()[0].number)
        if not opened._acknowledged:  # on a disk that cannot be written it is forgotten in memory alone
            disk.promise()


def move_alone(folder: Path, disk: Recorder) -> None:
    with journal(folder) as opened:
        opened.save(VERIFYING)
        disk.promise()


def enrolled(folder: Path) -> None:
    saved_journal(folder)
    markers = Markers(folder / "good")
    markers.prepare()
    markers.see(boot=1, highest_seq=3)
    save_identity(folder, identity(OLD))


def enrol_anew(folder: Path, disk: Recorder) -> None:
    begin_anew(folder, identity(NEW))
    disk.promise()


def read_enrolled(folder: Path) -> Seen:
    """Whose documents are taken in, and from which number on; boots never go back."""
    markers = Markers(folder / "good")
    markers.prepare()
    with Journal.open(folder / "agent.db", markers.rebuilt) as opened:
        assert opened.count_boot(markers.boot) == 2
        return load_identity(folder).server_url, opened.load().highest_seq


def damaged_journal(folder: Path) -> None:
    saved_journal(folder)
    path = folder / "agent.db"
    path.write_bytes(path.read_bytes()[:4096] + os.urandom(8192))


def read_state(folder: Path) -> Seen:
    with journal(folder) as opened:
        return opened.load().state


def rebuild_journal(folder: Path, disk: Recorder) -> None:
    with journal(folder) as opened:
        opened.save(VERIFYING)
        disk.promise()


def spooled(folder: Path, disk: Recorder) -> None:
    with Spool.open(folder / "spool.db", 1) as spool:
        for number in range(BATCH):
            spool.put(Message("t", b"window %d" % number, Priority.WINDOW, 60))
        spool.put(Message("t", b"event", Priority.EVENT, 60))
        disk.promise()
        spool.acknowledge(tuple(message.number for message in spool.peek(0, BATCH)))
        disk.promise()


def read_spool(folder: Path) -> Seen:
    """Whole batches, and no damage; telemetry is not promised, but for events."""
    with Spool.open(folder / "spool.db", 1) as spool:
        assert spool.dropped == 0, "damaged"
        kept = [message.payload for message in spool.peek(0, 100)]
    return kept.count(b"event"), len(kept) - kept.count(b"event")


HOLDER = Holder(3, "digits")


def window(payload: bytes) -> Message:
    return Message("t", payload, Priority.WINDOW, 60)


def held(folder: Path, disk: Recorder) -> None:
    """A window is kept as it grows, and closed by its worker."""
    with Spool.open(folder / "spool.db", 1) as spool:
        spool.hold(HOLDER, window(b"half"))
        spool.flush()
        disk.promise()
        spool.hold(HOLDER, window(b"more"))
        spool.flush()
        disk.promise()
        spool.put(window(b"whole"), instead_of=HOLDER)
        disk.promise()


def abandoned(folder: Path) -> None:
    """What an agent leaves that lost its power: copies of two windows, of which one grew."""
    db = connect(folder / "spool.db", 1)
    for worker, payload in ((1, b"one"), (2, b"two")):
        db.execute("INSERT INTO held VALUES (?, 'digits', 1, 't', 60, ?)", (worker, payload))
    db.commit()
    db.close()


def released(folder: Path, disk: Recorder) -> None:
    """A start closes what was under way; then a worker is killed, and its window is closed with its last copy."""
    with Spool.open(folder / "spool.db", 1) as spool:
        spool.hold(HOLDER, window(b"killed"))
        spool.flush()
        disk.promise()
        spool.release(HOLDER.worker)
        disk.promise()


def read_windows(folder: Path) -> Seen:
    """What would be sent: every window once, in whichever place it was."""
    with Spool.open(folder / "spool.db", 1) as spool:
        assert spool.dropped == 0, "damaged"
        return tuple(sorted(message.payload for message in spool.peek(0, 100)))


SQLITE: dict[str, Procedure] = {
    "a new journal": Procedure(
        no_journal,
        begin_journal,
        read_journal,
        (
            seen((_REPORTING, (), 0)),
            seen((_REPORTING, (), 0), (_REPORTING, (), 1)),
            seen((_REPORTING, (), 1)),
        ),
        # The name of a file in which nothing is kept yet, and the flush of what another process may have left.
        spare=("agent.db-journal", ".", ".", "agent.db-journal"),
    ),
    "a transition with its report": Procedure(
        saved_journal,
        move_on,
        read_journal,
        (
            seen((UpdateState.FETCHING, (b"fetching",), 1), (UpdateState.VERIFYING, _BOTH, 1)),
            seen((UpdateState.VERIFYING, _BOTH, 1), (UpdateState.VERIFYING, _LAST, 1)),
            seen((UpdateState.VERIFYING, _LAST, 1)),
        ),
        # Of the start; and before the records are counted, since each has a checksum.
        spare=(".", _TRANSACTION[0], _TRANSACTION[0]),
    ),
    "telemetry": Procedure(
        lambda folder: Spool.open(folder / "spool.db", 1).close(),
        spooled,
        read_spool,
        (
            seen((0, 0), (0, BATCH), (1, BATCH)),
            seen((1, BATCH), (1, 0)),
            seen((1, BATCH), (1, 0)),
        ),
        spare=("spool.db-wal", "spool.db-wal"),  # its header alone; before a checkpoint of what is not promised
    ),
    "a window under way": Procedure(
        lambda folder: Spool.open(folder / "spool.db", 1).close(),
        held,
        read_windows,
        (
            seen((), (b"half",)),
            seen((b"half",), (b"more",)),
            seen((b"more",), (b"whole",)),
            seen((b"whole",)),
        ),
        spare=("spool.db-wal", "spool.db-wal"),  # its header alone; before a checkpoint of what is flushed already
    ),
    "windows of workers that are gone": Procedure(
        abandoned,
        released,
        read_windows,
        (
            seen((b"one", b"two"), (b"killed", b"one", b"two")),
            seen((b"killed", b"one", b"two")),
            seen((b"killed", b"one", b"two")),
        ),
        # The same two; and a window that is released is in one of two places, whichever of them is flushed.
        spare=("spool.db-wal",) * 5,
    ),
    "a transition alone": Procedure(
        saved_journal,
        move_alone,
        read_state,
        (seen(UpdateState.FETCHING, UpdateState.VERIFYING), seen(UpdateState.VERIFYING)),
        spare=(".", _TRANSACTION[0]),
    ),
    "another server": Procedure(
        enrolled,
        enrol_anew,
        read_enrolled,
        (seen((OLD, 3), (OLD, 2), (OLD, 0), (NEW, 0)), seen((NEW, 0))),
        spare=("good",),  # empty or as it was
    ),
    "a journal rebuilt": Procedure(
        damaged_journal,
        rebuild_journal,
        read_state,
        (seen(_REPORTING, UpdateState.VERIFYING), seen(UpdateState.VERIFYING)),
        # A rebuild that was lost or torn is repeated, until the first transition after it is promised.
        spare=(".", ".", *_TRANSACTION, ".", *_TRANSACTION[:3]),
    ),
}
