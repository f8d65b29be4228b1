"""The agent's configuration: one TOML file, read once, into frozen types; unknown keys are errors that name the key."""

import importlib.util
import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from edge_agent.contract import codec
from edge_agent.contract.manifest import Runtime
from edge_agent.contract.profile import Profile
from edge_agent.core.control import SNAPSHOT_S

_GENERIC_PROFILE = "generic"
_FALLBACK_MEMORY_MB = 512.0
DEFAULT_PATH = Path("/etc/edgeloop/agent.toml")
_MAX_SOCKET_PATH = 107  # sun_path of unix(7), without its closing zero


class ConfigError(Exception):
    """The configuration cannot be used; the message names the file, the key and what is expected."""


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """The local API: loopback TCP (port 0: any free one) and a Unix socket (default `<state_dir>/api.sock`)."""

    host: str = "127.0.0.1"
    port: int = 8080
    socket: str = ""
    max_body_kib: int = 1024
    max_connections: int = 64

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError("port is within 0..65535; 0 means any free port")
        if self.max_body_kib < 1 or self.max_connections < 1:
            raise ValueError("max_body_kib and max_connections are 1 at least")


@dataclass(frozen=True, slots=True)
class MqttConfig:
    """The session with the broker; where the broker is comes from enrolment."""

    keepalive_s: int = 30
    session_expiry_s: int = 86_400
    connect_timeout_s: float = 10.0
    reconnect_max_s: float = 30.0

    def __post_init__(self) -> None:
        if not 5 <= self.keepalive_s <= 65535 or not 0 <= self.session_expiry_s < 2**32:
            raise ValueError("keepalive_s is within 5..65535 and session_expiry_s within 0..4294967295")
        if self.connect_timeout_s <= 0 or self.reconnect_max_s <= 0:
            raise ValueError("connect_timeout_s and reconnect_max_s are above 0")


@dataclass(frozen=True, slots=True)
class FetchConfig:
    """Downloads: chunks asked for at once, patience for one and for all, and a limit of speed (0: none)."""

    window: int = 16
    chunk_timeout_s: float = 5.0
    timeout_s: float = 900.0
    max_rate_kib_s: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.window <= 64:
            raise ValueError("window is within 1..64")
        if self.chunk_timeout_s <= 0 or self.timeout_s <= 0 or self.max_rate_kib_s < 0:
            raise ValueError("times are above 0, and max_rate_kib_s is 0 (no limit) or above")


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """The worker: threads of a runtime, data memory (RLIMIT_DATA, MiB), patience with silence and with loading.

    Without `memory_mb` (0) it is what the profile of the board gives a worker.
    """

    threads: int = 1
    memory_mb: float = 0.0
    hang_s: float = 30.0
    load_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        if self.threads < 1 or (self.memory_mb < 64 and self.memory_mb != 0):
            raise ValueError("threads is 1 at least, memory_mb 64 at least, or 0 for what the profile says")
        if self.hang_s <= 0 or self.load_timeout_s <= 0:
            raise ValueError("hang_s and load_timeout_s are above 0")


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    """Telemetry: the cap of the spool, how often the worker gives its counts, the rate of what was kept while away.

    A window under way is kept every `snapshot_s`. With `feedback` rows whose truth came back may be sent to the
    server, as many as it asks for.
    """

    spool_mb: float = 16.0
    beat_s: float = 1.0
    backfill_per_s: float = 2.0
    snapshot_s: float = SNAPSHOT_S
    feedback: bool = False

    def __post_init__(self) -> None:
        if self.spool_mb < 1 or min(self.beat_s, self.backfill_per_s, self.snapshot_s) <= 0:
            raise ValueError("spool_mb is 1 at least, beat_s, backfill_per_s and snapshot_s above 0")


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Logging to standard error."""

    level: LogLevel = LogLevel.INFO


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Every key of agent.toml; an empty `profile` means to detect it."""

    profile: str = ""
    simulated: bool = False
    state_dir: str = "/var/lib/edgeloop"
    runtimes: tuple[Runtime, ...] = (Runtime.ONNX, Runtime.TFLITE, Runtime.NUMPY)
    api: ApiConfig = field(default_factory=ApiConfig)
    mqtt: MqttConfig = field(default_factory=MqttConfig)
    fetch: FetchConfig = field(default_factory=FetchConfig)
    worker: WorkerConfig = field(default_factory=WorkerConfig)
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)
    log: LogConfig = field(default_factory=LogConfig)

    def __post_init__(self) -> None:
        if len(str(self.socket_path).encode()) > _MAX_SOCKET_PATH:
            raise ValueError(
                f"the path of the socket is over {_MAX_SOCKET_PATH} bytes: set api.socket to a shorter one"
            )

    @property
    def state_path(self) -> Path:
        """The folder of all that the agent keeps."""
        return Path(self.state_dir)

    @property
    def socket_path(self) -> Path:
        """Where the local API's Unix socket is."""
        return Path(self.api.socket) if self.api.socket else Path(self.state_dir) / "api.sock"


def worker_memory_mb(config: AgentConfig, profile: str) -> float:
    """Return the limit of a worker's data in MiB: the configuration's, else the profile's, else the generic one's."""
    if config.worker.memory_mb:
        return config.worker.memory_mb
    found = importlib.util.find_spec("firmware_configs")  # data beside the agent, where they are installed
    folders = (found.submodule_search_locations or ()) if found is not None else ()
    for folder, name in ((folder, name) for folder in folders for name in (profile, _GENERIC_PROFILE)):
        try:
            return codec.from_plain(
                Profile, tomllib.loads((Path(folder) / "profiles" / f"{name}.toml").read_text("utf-8"))
            ).worker_memory_mb
        except (OSError, tomllib.TOMLDecodeError, codec.MalformedError):
            continue
    return _FALLBACK_MEMORY_MB


def load_config(path: Path | None) -> AgentConfig:
    """Read the configuration; without a path the default file, or the defaults where that does not exist.

    Raises:
        ConfigError: not readable, not TOML, or a key is unknown, of the wrong type or out of range.
    """
    file = path or DEFAULT_PATH
    try:
        plain = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        if path is None:
            return AgentConfig()
        raise ConfigError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    try:
        return codec.from_plain(AgentConfig, plain, unknown="refuse", at="agent.toml")
    except codec.MalformedError as error:
        raise ConfigError(f"{file}: {error}") from error
