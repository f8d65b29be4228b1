"""The supervisor's composition root: makes every part, hands each its few values, and runs the loop.

House rules: threads (broker, disk, one reader per worker) only put inputs on the queue. Serving does not depend on the
broker. SIGTERM drains, says `stopped`, and ends with status 0.
"""

import fcntl
import logging
import os
import random
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO

from edge_agent.adapters import system
from edge_agent.adapters.artifacts import ChunkStore
from edge_agent.adapters.broker import Broker, BrokerAddress, BrokerTimes, Will
from edge_agent.adapters.identity import Identity, load_identity
from edge_agent.adapters.journal import Journal
from edge_agent.adapters.listeners import listen_tcp, listen_unix
from edge_agent.adapters.markers import Markers
from edge_agent.adapters.slots import Slots
from edge_agent.adapters.spool import Spool
from edge_agent.adapters.trust import DeviceKey
from edge_agent.adapters.verifier_process import Verifier
from edge_agent.adapters.watchdog import Watchdog
from edge_agent.adapters.worker_process import WorkerLimits, spawn
from edge_agent.contract import codec
from edge_agent.contract.messages import Capabilities, Status
from edge_agent.contract.states import EventCode, Presence
from edge_agent.contract.topics import Topics, Up
from edge_agent.core.retry import Spread, first_delay_s
from edge_agent.supervisor.config import AgentConfig, worker_memory_mb
from edge_agent.supervisor.disk import Disk
from edge_agent.supervisor.fetching import Fetcher
from edge_agent.supervisor.keeping import Keeper
from edge_agent.supervisor.loop import Inputs, Loop, LoopParts, StopRequested
from edge_agent.supervisor.renewing import Renewer
from edge_agent.supervisor.reporter import Reporter, epoch_ms
from edge_agent.supervisor.service import Service
from edge_agent.supervisor.status import AgentStatus, write_status
from edge_agent.supervisor.telemetry import Telemetry
from edge_agent.supervisor.trust_desk import TrustDesk
from edge_agent.supervisor.update_parts import UpdateParts, UpdateSettings
from edge_agent.supervisor.updates import Updates
from edge_agent.supervisor.uplink import Uplink
from edge_agent.supervisor.watch import Watch
from edge_agent.supervisor.worker_phases import ServiceTimes

_BIND_PATIENCE_S = 15.0
_BROKER_PATIENCE_S = 60.0
_log = logging.getLogger(__name__)


class StartError(Exception):
    """The agent cannot start; the message says why and what helps."""


def worker_command(config: AgentConfig) -> tuple[str, ...]:
    """Return the command that starts the real worker, without its sockets."""
    return (
        sys.executable,
        "-m",
        "edge_agent.worker",
        "--threads",
        str(config.worker.threads),
        "--max-body-kib",
        str(config.api.max_body_kib),
        "--max-connections",
        str(config.api.max_connections),
        "--log-level",
        config.log.level.value,
    )


def run(config: AgentConfig, command: tuple[str, ...] | None = None) -> None:
    """Run the agent until SIGTERM or SIGINT; `command` starts the worker (default: the real one).

    Raises:
        IdentityError: the device is not enrolled.
        JournalError: the journal is of a newer agent, or the disk cannot be read or written.
        UnwritableError: this start cannot be counted, so nothing could be said that is not mistaken for another.
        StartError: another agent runs here, or an address is in use.
        OSError: the state folder is not writable.
    """
    state_dir = config.state_path
    identity = load_identity(state_dir)
    inputs = Inputs()
    stop = threading.Event()
    _listen_for_signals(inputs, stop)
    with ExitStack() as stack:
        stack.enter_context(_locked(state_dir))
        markers = Markers(state_dir / "good")
        markers.prepare()
        journal = stack.enter_context(Journal.open(state_dir / "agent.db", markers.rebuilt))
        spool = stack.enter_context(Spool.open(state_dir / "spool.db", config.telemetry.spool_mb))
        listeners = tuple(stack.enter_context(listener) for listener in _listeners(config, stop))
        if stop.is_set():
            return
        loop = _compose(config, identity, journal, markers, spool, listeners, command or worker_command(config), inputs)
        loop.run()


def _compose(
    config: AgentConfig,
    identity: Identity,
    journal: Journal,
    markers: Markers,
    spool: Spool,
    listeners: tuple[socket.socket, ...],
    command: tuple[str, ...],
    inputs: Inputs,
) -> Loop:
    """Make the parts and start their threads."""
    state_dir, device, now = config.state_path, identity.device, time.monotonic()
    board = system.find_board(config.profile, simulated=config.simulated, offered=config.runtimes)
    keeper = Keeper(journal, markers)
    boot, topics = keeper.count_boot(), Topics(identity.topic_root)

    def capabilities() -> Capabilities:
        return system.capabilities(board, state_dir)

    chunks, slots = ChunkStore(state_dir / "chunks"), Slots(state_dir / "bundles")
    chunks.prepare()
    slots.prepare()
    disk = Disk(chunks, slots, inputs.put)
    broker = _broker(config, identity, topics, boot, inputs)
    reporter = Reporter(device, boot, topics, DeviceKey(bytes.fromhex(identity.seed)), capabilities)
    phase, allows = random.random(), config.telemetry.feedback  # noqa: S311 - a place in time, no secret
    telemetry = Telemetry(spool, reporter, capabilities, now, phase, allows_feedback=allows)
    fetcher = Fetcher(device, topics, broker, chunks, disk, config.fetch, lambda: system.disk_free_mb(state_dir))
    memory_mb = worker_memory_mb(config, board.profile)
    service = _service(config, memory_mb, command, listeners, inputs)
    updates = Updates(
        UpdateParts(keeper, chunks, slots, disk, fetcher, service, reporter, capabilities, telemetry.tell),
        _update_settings(config, device, memory_mb),
        journal.load(),
    )
    blank = _blank_status(config, device, boot, listeners[0], updates)
    uplink = Uplink(device, boot, topics, broker, journal, spool, config.telemetry.backfill_per_s)
    verifier = Verifier(state_dir, ("--device", device, "--profile", board.profile), inputs.put)
    trust = TrustDesk(device, topics, verifier, lambda: updates.update.highest_seq)
    watch, write = _watch(config, disk, broker), partial(write_status, state_dir)
    parts = LoopParts(broker, uplink, disk, trust, fetcher, service, updates, telemetry, watch, write)
    disk.start()
    _tell_start(telemetry, f"agent {board.agent}, boot {boot}", journal.rebuilt)
    _connect(broker, state_dir, identity)
    _log.info("agent_started device=%s boot=%d api=%s profile=%s", device, boot, blank.api_url, board.profile)
    return Loop(parts, inputs, blank)


