"""A device's identity from its first request to its end, with the real commands: server, Mosquitto, agent."""

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.adapters.identity import load_identity, save_identity
from fleet_server.cli.demo.stage import Agent, Server, wait_until

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server.at(tmp_path / "server", broker="mosquitto")
    found.process.command.append("--approve-devices")
    found.start()
    yield found
    found.close()
    found.process.stop()


def enroll(agent: Agent, server: Server, *more: str) -> "subprocess.Popen[str]":
    agent.write_config()
    token = server.ask("POST", "/tokens", json={})["token"]
    command = [sys.executable, "-m", "edge_agent", "enroll", "--config", str(agent.config), "--server", server.url]
    command += ["--token", token, "--id", agent.device, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def standing(server: Server) -> str:
    found = {item["id"]: item["standing"] for item in server.items("/devices")}
    return str(found.get("board", ""))


def test_a_board_is_approved_comes_in_renews_is_revoked_and_comes_back_with_new_keys(
    server: Server, tmp_path: Path
) -> None:
    agent = Agent("board", "pi4", tmp_path / "board", ("onnx",))
    with enroll(agent, server, "--wait") as waiting:
        wait_until("the board to wait", lambda: standing(server) == "pending", 60)
        assert load_identity(agent.state).tls_file == ""
        server.ask("POST", "/devices/board/approve")
        said, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, said
    first = load_identity(agent.state)
    assert (first.broker_password, bool(first.tls_file)) == (None, True)
    assert (agent.state / first.tls_file).stat().st_mode & 0o777 == 0o600

    # Due from the start: it comes in with the first certificate, and again with the next.
    save_identity(agent.state, replace(first, renew_at=0))
    try:
        agent.start()
        renewed = wait_until("the next certificate", lambda: _next(agent, first.tls_file), 60)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(agent.state / renewed)
        wait_until("the new connection", lambda: "broker_connected link=2" in agent.process.tail(), 60)
        wait_until("its report", lambda: server.ask("GET", "/devices/board")["presence"] == "ready", 60)

        server.ask("POST", "/devices/board/revoke")
        agent.wait("to be put out", lambda status: not status["broker_connected"], 30)
        command = [sys.executable, "-m", "edge_agent", "renew", "--config", str(agent.config)]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (asked.returncode, "revoked" in asked.stderr) == (1, True), asked.stderr
    finally:
        agent.process.stop()
    assert not agent.status()["broker_connected"]

    with enroll(agent, server, "--force", "--wait") as waiting:
        wait_until("the board to wait again", lambda: standing(server) == "pending", 60)
        server.ask("POST", "/devices/board/approve")
        said, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, said
    assert load_identity(agent.state).seed != first.seed
    try:
        agent.start()
        wait_until("its report", lambda: server.ask("GET", "/devices/board")["presence"] == "ready", 60)
    finally:
        agent.process.stop()
    codes = [item["code"] for item in server.items("/events", device="board") if item["source"] == "server"]
    expected = ["device_enrolled", "device_approved", "device_revoked", "device_enrolled", "device_approved"]
    assert [code for code in reversed(codes) if code in expected] == expected
    assert "password" not in json.dumps(server.ask("GET", "/devices/board"))


def _next(agent: Agent, before: str) -> str:
    name = load_identity(agent.state).tls_file
    return name if name != before and not (agent.state / before).exists() else ""
