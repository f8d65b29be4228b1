"""What keeps an agent from working, looked for one by one; each finding has a hint where something is to be done."""

import errno
import os
import platform
import socket
import tempfile
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources

from edge_agent.adapters import system
from edge_agent.adapters.identity import Identity, IdentityError, load_identity
from edge_agent.contract.codec import MalformedError
from edge_agent.contract.runtimes import DENIALS_NAME, judge_board, parse_denials
from edge_agent.supervisor.config import AgentConfig

_REACH_TIMEOUT_S = 5.0
_LOW_DISK_MB = 64.0
# The project is younger than this; a Pi without a clock boots in 1970.
_EARLIEST_EPOCH_S = 1_767_225_600  # 2026-01-01T00:00:00Z


class Grade(StrEnum):
    """How a finding counts."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    grade: Grade
    what: str
    hint: str = ""


def examine(config: AgentConfig, epoch_s: float, *, is_running: bool) -> tuple[Finding, ...]:
    """Look at everything; `is_running` where the agent runs now and so holds its port."""
    return (
        Finding(Grade.OK, "configuration is readable"),
        *_identity(config, epoch_s),
        _state_dir(config),
        _runtimes(config),
        *_denied(config),
        _port(config, is_running),
        _clock(epoch_s),
        _feedback(config),
    )


def _identity(config: AgentConfig, epoch_s: float) -> tuple[Finding, ...]:
    try:
        identity = load_identity(config.state_path)
    except IdentityError as error:
        return (Finding(Grade.BAD, "identity", str(error)),)
    enrolled = Finding(Grade.OK, f"enrolled as {identity.device} at {identity.server_url}")
    return (enrolled, *_certificate(identity, epoch_s), _broker(identity))


def _certificate(identity: Identity, epoch_s: float) -> tuple[Finding, ...]:
    if not identity.by_certificate:
        return ()
    if not identity.tls_file:
        hint = f"on the server: edgeloop device approve {identity.device}"
        return (Finding(Grade.WARN, "no certificate yet: the device waits for approval", hint),)
    days = (identity.expires - epoch_s) / 86_400
    if days < 0:
        hint = "edge-agent renew, which says what is in the way"
        return (Finding(Grade.BAD, f"the certificate expired {-days:.0f} days ago", hint),)
    if epoch_s > identity.renew_at:
        hint = "it is renewed when the server can be reached: edge-agent renew"
        return (Finding(Grade.WARN, f"the certificate should have been renewed; {days:.0f} days are left", hint),)
    return (Finding(Grade.OK, f"the certificate is valid for {days:.0f} more days"),)


def _broker(identity: Identity) -> Finding:
    address = f"{identity.broker_host}:{identity.broker_port}"
    try:
        with closing(socket.create_connection((identity.broker_host, identity.broker_port), _REACH_TIMEOUT_S)):
            return Finding(Grade.OK, f"broker {address} answers")
    except OSError as error:
        hint = "is the server running, and does a firewall let this through? Models serve on without it"
        return Finding(Grade.BAD, f"broker {address} cannot be reached: {error}", hint)


def _state_dir(config: AgentConfig) -> Finding:
    folder = config.state_path
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"x")
        free = system.disk_free_mb(folder)
    except OSError as error:
        return Finding(
            Grade.BAD, f"{folder} is not writable: {error.strerror}", "run as the agent's user, or set state_dir"
        )
    if free < _LOW_DISK_MB:
        return Finding(Grade.WARN, f"{folder} has {free:.0f} MiB free", "make room: updates need space for two copies")
    return Finding(Grade.OK, f"{folder} is writable, {free:.0f} MiB free")


def _runtimes(config: AgentConfig) -> Finding:
    found = system.find_runtimes(config.runtimes)
    if not found:
        hint = "install one: pip install 'edgeloop[onnx]' or 'edgeloop[tflite]'"
        return Finding(Grade.BAD, "no runtime of " + ", ".join(config.runtimes) + " is installed", hint)
    return Finding(Grade.OK, "runtimes: " + ", ".join(f"{name} {version}" for name, version in found.items()))


def _denied(config: AgentConfig) -> tuple[Finding, ...]:
    """Return a finding for each runtime here in a release that is known not to work on this board."""
    try:
        text = resources.files("firmware_configs").joinpath(DENIALS_NAME).read_text(encoding="utf-8")
        denials = parse_denials(text)
    except (ImportError, OSError, MalformedError) as error:
        hint = "install edgeloop anew: the file comes with it"
        return (Finding(Grade.WARN, f"the list of denied runtimes cannot be read: {error}", hint),)
    board = config.profile or system.detect_profile()
    found = system.find_runtimes(config.runtimes)
    reasons = [judge_board(denials, name, version, platform.machine(), board) for name, version in found.items()]
    hint = "install another release of it; until then the server offers nothing for this runtime"
    return tuple(Finding(Grade.BAD, reason, hint) for reason in reasons if reason is not None)


def _port(config: AgentConfig, is_running: bool) -> Finding:
    host, port = config.api.host, config.api.port
    if port == 0:
        return Finding(Grade.OK, "the local API takes any free port")
    if is_running:
        return Finding(Grade.OK, f"the agent runs and holds {host}:{port}")
    with closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = os.strerror(error.errno or errno.EADDRINUSE)
            return Finding(Grade.BAD, f"{host}:{port}: {reason}", "free it, or set api.port (0: any free port)")
    return Finding(Grade.OK, f"{host}:{port} is free")


def _clock(epoch_s: float) -> Finding:
    if epoch_s < _EARLIEST_EPOCH_S:
        hint = "set the time, or enable systemd-timesyncd; updates work without, certificates do not"
        return Finding(Grade.WARN, "the clock is before 2026", hint)
    return Finding(Grade.OK, "the clock is plausible")


def _feedback(config: AgentConfig) -> Finding:
    if config.telemetry.feedback:
        return Finding(Grade.OK, "labelled rows may be sent to the server (telemetry.feedback)")
    return Finding(Grade.OK, "labelled rows stay on this device (telemetry.feedback is off)")