def _update_settings(config: AgentConfig, device: str, memory_mb: float) -> UpdateSettings:
    worker, telemetry = config.worker, config.telemetry
    return UpdateSettings(
        device,
        memory_mb,
        telemetry.beat_s,
        worker.load_timeout_s + worker.hang_s,
        telemetry.snapshot_s,
        telemetry.feedback,
    )


def _connect(broker: Broker, state_dir: Path, identity: Identity) -> None:
    """Begin to connect, and to keep the certificate fresh by which the broker knows us."""
    broker.start()
    Renewer(state_dir, identity, broker.show).start()


def _service(
    config: AgentConfig,
    memory_mb: float,
    command: tuple[str, ...],
    listeners: tuple[socket.socket, ...],
    inputs: Inputs,
) -> Service:
    limits = WorkerLimits(command, memory_mb, dict(os.environ))
    times = ServiceTimes(config.worker.hang_s, config.worker.load_timeout_s, memory_mb)
    return Service(lambda number: spawn(number, limits, listeners, inputs.put), times)


def _watch(config: AgentConfig, disk: Disk, broker: Broker) -> Watch:
    pauses_s = config.mqtt.reconnect_max_s + config.mqtt.connect_timeout_s
    return Watch(Watchdog(os.environ), disk, broker, _BROKER_PATIENCE_S + 2 * pauses_s)


def _tell_start(telemetry: Telemetry, booted: str, rebuilt: str) -> None:
    telemetry.tell(EventCode.BOOTED, booted)
    if rebuilt:
        _log.error("journal_rebuilt detail=%r", rebuilt)
        telemetry.tell(EventCode.JOURNAL_REBUILT, rebuilt)


def _broker(config: AgentConfig, identity: Identity, topics: Topics, boot: int, inputs: Inputs) -> Broker:
    address = BrokerAddress(
        identity.broker_host,
        identity.broker_port,
        identity.device,
        identity.broker_password,
        identity.broker_ca,
        config.state_path / identity.tls_file if identity.tls_file else None,
    )
    mqtt = config.mqtt
    place, spread = random.random(), Spread(mqtt.reconnect_max_s)  # noqa: S311 - spreads a fleet, keeps no secret
    first_s = first_delay_s(spread, uptime_s=system.uptime_s(), boots=boot, place=place)
    times = BrokerTimes(mqtt.keepalive_s, mqtt.session_expiry_s, mqtt.connect_timeout_s, spread.window_s, first_s)
    lost = codec.encode(Status(Presence.LOST, boot, epoch_ms()))
    return Broker(address, times, Will(topics.up(identity.device, Up.STATUS), lost), inputs.put)


def _blank_status(config: AgentConfig, device: str, boot: int, tcp: socket.socket, updates: Updates) -> AgentStatus:
    host, port = tcp.getsockname()[:2]
    return AgentStatus(
        device=device,
        boot=boot,
        ts=0,
        supervisor_pid=os.getpid(),
        worker_pid=None,
        api_url=f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}",
        api_socket=str(config.socket_path),
        broker_connected=False,
        state=updates.update.state,
        desired_seq=updates.update.highest_seq,
        running=(),
        spool_n=0,
        feedback=config.telemetry.feedback,
    )


def _listeners(config: AgentConfig, stop: threading.Event) -> tuple[socket.socket, socket.socket]:
    """Open the local API's sockets; the workers before this start may hold the port for a moment."""
    api = config.api
    try:
        tcp = listen_tcp(api.host, api.port, _BIND_PATIENCE_S, stop)
    except OSError as error:
        raise StartError(
            f"{api.host}:{api.port} cannot be listened on: {error.strerror}; "
            "free it, or set api.port (0: any free port)"
        ) from error
    try:
        return tcp, listen_unix(config.socket_path)
    except OSError as error:
        tcp.close()
        raise StartError(f"{config.socket_path} cannot be listened on: {error.strerror}; set api.socket") from error


def _locked(state_dir: Path) -> IO[bytes]:
    """Hold the state folder for this process alone."""
    lock = (state_dir / "lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StartError(f"another agent runs on {state_dir}; stop it, or use another state_dir") from error
    return lock


def _listen_for_signals(inputs: Inputs, stop: threading.Event) -> None:
    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        inputs.put(StopRequested())

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
