"""The device's command: exit codes, and errors that help."""

import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.adapters.identity import Identity, save_identity
from edge_agent.cli import CONFIGURATION, DONE, FAILED, UNHEALTHY, main
from edge_agent.contract.manifest import Runtime
from edge_agent.supervisor.config import AgentConfig, ApiConfig
from edge_agent.supervisor.doctor import Grade, examine


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(f'state_dir = "{tmp_path}"\n[api]\nport = 0\n')
    return path


def test_a_wrong_configuration_is_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "agent.toml"
    path.write_text("colour = 1")
    for command in (["run"], ["status"], ["doctor"]):
        assert main([*command, "--config", str(path)]) == CONFIGURATION
        assert "colour" in capsys.readouterr().err


def test_a_device_without_identity_is_told_to_enrol(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--config", str(config)]) == CONFIGURATION
    assert "edge-agent enroll" in capsys.readouterr().err
    assert main(["status", "--config", str(config)]) == UNHEALTHY
    assert main(["doctor", "--config", str(config)]) == UNHEALTHY
    assert "edge-agent enroll" in capsys.readouterr().out


def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["fly"], ["enroll"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
        assert capsys.readouterr().err


def test_enrolment_needs_a_whole_token_and_keeps_an_identity(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["enroll", "--server", "http://127.0.0.1:9", "--token", "half", "--id", "dev", "--config", str(config)]
    assert main(words) == FAILED
    assert "copy all of it" in capsys.readouterr().err
    save_identity(tmp_path, Identity("dev", "a" * 64, "x", "edgeloop/v1", "127.0.0.1", 1, "x"))
    assert main(words) == FAILED
    assert "--force" in capsys.readouterr().err


def test_the_doctor_finds_what_is_wrong_and_hints(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = AgentConfig(state_dir=str(tmp_path), api=ApiConfig(port=port), runtimes=())
        save_identity(tmp_path, Identity("dev", "a" * 64, "x", "edgeloop/v1", "127.0.0.1", 1, "x"))
        findings = examine(config, 0.0, is_running=False)
        assert all(finding.hint for finding in findings if finding.grade is not Grade.OK)
        bad = " ".join(finding.what for finding in findings if finding.grade is Grade.BAD)
        assert str(port) in bad
        assert "broker 127.0.0.1:1" in bad
        assert "runtime" in bad
        assert any("clock" in finding.what for finding in findings if finding.grade is Grade.WARN)
        assert str(port) not in " ".join(
            finding.what for finding in examine(config, 2e9, is_running=True) if finding.grade is Grade.BAD
        )
    assert main(["doctor", "--config", "/nowhere.toml"]) == CONFIGURATION
    assert DONE == 0


def test_the_doctor_names_a_runtime_that_is_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of its folder where it would be imported from, as the agent reports it."""
    config = AgentConfig(state_dir=str(tmp_path), runtimes=(Runtime.ONNX,))
    for version, bad in (("1.26.0", 1), ("1.25.1", 0)):
        site = tmp_path / version
        (site / f"onnxruntime-{version}.dist-info").mkdir(parents=True)
        monkeypatch.setattr("sys.path", [str(site), *sys.path])
        found = [finding for finding in examine(config, 2e9, is_running=True) if "is denied" in finding.what]
        assert [(finding.grade, bool(finding.hint)) for finding in found] == [(Grade.BAD, True)] * bad


def test_the_doctor_says_how_the_certificate_stands(tmp_path: Path) -> None:
    day_s, config = 86_400, AgentConfig(state_dir=str(tmp_path), runtimes=())
    held = Identity("dev", "a" * 64, "x", "edgeloop/v1", "127.0.0.1", 1)

    def told(identity: Identity, day: int) -> list[Grade]:
        save_identity(tmp_path, identity)
        findings = examine(config, day * day_s, is_running=True)
        return [finding.grade for finding in findings if "certificate" in finding.what]

    assert told(held, 1) == [Grade.WARN]
    with_file = replace(held, tls_file="tls-1.pem", renew_at=40 * day_s, expires=60 * day_s)
    assert [told(with_file, day) for day in (39, 41, 61)] == [[Grade.OK], [Grade.WARN], [Grade.BAD]]
    assert told(replace(held, broker_password="x"), 1) == []
