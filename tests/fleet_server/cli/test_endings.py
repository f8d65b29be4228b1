"""How a command ends when it cannot do its work: what, why, one command that helps, and an exit code."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fleet_server.builds.sandbox import find_bubblewrap
from fleet_server.cli.context import Context, context_path, load_context, save_context
from fleet_server.cli.failures import CommandError, Exit
from tests.fakes.web_api import KEY
from tests.fakes.web_routes import FakeFleet
from tests.fleet_server.cli.conftest import Shell


def test_without_a_server_it_says_how_to_start_one(lonely: Shell) -> None:
    assert lonely("device list") == Exit.CONFIGURATION
    assert "no server is known" in lonely.err
    assert "try: edgeloop up" in lonely.err


def test_a_server_that_is_gone_is_a_failure_with_the_way_back(lonely: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("EDGELOOP_URL", f"http://127.0.0.1:{port}")
    assert lonely("device list") == Exit.FAILED
    assert f"the server at http://127.0.0.1:{port} cannot be reached" in lonely.err
    assert "try: edgeloop up" in lonely.err


def test_a_wrong_key_is_a_matter_of_configuration(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_API_KEY", "wrong")
    assert shell("device list") == Exit.CONFIGURATION
    assert "not signed in" in shell.err
    assert "EDGELOOP_API_KEY" in shell.err


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("device show nobody", "edgeloop device list"),
        ("model show nothing", "edgeloop model list"),
        ("group show nobody", "edgeloop group list"),
        ("rollout show none", "edgeloop rollout list"),
        ("rollout start digits 99 --group all", "edgeloop rollout list"),
        ("operations none", "edgeloop operations"),
    ],
)
def test_what_is_not_there_leads_to_its_list(shell: Shell, command: str, hint: str) -> None:
    assert shell(command) == Exit.FAILED
    assert shell.out == ""
    assert f"try: {hint}" in shell.err


def test_a_conflict_says_why(shell: Shell) -> None:
    assert shell("rollout pause r1") == Exit.FAILED
    assert "it is succeeded already" in shell.err


@pytest.mark.parametrize(
    "command", ["nope", "device nope", "model show", "rollout start digits two --group all", "device list -o yaml"]
)
def test_wrong_usage_leaves_2_and_names_the_help(shell: Shell, command: str) -> None:
    assert shell(command) == Exit.USAGE
    assert "--help" in shell.err
    assert shell.out == ""


def test_the_doctor_is_content_with_a_well_set_up_machine(shell: Shell) -> None:
    assert shell("doctor -o json") == Exit.DONE
    found = {row["name"]: row["verdict"] for row in shell.json}
    assert found["server"] == found["context"] == found["tls"] == found["broker"] == "ok"
    assert shell("doctor") == Exit.DONE
    assert "3 of 4 devices online" in shell.out


def test_the_doctor_finds_what_is_wrong_and_leaves_3(lonely: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_MOSQUITTO", "/nowhere/mosquitto")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert lonely(f"doctor --port {port} -o json") == Exit.UNHEALTHY
    found = {row["name"]: row for row in lonely.json}
    assert found["context"]["verdict"] == found["port"]["verdict"] == "bad"
    assert found["context"]["hint"] == "edgeloop up"
    assert found["mosquitto"]["verdict"] == "note"
    assert lonely("doctor --host 0.0.0.0 -o json") == Exit.UNHEALTHY
    assert {row["name"]: row["verdict"] for row in lonely.json}["mosquitto"] == "bad"


def test_the_doctor_says_what_becomes_of_uploads_without_bubblewrap(
    lonely: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGELOOP_BWRAP", "/nowhere/bwrap")
    find_bubblewrap.cache_clear()
    try:
        for host, verdict, words in (("127.0.0.1", "note", "limits alone"), ("0.0.0.0", "bad", "builds no uploads")):
            lonely(f"doctor --host {host} -o json")
            found = {row["name"]: row for row in lonely.json}["bubblewrap"]
            assert (found["verdict"], found["hint"]) == (verdict, "apt-get install bubblewrap")
            assert words in found["found"]
    finally:
        find_bubblewrap.cache_clear()


def test_the_doctor_sees_a_server_that_lost_its_broker(shell: Shell, fleet: FakeFleet) -> None:
    fleet.connected = False
    assert shell("doctor -o json") == Exit.UNHEALTHY
    assert {row["name"]: row["verdict"] for row in shell.json}["broker"] == "bad"


def test_the_doctor_calls_plain_http_beyond_loopback_bad(lonely: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELOOP_URL", "http://192.0.2.1.invalid:1")
    assert lonely("doctor -o json") == Exit.UNHEALTHY
    assert {row["name"]: row["verdict"] for row in lonely.json}["tls"] == "bad"


def test_a_context_is_for_its_owner_and_variables_overrule_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "context.json"
    save_context(path, Context("http://127.0.0.1:1/", "k1"))
    assert path.stat().st_mode & 0o777 == 0o600
    environment = {"EDGELOOP_CONTEXT": str(path)}
    assert load_context(environment) == Context("http://127.0.0.1:1", "k1")
    assert load_context({**environment, "EDGELOOP_URL": "http://h:2"}) == Context("http://h:2", "k1")
    assert load_context({**environment, "EDGELOOP_API_KEY": "k2"}).api_key == "k2"
    assert context_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/edgeloop/context.json")


@pytest.mark.parametrize("text", ["", "[]", '{"url": 3, "api_key": "k"}', '{"url": "u", "api_key": "k", "more": 1}'])
def test_a_broken_context_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "context.json"
    path.write_text(text)
    with pytest.raises(CommandError) as caught:
        load_context({"EDGELOOP_CONTEXT": str(path)})
    assert caught.value.code == Exit.CONFIGURATION
    assert str(path) in caught.value.what


@pytest.mark.system
def test_the_command_as_a_process_leaves_the_exit_code(url: str, tmp_path: Path) -> None:
    environment = {**os.environ, "EDGELOOP_URL": url, "EDGELOOP_API_KEY": KEY}
    command = [sys.executable, "-m", "fleet_server.cli", "rollout", "watch", "r3"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert found.returncode == Exit.FAILED
    assert "halted" in found.stderr


def test_help_needs_nothing_heavy() -> None:
    """The help of the whole tree imports neither the HTTP client nor the server."""
    code = (
        "import sys; from fleet_server.cli.app import run; run(['--help'])\n"
        "print(sorted({'httpx', 'fastapi', 'sqlalchemy', 'numpy', 'uvicorn'} & set(sys.modules)), file=sys.stderr)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert found.stderr.strip() == "[]"
    assert "rollout" in found.stdout
