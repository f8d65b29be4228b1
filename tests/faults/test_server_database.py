"""The database is locked, full or read-only: 503, a paused controller, nothing sent that is not saved; then it resumes.

The faults are SQLite's own: a lock held by another process, SQLITE_FULL, SQLITE_READONLY.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import event
from structlog.testing import capture_logs

from fleet_server.cli.demo.stage import wait_until
from fleet_server.store import database as database_room
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.database import Database
from fleet_server.store.errors import UnavailableError
from tests.fakes.server_app import Board, Served, served

Fault = Callable[[Served], AbstractContextManager[None]]


@contextmanager
def locked(fleet: Served) -> Iterator[None]:
    """Another process holds the write lock."""
    other = sqlite3.connect(fleet.folder / "data" / "server.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextmanager
def under(fleet: Served, *pragmas: str) -> Iterator[None]:
    """Every connection has these settings meanwhile."""
    database: Database = fleet.server._database

    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()

    database._engine.dispose()
    event.listen(database._engine, "connect", set_up)
    try:
        yield
    finally:
        event.remove(database._engine, "connect", set_up)
        database._engine.dispose()


@contextmanager
def full(fleet: Served) -> Iterator[None]:
    """The file may not grow, and nothing in it is free: SQLITE_FULL, as on a full disk."""
    with sqlite3.connect(fleet.folder / "data" / "server.db") as plain:
        plain.execute("VACUUM")
        (pages,) = plain.execute("PRAGMA page_count").fetchone()
    plain.close()
    with under(fleet, f"max_page_count={pages}"):
        yield


@contextmanager
def read_only(fleet: Served) -> Iterator[None]:
    """Writing is refused as on a read-only file system (SQLITE_READONLY), also to root."""
    with under(fleet, "query_only=ON"):
        yield


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(database_room, "_BUSY_MS", 20)
    with served(tmp_path, tick_s=0.01) as found:
        found.upload("v1", b"one")
        found.upload("v2", b"two")
        found.group()
        yield found


def boards_of(fleet: Served) -> list[Board]:
    return [fleet.enrol(f"pi-{number}") for number in range(2)]


@pytest.mark.parametrize("fault", [locked, full, read_only], ids=lambda fault: fault.__name__)
def test_a_change_is_answered_503_and_nothing_is_sent(fleet: Served, fault: Fault) -> None:
    boards = boards_of(fleet)
    identity = fleet.roll(1, phases=["1", "100%"])
    (name,) = fleet.wire.desired
    board = boards[0] if boards[0].id == name else boards[1]
    before = {(item.device, item.seq) for item in fleet.wire.history}
    with fault(fleet):
        query = ",".join(["key=" + "v" * 50] * 32)
        bodies = [{"name": f"g{number}", "query": query} for number in range(20)]
        answers = [fleet.client.request("POST", "/api/v1/groups", json=body) for body in bodies]
        refused = next(answer for answer in answers if answer.status_code != 201)
        assert refused.status_code == 503, refused.text
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.headers["content-type"] == "application/problem+json"
        board.runtimes |= {"more": "x" * 20_000}  # a report that needs room of its own
        with pytest.raises(UnavailableError):
            board.succeed()
        fleet.generation = -1  # the broker came back meanwhile: all is to be told again
        with suppress(UnavailableError):
            fleet.turn()
        assert fleet.call("GET", f"/rollouts/{identity}")["phase"] == 0  # reading works
        assert {(item.device, item.seq) for item in fleet.wire.history} == before
    board.repeat()  # it waits with the broker meanwhile
    assert fleet.rollout(identity)["phase"] == 1
    for other in boards:
        if other is not board:
            other.succeed()
    assert fleet.rollout(identity)["state"] == "succeeded"


def test_the_controller_pauses_says_so_once_and_resumes_by_itself(fleet: Served) -> None:
    boards = boards_of(fleet)
    with capture_logs() as logs:

        def said(event_name: str) -> int:
            return sum(item["event"] == event_name for item in logs)

        with locked(fleet):
            fleet.server._loop.start()
            wait_until("the controller to pause", lambda: said("controller_paused"), 30)
            assert fleet.wire.history == []
        wait_until("the controller to resume", lambda: said("controller_resumed"), 30)
        assert said("controller_paused") == 1
        assert said("controller_turn_failed") == 0
        fleet.call("POST", "/rollouts", 201, json={"model": "digits", "version": 1, "group": "all", "phases": ["100%"]})
        wait_until("documents", lambda: len(fleet.wire.desired) == len(boards), 30)
    fleet.server.stopping.set()


def test_a_disk_that_takes_no_artifact_is_said_and_leaves_no_version(
    fleet: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ArtifactFolder.put

    def no_room(self: ArtifactFolder, data: bytes) -> str:
        raise UnavailableError("cannot keep an artifact: No space left on device")

    monkeypatch.setattr(ArtifactFolder, "put", no_room)
    with pytest.raises(AssertionError, match="No space left"):
        fleet.upload("v3", b"three")
    monkeypatch.setattr(ArtifactFolder, "put", real)
    assert [item["version"] for item in fleet.call("GET", "/models/digits/versions")["items"]] in ([2, 1], [1, 2])
    assert fleet.upload("v3-again", b"three")["version"] == 3
