"""The server as it is started: over a real Mosquitto, with its loops, its stream, its lock and its end."""

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from fleet_server.app import serve
from fleet_server.config import ReadyInfo, ServerConfig, SetupError
from tests.fakes.certificates import csr_pem

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("mosquitto", path="/usr/sbin:/usr/bin") is None, reason="Mosquitto is missing"),
]


@contextmanager
def running(config: ServerConfig) -> Iterator[ReadyInfo]:
    stop, ready, told, ended = threading.Event(), threading.Event(), [], []

    def run() -> None:
        try:
            ended.append(serve(config, lambda info: (told.append(info), ready.set()), stop))
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(60)
        yield told[0]
    finally:
        stop.set()
        thread.join(30)
    assert ended == [0]


@pytest.fixture
def config(tmp_path: Path) -> ServerConfig:
    return ServerConfig(data_dir=tmp_path / "data", port=0, broker="mosquitto")


def test_starts_answers_streams_and_ends(config: ServerConfig) -> None:
    with running(config) as info:
        with httpx.Client(base_url=info.url, headers={"Authorization": f"Bearer {info.api_key}"}) as client:
            assert client.get("/healthz").json() == {"status": "ok"}
            with client.stream("GET", "/api/v1/stream", timeout=20) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                lines = answer.iter_lines()
                assert next(lines) == "event: fleet"
                first = json.loads(next(lines).removeprefix("data: "))
                assert first["devices"] == 0
                client.post("/api/v1/models/none/builds")  # refused: announces nothing
                token = client.post("/api/v1/tokens", json={}).json()["token"]
                body = {
                    "token": token,
                    "device": "pi-1",
                    "public_key": "ab" * 32,
                    "csr": csr_pem("pi-1"),
                    "capabilities": {
                        "arch": "aarch64",
                        "cores": 4,
                        "memory_mb": 1000,
                        "memory_free_mb": 900,
                        "disk_free_mb": 900,
                        "runtimes": {"onnx": "1.23"},
                        "python": "3.11",
                        "agent": "0.1.0",
                        "profile": "pi4",
                    },
                }
                assert client.post("/api/v1/enrol", json=body).status_code == 200
                kinds = {line for line in _until(lines, "device_enrolled") if line.startswith("event:")}
                assert "event: event" in kinds
            page = httpx.get(info.signin_url, follow_redirects=True)
            assert page.status_code == 200
            assert "Edgeloop" in page.text
        with pytest.raises(SetupError, match="another server"):
            serve(config, lambda _info: None, threading.Event())


def _until(lines: Iterator[str], text: str) -> Iterator[str]:
    for line in lines:
        yield line
        if text in line:
            return


def test_second_start_keeps_keys_and_the_operators_key(config: ServerConfig) -> None:
    with running(config) as first:
        pass
    again = ServerConfig(data_dir=config.data_dir, port=0, broker="mosquitto", api_key=first.api_key)
    with running(again) as second:
        assert second.api_key == first.api_key
        assert second.broker_port == first.broker_port  # the one that devices were told
        assert (first.new_api_key, second.new_api_key) == (True, False)
        assert httpx.get(first.signin_url.replace(first.url, second.url)).status_code in (303, 200)


def test_beyond_loopback_speaks_tls_by_the_fleets_own_authority(tmp_path: Path) -> None:
    import hashlib
    import ssl

    config = ServerConfig(data_dir=tmp_path / "data", host="0.0.0.0", port=0, names=("localhost",), broker="mosquitto")
    with running(config) as info:
        assert info.url.startswith("https://localhost:")
        assert info.ca_path is not None
        trust = ssl.create_default_context(cafile=info.ca_path)
        with httpx.Client(
            base_url=info.url, verify=trust, headers={"Authorization": f"Bearer {info.api_key}"}
        ) as client:
            pem = client.get("/ca.pem").text
            token = client.post("/api/v1/tokens", json={}).json()["token"]
            cookie = client.get(info.signin_url.removeprefix(info.url)).headers["set-cookie"]
        assert token.partition(".")[2] == hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
        assert "Secure" in cookie


def test_taken_port_of_the_broker_is_said_in_words(config: ServerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(config) as first:
        pass
    monkeypatch.setattr("fleet_server.broker.child._LEAVE_S", 0.2)
    with (
        socket.create_server(("127.0.0.1", first.broker_port)),
        pytest.raises(SetupError, match=f"port {first.broker_port}"),
    ):
        serve(config, lambda _info: None, threading.Event())


def test_unusable_settings_are_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no broker"):
        serve(ServerConfig(data_dir=tmp_path, port=0, broker="made-up"), lambda _info: None, threading.Event())
