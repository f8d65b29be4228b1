"""The database: migrations make the tables as described; a transaction is whole or nothing; files are durable."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import insert, text

import fleet_server.composition  # noqa: F401 - every table
from edge_agent.contract.artifacts import sha256
from fleet_server.store import (
    access,
    artifacts,
    desired,
    groups,
    schema,
)
from fleet_server.store.access import sessions
from fleet_server.store.artifacts import ArtifactFolder, write_durably
from fleet_server.store.database import Database
from fleet_server.store.desired import Work
from fleet_server.store.errors import ConflictError, NotFoundError, UnavailableError
from fleet_server.store.schema import metadata


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.at(tmp_path / "server.db")
    opened.upgrade()
    yield opened
    opened.close()


def test_migrations_make_the_described_tables(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_upgrade_may_be_repeated(database: Database) -> None:
    with database.write() as connection:
        groups.insert_group(connection, groups.Group("kept", "", 0))
    database.upgrade()
    with database.read() as connection:
        assert [group.name for group in groups.all_groups(connection)] == ["kept"]


def test_keys_of_before_there_were_roles_keep_all_rights(tmp_path: Path) -> None:
    database = Database.at(tmp_path / "server.db")
    with database.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        connection.execute(text("INSERT INTO api_keys (id, hash, label, created) VALUES ('key-1', 'h', 'operator', 7)"))
        connection.execute(text("INSERT INTO sessions (hash, created, expires) VALUES ('s', 7, 8)"))
    database.upgrade()
    with database.read() as connection:
        assert access.find_key(connection, "h") == access.ApiKey("key-1", "h", "operator", 7, "admin")
        assert access.find_session(connection, "s") is None  # it belonged to nobody
    database.close()


def test_commits_survive_a_power_cut_by_their_settings(database: Database) -> None:
    with database.read() as connection:
        found = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("journal_mode", "synchronous")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2}


def test_failed_transaction_leaves_nothing(database: Database) -> None:
    def fail_half_way() -> None:
        with database.write() as connection:
            groups.insert_group(connection, groups.Group("half", "", 0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    with database.read() as connection:
        assert groups.all_groups(connection) == ()


def test_one_writer_at_a_time(database: Database) -> None:
    def add(number: int) -> None:
        with database.write() as connection:
            count = len(groups.all_groups(connection))
            groups.insert_group(connection, groups.Group(f"g{count:03}-{number}", "", 0))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        names = [group.name for group in groups.all_groups(connection)]
    assert [name[:4] for name in names] == [f"g{number:03}" for number in range(12)]


def test_broken_rule_is_a_conflict(database: Database) -> None:
    def break_a_key() -> None:
        with database.write() as connection:
            for _ in range(2):
                connection.execute(insert(sessions).values(hash="h", id="s", created=0, seen=0, expires=1, address=""))

    with pytest.raises(ConflictError):
        break_a_key()


def test_finishing_an_old_entry_does_not_take_a_newer_one(database: Database) -> None:
    with database.write() as connection:
        desired.enqueue(connection, "pi-1", Work.PUBLISH, "", 0)
        (old,) = desired.list_outbox(connection)
        desired.enqueue(connection, "pi-1", Work.PUBLISH, "", 1)
        desired.finish_entry(connection, old.n)
        (left,) = desired.list_outbox(connection)
    assert left.created == 1


def test_artifacts_are_named_by_content(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path / "artifacts")
    digest = folder.put(b"chunk")
    assert (digest, folder.read(digest), folder.has(digest)) == (sha256(b"chunk"), b"chunk", True)
    assert folder.put(b"chunk") == digest
    with pytest.raises(NotFoundError):
        folder.read(sha256(b"other"))
    with pytest.raises(ValueError, match="digest"):
        folder.read("../../etc/passwd")


def test_write_is_whole_at_every_instant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever call the power fails in, the file has its old content or all of the new."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    real, calls = os.fsync, []

    def record(handle: int) -> None:
        calls.append(path.read_bytes())
        if len(calls) == 1:
            raise OSError(5, "power cut")
        real(handle)

    monkeypatch.setattr(artifacts.os, "fsync", record)
    with pytest.raises(OSError, match="power cut"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
    write_durably(path, b"new")
    assert calls == [b"old", b"old", b"new"]  # content first, then the name, then the folder


def test_full_disk_is_unavailable(tmp_path: Path) -> None:
    folder = ArtifactFolder(tmp_path / "artifacts")
    (tmp_path / "artifacts" / sha256(b"x")[:2]).write_bytes(b"in the way")
    with pytest.raises(UnavailableError):
        folder.put(b"x")
