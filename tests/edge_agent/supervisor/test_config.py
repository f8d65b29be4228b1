"""The agent's configuration: defaults, every key, and errors that name the key."""

from pathlib import Path

import pytest

from edge_agent.contract.manifest import Runtime
from edge_agent.supervisor.config import AgentConfig, ConfigError, load_config, worker_memory_mb


def test_without_a_file_the_defaults_hold() -> None:
    config = AgentConfig()
    assert (config.api.port, config.state_dir, config.profile) == (8080, "/var/lib/edgeloop", "")
    assert config.socket_path == Path("/var/lib/edgeloop/api.sock")


def test_every_key_is_read(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(
        'profile = "pi4"\nsimulated = true\nstate_dir = "/tmp/x"\nruntimes = ["numpy"]\n'
        '[api]\nhost = "::1"\nport = 0\nsocket = "/run/e.sock"\nmax_body_kib = 1\nmax_connections = 2\n'
        "[mqtt]\nkeepalive_s = 10\nsession_expiry_s = 0\nconnect_timeout_s = 1\nreconnect_max_s = 2\n"
        "[fetch]\nwindow = 4\nchunk_timeout_s = 1\ntimeout_s = 2\nmax_rate_kib_s = 3\n"
        "[worker]\nthreads = 2\nmemory_mb = 100\nhang_s = 3\nload_timeout_s = 4\n"
        '[telemetry]\nspool_mb = 2\nbeat_s = 0.5\n[log]\nlevel = "debug"\n'
    )
    config = load_config(path)
    assert config.runtimes == (Runtime.NUMPY,)
    assert (config.fetch.window, config.fetch.max_rate_kib_s) == (4, 3.0)
    assert (config.worker.memory_mb, config.worker.hang_s, config.log.level) == (100.0, 3.0, "debug")
    assert config.socket_path == Path("/run/e.sock")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("colour = 1", "colour"),
        ("[api]\nports = 1", "ports"),
        ("[api]\nport = 70000", "port"),
        ('[api]\nport = "80"', "port"),
        ("[fetch]\nwindow = 0", "window"),
        ("[worker]\nmemory_mb = 1", "memory_mb"),
        ('runtimes = ["torch"]', "runtimes"),
        ('[log]\nlevel = "loud"', "level"),
        ("[telemetry]\nbeat_s = 0", "beat_s"),
        ("[mqtt]\nkeepalive_s = 1", "keepalive_s"),
        (f'state_dir = "/{"x" * 120}"', "api.socket"),
        ("not toml", "agent.toml"),
    ],
)
def test_errors_name_the_key(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_config(path)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("profile", "written", "limit"),
    [("pi-zero2w", "", 192.0), ("pi-zero2w", "[worker]\nmemory_mb = 100", 100.0), ("of-our-own", "", 512.0)],
)
def test_a_worker_gets_what_its_board_can_carry(profile: str, written: str, limit: float, tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(written)
    assert worker_memory_mb(load_config(tmp_path / "agent.toml"), profile) == limit
