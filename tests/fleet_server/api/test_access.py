"""A code opens one session, once; secrets are kept by hash; answers carry what keeps a browser safe."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_server.services.clock import iso
from tests.fakes.server_app import Served, served


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("access")) as found:
        yield found


def test_sign_in_link_works_once_and_opens_a_session(fleet: Served) -> None:
    made = fleet.call("POST", "/signin-codes", 201)
    path = made["url"].removeprefix("http://testserver")
    answer = fleet.client.request("GET", path, headers={"Authorization": ""})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
    session = {"Authorization": "", "Cookie": cookie.split(";")[0]}
    assert fleet.client.request("GET", "/api/v1/fleet", headers=session).status_code == 200
    assert fleet.client.request("GET", path, headers={"Authorization": ""}).status_code == 403
    body = {"name": "mine", "query": ""}
    foreign = session | {"Origin": "http://127.0.0.1:9999"}
    assert fleet.client.request("POST", "/api/v1/groups", headers=foreign, json=body).status_code == 403
    own = session | {"Origin": "http://testserver"}
    assert fleet.client.request("POST", "/api/v1/groups", headers=own, json=body).status_code == 201


def test_session_and_code_expire(tmp_path: Path) -> None:
    with served(tmp_path) as fleet:
        auth = fleet.server.context.auth
        late, used = (fleet.server.sign_in_code(fleet.key) for _ in range(2))
        session = auth.open_session(used)
        fleet.clock.pass_s(16 * 60)
        assert fleet.client.request("GET", f"/signin?code={late}").status_code == 403
        for _ in range(15):  # used twice a day it lives on, but not over seven days
            fleet.clock.pass_s(11 * 3600)
            assert auth.check_session(session) is not None
        fleet.clock.pass_s(11 * 3600)
        assert auth.check_session(session) is None


def test_unused_session_ends(tmp_path: Path) -> None:
    with served(tmp_path) as fleet:
        auth = fleet.server.context.auth
        session = auth.open_session(fleet.server.sign_in_code(fleet.key))
        fleet.clock.pass_s(12 * 3600 - 1)
        assert auth.check_session(session) is not None
        fleet.clock.pass_s(12 * 3600)
        assert auth.check_session(session) is None


def test_last_uses_are_saved_and_outlive_a_restart(tmp_path: Path) -> None:
    with served(tmp_path) as fleet:
        session = fleet.server.context.auth.open_session(fleet.server.sign_in_code(fleet.key))
        fleet.clock.pass_s(11 * 3600)
        assert fleet.server.context.auth.check_session(session) is not None
        fleet.call("GET", "/fleet")
        fleet.turn()
        (key,) = fleet.call("GET", "/keys")["items"]
        assert key["used"] == iso(fleet.clock.ms)
        later = fleet.clock.ms + 11 * 3600 * 1000
    with served(tmp_path) as fleet:
        fleet.clock.ms = later
        assert fleet.server.context.auth.check_session(session) is not None


def test_secrets_are_stored_by_hash(fleet: Served) -> None:
    code = fleet.server.sign_in_code(fleet.key)
    data = b"".join(path.read_bytes() for path in (fleet.folder / "data").glob("server.db*"))
    assert fleet.key.encode() not in data
    assert code.encode() not in data


def test_keys_are_for_the_owner_alone(fleet: Served) -> None:
    data = fleet.folder / "data"
    for path in (data / "keys" / "server-key.pem", data / "keys" / "ca-key.pem", data / "server.db"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_held_key_is_kept_and_a_strangers_replaced(fleet: Served) -> None:
    assert fleet.server.operator_key(fleet.key) == (fleet.key, False)
    made, new = fleet.server.operator_key("ek_strange")
    assert new
    assert fleet.server.context.auth.check_key(made) is not None


@pytest.mark.parametrize("path", ["/", "/docs", "/api/v1/fleet", "/static/app.js", "/nothing"])
def test_answers_carry_security_headers(fleet: Served, path: str) -> None:
    answer = fleet.client.request("GET", path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert ("unsafe-inline" in policy) == (path == "/docs")


def test_pages_name_nothing_from_elsewhere(fleet: Served) -> None:
    for path in ("/", "/docs"):
        page = fleet.client.request("GET", path).text
        linked = re.findall(r'(?:src|href)="([^"#]+)"', page)
        assert linked
        for link in linked:
            assert link.startswith("/"), link
            assert fleet.client.request("GET", link).status_code == 200, link


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/__init__.py", "/docs/../__init__.py"])
def test_plain_files_do_not_lead_out(fleet: Served, path: str) -> None:
    answer = fleet.client.request("GET", path)
    assert answer.status_code == 404
