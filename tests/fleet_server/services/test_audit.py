"""The audit log of a whole server: what is recorded, that the database refuses changes, and what is found of others."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from fleet_server.core.audit_chain import GENESIS, ChainVerdict, Checkpoint, hash_row
from fleet_server.core.permissions import Role
from fleet_server.services.api_keys import KeyRequest
from fleet_server.services.audit import verify_folder
from fleet_server.services.keys import load_signing_key
from fleet_server.store.audit import AuditFilter
from fleet_server.store.checkpoints import CheckpointFile, SignedCheckpoint
from fleet_server.store.errors import ConflictError
from fleet_server.store.pages import PageRequest
from tests.fakes.server_app import Served, served

# What a new server records of itself: its online keys, the keys to try out with, and the operator's key.
OWN = 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a server that ended well, with a checkpoint after each of its rows from the fourth on."""
    place = tmp_path_factory.mktemp("audited")
    with served(place) as fleet:
        for number in range(8):
            fleet.group(f"g{number}")
            if number > 1:
                fleet.server.context.audit.checkpoint(at_once=True)
    return place / "data"


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of it to do harm to."""
    shutil.copytree(folder, tmp_path / "data")
    return tmp_path / "data"


def strike(data: Path, *statements: str) -> ChainVerdict:
    """What is found after somebody with the file in hand has taken the triggers off and done this."""
    with closing(sqlite3.connect(data / "server.db")) as connection:
        for name in ("audit_no_update", "audit_no_delete", "audit_no_replace"):
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return verify_folder(data)


def test_an_untouched_log_is_whole_and_proven_to_its_end(copy: Path) -> None:
    verdict = verify_folder(copy)
    assert verdict == ChainVerdict(OWN + 8, OWN + 8)


@pytest.mark.parametrize(
    ("harm", "bad"),
    [
        (["UPDATE audit SET actor = 'eve' WHERE n = 5"], 5),
        (["UPDATE audit SET detail = 'no json' WHERE n = 5"], 5),
        (["DELETE FROM audit WHERE n = 5"], 5),
        (["DELETE FROM audit WHERE n = 5", "UPDATE audit SET n = n - 1 WHERE n > 5"], 5),
        (["INSERT INTO audit SELECT 16, at, 'eve', action, subject, detail, hash FROM audit WHERE n = 15"], OWN + 9),
        ([f"UPDATE audit SET n = {new} WHERE n = {old}" for old, new in ((4, -1), (5, 4), (-1, 5))], 4),
        (["DELETE FROM audit WHERE n > 12"], 13),
        (["DELETE FROM audit"], 1),
    ],
)
def test_harm_is_found_at_its_row(copy: Path, harm: list[str], bad: int) -> None:
    assert strike(copy, *harm).bad_row == bad


def test_a_log_with_every_hash_made_anew_is_found(copy: Path) -> None:
    with closing(sqlite3.connect(copy / "server.db")) as connection:
        rows = connection.execute("SELECT n, at, actor, action, subject, detail FROM audit ORDER BY n").fetchall()
    before, harm = GENESIS, []
    for n, at, actor, *rest in rows:
        name = "eve" if n == 12 else actor
        before = hash_row(before, n, at, name, *rest)
        harm.append(f"UPDATE audit SET actor = '{name}', hash = '{before}' WHERE n = {n}")
    assert strike(copy, *harm).bad_row == 12


def spoil(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def act(data: Path) -> None:
        file = data / "audit" / "checkpoints.jsonl"
        file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))

    return act


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (lambda data: (data / "audit" / "checkpoints.jsonl").unlink(), "missing"),
        (spoil(lambda lines: lines[1:]), "beginning"),
        (spoil(lambda lines: [lines[0], b"{}\n", *lines[1:]]), "line 2"),
        (spoil(lambda lines: [*lines[:-1], lines[-1].replace(b'"n":15', b'"n":14')]), "not signed"),
        (spoil(lambda lines: [*lines[:-1], lines[-1].replace(b'"signature":"', b'"signature":"00')]), "not signed"),
    ],
)
def test_harm_to_the_checkpoints_is_found(copy: Path, harm: Callable[[Path], None], word: str) -> None:
    harm(copy)
    verdict = verify_folder(copy)
    assert not verdict.whole
    assert word in verdict.reason


def test_another_servers_key_signs_nothing_here(copy: Path, tmp_path: Path) -> None:
    (copy / "keys" / "server-key.pem").unlink()
    load_signing_key(copy / "keys")
    assert "not signed by this server" in verify_folder(copy).reason


def test_a_checkpoint_that_a_power_cut_tore_is_no_evidence_and_is_mended(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "audit")
    first, second = (SignedCheckpoint(Checkpoint(n, "ab" * 32, n), "k", "cd") for n in (1, 2))
    file.append(first)
    whole = file.path.read_bytes()
    file.append(second)
    both = file.path.read_bytes()
    for cut in range(len(whole), len(both)):
        file.path.write_bytes(both[:cut])
        assert file.read() == (first,)
        file.append(second)
        assert file.path.read_bytes() == both


def test_a_checkpoint_is_on_disk_when_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, synced = os.fsync, []

    def record(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real(handle)

    monkeypatch.setattr(os, "fsync", record)
    file = CheckpointFile(tmp_path / "audit")
    for _ in range(2):
        file.append(SignedCheckpoint(Checkpoint(1, "ab" * 32, 1), "k", "cd"))
    assert synced == [str(file.path), str(file.path.parent), str(file.path)]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("audit")) as found:
        yield found


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'eve' WHERE n = 1",
        "DELETE FROM audit WHERE n = 1",
        "REPLACE INTO audit SELECT n, at, 'eve', action, subject, detail, hash FROM audit WHERE n = 1",
        "INSERT OR REPLACE INTO audit SELECT n, at, 'eve', action, subject, detail, hash FROM audit WHERE n = 1",
    ],
)
def test_the_database_refuses_to_change_a_row(fleet: Served, statement: str) -> None:
    database = fleet.server.context.audit._database
    with pytest.raises(ConflictError, match="only added to"), database.write() as connection:
        connection.execute(text(statement))
    assert fleet.server.context.audit.verify().whole


def test_what_fails_is_not_recorded(fleet: Served) -> None:
    fleet.group("twice")
    count = fleet.server.context.audit.verify().rows
    fleet.call("POST", "/groups", 409, json={"name": "twice", "query": ""})
    assert fleet.server.context.audit.verify().rows == count


def test_everything_that_matters_is_recorded_with_who_did_it(tmp_path: Path) -> None:
    with served(tmp_path) as fleet:
        context = fleet.server.context
        token = fleet.token(uses=2)
        boards = [fleet.enrol(name, token) for name in ("pi-1", "pi-2")]
        fleet.call("PATCH", "/devices/pi-1", json={"labels": {"site": "north"}})
        fleet.group()
        fleet.upload("v1", b"one")
        rollout = fleet.roll(1, phases=["1", "2"])
        for verb in ("pause", "resume"):
            fleet.call("POST", f"/rollouts/{rollout}/{verb}")
        next(board for board in boards if board.id in fleet.wire.desired).succeed()
        fleet.call("POST", f"/rollouts/{rollout}/abort")
        fleet.call("DELETE", "/devices/pi-2", 204)
        fleet.call("DELETE", f"/tokens/{fleet.call('GET', '/tokens')['items'][0]['id']}", 204)
        fleet.call("POST", "/groups", 201, json={"name": "gone", "query": ""})
        fleet.call("DELETE", "/groups/gone", 204)
        made, _ = context.api_keys.make(KeyRequest("dash", Role.VIEWER), "operator")
        fleet.call("DELETE", f"/keys/{made.id}", 204)
        rows = context.audit.list_audit(PageRequest(limit=1000), AuditFilter(), newest_first=False).items
        told = [(row.actor, row.action, row.subject) for row in rows]
        expected = [
            ("device:pi-1", "device_enrolled", "pi-1"),
            ("operator", "device_labelled", "pi-1"),
            ("operator", "group_made", "all"),
            ("operator", "version_registered", "digits@1"),
            ("operator", "decided_start", rollout),
            ("operator", "decided_pause", rollout),
            ("operator", "decided_resume", rollout),
            ("operator", "decided_abort", rollout),
            ("operator", "device_removed", "pi-2"),
            ("operator", "group_removed", "gone"),
            ("operator", "key_made", made.id),
            ("operator", "key_revoked", made.id),
        ]
        assert [item for item in told if item in expected] == expected
        assert {action for _, action, _ in told} >= {"token_made", "token_revoked"}
        assert {actor for actor, action, _ in told if action == "decided_advance"} <= {"controller"}
        assert told[:2] == [("server", "online_key_made", name) for name in ("image", "director")]
        assert context.audit.verify().whole
        for row in rows:
            assert not any(secret in row.detail for secret in (token, fleet.key))
            json.loads(row.detail)


def test_checkpoints_come_with_rows_and_with_time(tmp_path: Path) -> None:
    with served(tmp_path) as fleet:
        file = CheckpointFile(tmp_path / "data" / "audit")
        assert [item.checkpoint.n for item in file.read()] == [0]
        fleet.turn()
        assert len(file.read()) == 1
        fleet.clock.pass_s(61)
        fleet.turn()
        assert [item.checkpoint.n for item in file.read()] == [0, OWN]
        fleet.clock.pass_s(61)
        fleet.turn()
        assert len(file.read()) == 2  # nothing new, nothing to prove
        token = fleet.token(uses=150)
        for number in range(99):
            fleet.enrol(f"pi-{number}", token)
        fleet.turn()
        assert [item.checkpoint.n for item in file.read()] == [0, OWN, OWN + 100]


def test_a_server_that_starts_again_goes_on_with_the_same_log(tmp_path: Path) -> None:
    for _ in range(2):
        with served(tmp_path):
            pass
    verdict = verify_folder(tmp_path / "data")
    assert (verdict.whole, verdict.rows, verdict.proven) == (True, OWN + 1, OWN + 1)
