"""What the server is told once, at its start, and what it says when it is ready.

House rules: frozen values, read and checked in one place; the rooms get the few values that they need.
"""

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from edge_agent.contract.messages import AgentSettings
from edge_agent.contract.topics import DEFAULT_ROOT

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - what an operator may ask for, by name


BuildSandbox = Literal["auto", "required", "limits"]


class SetupError(Exception):
    """The server cannot start as configured; the message says why and what to change."""


def default_data_dir() -> Path:
    """Return the place of the server's state: `$EDGELOOP_DATA`, else `edgeloop` in the user's data folder (XDG)."""
    if chosen := os.environ.get("EDGELOOP_DATA"):
        return Path(chosen)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "edgeloop"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The server's configuration.

    `broker` is `auto`, `mosquitto`, `iotcore`, or the URL of an external broker (`mqtt(s)://user:pass@host:port`).
    A port of 0 means any free port; a broker's is chosen once and kept. `names` are further DNS names or addresses by
    which devices reach the server, put in its TLS certificate; the first one is what devices are told. `api_key` is a
    key that the operator already holds; where it is none, or no key of this server, a new one is made. Sizes in MiB
    (2**20 bytes), times in seconds.

    With `approve_devices` an enrolled board waits until an operator lets it in. Devices' certificates are valid for
    `certificate_days`. `broker_certificates` says that an external broker knows devices by them, not by passwords.

    Uploads are built in bubblewrap. Where it does not work, `build_sandbox` says what then: `required` builds nothing,
    `limits` builds with limits alone, which is for models that one trusts, and `auto` is `limits` on loopback and
    `required` beyond it. With `accept_pickles` a request may ask for a pickle to be loaded, in bubblewrap alone.

    On loopback the server makes its own release keys and signs by them; with `tryout_keys` it does so beyond loopback
    too. `key_passphrase` encrypts the server's online keys where they lie.
    Windows of devices are kept for `window_days`, and merged by the hour for `hour_days`.
    Of each model the newest `feedback_kept` labelled rows are kept, for `feedback_days`.
    With `approvals` every rollout waits until another person than who started it approves it.
    """

    data_dir: Path = field(default_factory=default_data_dir)
    host: str = "127.0.0.1"
    port: int = 8000
    names: tuple[str, ...] = ()
    broker: str = "auto"
    broker_port: int = 0
    broker_certificates: bool = False
    approve_devices: bool = False
    certificate_days: int = 60
    topic_root: str = DEFAULT_ROOT
    api_key: str | None = None
    tick_s: float = 1.0
    settings: AgentSettings = field(default_factory=AgentSettings)
    upload_mb: int = 512
    build_timeout_s: float = 1800.0
    build_memory_mb: int = 4096
    build_disk_mb: int = 4096
    build_sandbox: BuildSandbox = "auto"
    accept_pickles: bool = False
    tryout_keys: bool = False
    key_passphrase: str | None = field(default=None, repr=False)
    approvals: bool = False
    health_kept: int = 500
    window_days: int = 7
    hour_days: int = 90
    feedback_kept: int = 100_000
    feedback_days: int = 30

    def __post_init__(self) -> None:
        if not (0 <= self.port < 65536 and 0 <= self.broker_port < 65536):
            raise ValueError("a port is 0 (any) to 65535")
        above = ("tick_s", "upload_mb", "build_timeout_s", "build_memory_mb", "build_disk_mb")
        if min(getattr(self, name) for name in above) <= 0:
            raise ValueError(f"{', '.join(above)} are above 0")
        if self.build_sandbox not in get_args(BuildSandbox):
            raise ValueError(f"build_sandbox is one of {', '.join(get_args(BuildSandbox))}")
        if not 30 <= self.certificate_days <= 90:
            raise ValueError("certificate_days is 30 to 90")
        kept = ("health_kept", "window_days", "hour_days", "feedback_kept", "feedback_days")
        if min(getattr(self, name) for name in kept) < 1:
            raise ValueError(f"{', '.join(kept)} are 1 at least")
        if self.hour_days < self.window_days:
            raise ValueError("hour_days is window_days at least: hours are what is left of windows")

    @property
    def loopback(self) -> bool:
        """Whether the API listens on this machine alone (then without TLS)."""
        return self.host in LOOPBACK

    @property
    def sandbox_required(self) -> bool:
        """Whether uploads are built in a box or not at all."""
        return self.build_sandbox == "required" or (self.build_sandbox == "auto" and not self.loopback)

    @property
    def makes_keys(self) -> bool:
        """Whether the server may make release keys of its own, to try out."""
        return self.loopback or self.tryout_keys

    @property
    def public_host(self) -> str:
        """The name by which devices reach the server and its broker."""
        if self.names:
            return self.names[0]
        return socket.gethostname() if self.host in ANY_ADDRESS else self.host


@dataclass(frozen=True, slots=True)
class ReadyInfo:
    """What the server says once it accepts requests.

    `signin_url` works once. `api_key` is valid; `new_api_key` says whether it was made now. `broker` is the kind in
    use (`mosquitto`, `iotcore`, `external`), `notes` what an operator should know about this set-up.
    """

    url: str
    signin_url: str
    api_key: str
    new_api_key: bool
    broker: str
    broker_host: str
    broker_port: int
    ca_path: str | None
    data_dir: Path
    notes: tuple[str, ...] = ()
