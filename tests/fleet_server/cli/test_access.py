"""Keys, users and the audit log from the command line, against the real server over HTTP."""

import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from fleet_server.cli.failures import Exit
from tests.fakes.server_app import Served, served
from tests.fakes.server_http import listening
from tests.fleet_server.cli.conftest import Shell

GOOD = "correct horse battery"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """The real server, and its address."""
    with served(tmp_path_factory.mktemp("cli-access")) as found, listening(found.server.application) as address:
        found.group("north")
        yield found, address


@pytest.fixture
def shell(
    real: tuple[Served, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """The command, talking to it with the key of whoever started it."""
    monkeypatch.setenv("EDGELOOP_URL", real[1])
    monkeypatch.setenv("EDGELOOP_API_KEY", real[0].key)
    monkeypatch.setenv("EDGELOOP_CONTEXT", str(tmp_path / "context.json"))
    return Shell(capsys)


def test_a_key_does_what_its_role_says_until_it_is_revoked(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shell("key create ci --role publisher --group north --model digits --days 30") == 0
    text = shell.out.strip()
    assert shell("key list -o json") == 0
    (made,) = [row for row in shell.json if row["name"] == "ci"]
    assert (made["role"], made["groups"], made["models"], made["author"]) == (
        "publisher",
        ["north"],
        ["digits"],
        "operator",
    )
    assert text not in shell.out
    with monkeypatch.context() as other:
        other.setenv("EDGELOOP_API_KEY", text)
        assert shell("group list") == 0
        assert shell("group create mine") == Exit.CONFIGURATION
        assert "limited to" in shell.err
        assert shell("key list") == Exit.CONFIGURATION
        assert "admin" in shell.err
    assert shell(f"key revoke {made['id']}") == 0
    monkeypatch.setenv("EDGELOOP_API_KEY", text)
    assert shell("group list") == Exit.CONFIGURATION
    assert "revoked" in shell.err


def test_users_come_change_and_go(shell: Shell, real: tuple[Served, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def give(line: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(line + "\n"))

    give(GOOD)
    assert shell("user add anna --role viewer --password-stdin") == 0
    body = {"name": "anna", "password": GOOD}
    assert httpx.post(f"{real[1]}/api/v1/session", json=body, trust_env=False).status_code == 204
    assert shell("user session list -o json") == 0
    assert [(row["user"], row["address"]) for row in shell.json] == [("anna", "127.0.0.1")]
    assert shell("user role anna operator") == 0
    assert shell("user session list -o json") == 0
    assert shell.json == []
    give("another long password")
    assert shell("user passwd anna --password-stdin") == 0
    assert httpx.post(f"{real[1]}/api/v1/session", json=body, trust_env=False).status_code == 403
    assert shell("user list -o json") == 0
    assert [(row["name"], row["role"]) for row in shell.json] == [("anna", "operator")]
    assert shell("user remove anna") == 0
    assert shell("user list") == 0
    assert "user add" in shell.err


def test_a_password_is_no_argument(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert shell("user add bert --role viewer") == Exit.USAGE
    assert "--password-stdin" in shell.err


def test_the_log_is_listed_exported_and_verified(shell: Shell, real: tuple[Served, str], tmp_path: Path) -> None:
    assert shell("audit list --action group_made -o json") == 0
    assert [(row["actor"], row["subject"]) for row in shell.json] == [("operator", "north")]
    file = tmp_path / "audit.jsonl"
    assert shell("audit export", str(file)) == 0
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["n"] for row in rows] == list(range(1, len(rows) + 1))
    assert shell("audit export", str(file)) == Exit.FAILED  # what is there is not written over
    assert shell("audit verify -o json") == 0
    assert shell.json["whole"]
    data = real[0].folder / "data"
    assert shell("audit verify --data-dir", str(data)) == 0
    assert shell("audit verify --data-dir", str(tmp_path)) == Exit.FAILED


def test_an_altered_log_is_unhealthy_and_its_row_is_named(shell: Shell, tmp_path: Path) -> None:
    with served(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "data" / "server.db")) as connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("UPDATE audit SET actor = 'eve' WHERE n = 1")
        connection.commit()
    assert shell("audit verify --data-dir", str(tmp_path / "data")) == Exit.UNHEALTHY
    assert "row 1 was changed" in shell.err


def test_too_often_is_told_with_when_to_come_again(real: tuple[Served, str]) -> None:
    body = {"name": "nobody", "password": "x"}
    with httpx.Client(base_url=real[1], trust_env=False) as http:
        for _ in range(40):
            answer = http.post("/api/v1/session", json=body)
            if answer.status_code != 403:
                break
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert 1 <= int(answer.headers["retry-after"]) <= 300
