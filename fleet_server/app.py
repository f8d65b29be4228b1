"""Composes the server: keys, broker, database, services, controller loop, builds, HTTP.

House rules: configuration is read here once; everything is started in the order of its needs and stopped in reverse;
nothing below knows what stands beside it.
"""

import datetime as dt
import fcntl
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import structlog
import uvicorn

from edge_agent.contract.topics import Topics
from fleet_server.broker.brokers import Broker, BrokerKind, BrokerSetupError, TlsFiles
from fleet_server.broker.choice import open_broker
from fleet_server.broker.session import Session
from fleet_server.composition import Composition, Outside
from fleet_server.config import ReadyInfo, ServerConfig, SetupError
from fleet_server.links import MqttWire, PatientIntake
from fleet_server.services.certificates import load_crl
from fleet_server.services.keys import (
    Authority,
    ListenerFiles,
    SigningKey,
    load_authority,
    load_listener_files,
    load_signing_key,
)
from fleet_server.services.tryout import TrainerError
from fleet_server.services.wire import Contact

_log = structlog.get_logger(__name__)
_CONNECT_S = 15.0
_CLIENT_ID = "edgeloop-server"


def serve(config: ServerConfig, ready: Callable[[ReadyInfo], None], stop: threading.Event | None = None) -> int:
    """Run the server until SIGTERM or SIGINT (or until `stop` is set); call `ready` once it accepts requests.

    Raises:
        SetupError: it cannot start as configured; the message says what to change.
    """
    stopping = threading.Event() if stop is None else stop
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
    _configure_log()
    with ExitStack() as opened:
        _hold(config.data_dir, opened)
        try:
            info = _start(config, opened)
        except (BrokerSetupError, TrainerError, OSError, ValueError) as error:
            raise SetupError(f"the server cannot start: {error}") from error
        _log.info("server_ready", url=info.url, broker=info.broker)
        ready(info)
        stopping.wait()
        _log.info("server_stopping")
    return 0


def _start(config: ServerConfig, opened: ExitStack) -> ReadyInfo:
    """Start everything, leave its ends in `opened`, and return what to tell the operator."""
    keys, now = config.data_dir / "keys", dt.datetime.now(dt.UTC)
    signing, authority = load_signing_key(keys), load_authority(keys, now)
    names = tuple(dict.fromkeys((config.public_host, *config.names, "localhost", "127.0.0.1")))
    files = load_listener_files(keys, authority, names, now)
    tls = None if config.loopback else files
    topics = Topics(config.topic_root)
    crl = load_crl(keys, authority, now)
    broker = _start_broker(config, topics, TlsFiles(files.certificate, files.key, files.ca, crl), opened)
    session = Session(broker.address(), _CLIENT_ID, topics.server_status())
    wire = MqttWire(session, topics)
    listener = socket.create_server((config.host, config.port), family=_family(config.host), backlog=512)
    opened.callback(listener.close)
    port = listener.getsockname()[1]
    scheme = "http" if tls is None else "https"
    host = f"[{config.public_host}]" if ":" in config.public_host else config.public_host
    url = f"{scheme}://{host}:{port}"
    outside = _outside(config, broker, wire, signing, authority, url)
    composition = Composition(config, outside)
    opened.callback(composition.close)
    composition.start()
    opened.callback(wire.close)
    # Before the session: what waited with the broker comes at once, and must find its subscriber.
    # A managed broker serves this process alone. Mosquitto forgets shared subscriptions when it starts again: what a
    # device sends before this server is back would be acknowledged and lost. rumqttd 0.20 panics in them.
    share = "ingest" if broker.kind is BrokerKind.EXTERNAL else None
    wire.listen(PatientIntake(composition.intake, composition.stopping, composition.recovery.meet_stranger), share)
    session.start()
    if not session.wait_connected(_CONNECT_S):
        address = broker.address()
        raise OSError(f"no connection to the broker at {address.host}:{address.port} within {_CONNECT_S:g} s")
    _start_http(composition, listener, tls, opened)
    return _ready(config, composition, outside, None if tls is None else str(authority.certificate))


def _outside(
    config: ServerConfig, broker: Broker, wire: MqttWire, signing: SigningKey, authority: Authority, url: str
) -> Outside:
    endpoint = broker.endpoint()
    return Outside(
        wire=wire,
        accounts=broker.accounts,
        contact=Contact(endpoint.host, endpoint.port, config.topic_root, endpoint.ca_pem),
        signing=signing,
        authority=authority,
        broker_kind=broker.kind.value,
        broker_address=f"{endpoint.host}:{endpoint.port}",
        notes=_notes(broker),
        url=url,
    )


def _ready(config: ServerConfig, composition: Composition, outside: Outside, ca_path: str | None) -> ReadyInfo:
    key, new = composition.operator_key(config.api_key)
    code = composition.sign_in_code(key)
    told = (*outside.notes, composition.sandbox.notice, composition.context.release_notice())
    return ReadyInfo(
        url=outside.url,
        signin_url=f"{outside.url}/signin?code={code}",
        api_key=key,
        new_api_key=new,
        broker=outside.broker_kind,
        broker_host=outside.contact.host,
        broker_port=outside.contact.port,
        ca_path=ca_path,
        data_dir=config.data_dir,
        notes=tuple(text for text in told if text),
    )


def _start_broker(config: ServerConfig, topics: Topics, tls: TlsFiles, opened: ExitStack) -> Broker:
    broker = open_broker(
        config.broker,
        config.data_dir,
        topics,
        listen_host=config.host,
        port=config.broker_port,
        public_host=config.public_host,
        tls=tls,
        certificates=config.broker_certificates,
    )
    opened.callback(broker.stop)
    broker.start()
    return broker


def _start_http(
    composition: Composition, listener: socket.socket, tls: ListenerFiles | None, opened: ExitStack
) -> None:
    settings = uvicorn.Config(
        composition.application,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        ssl_certfile=None if tls is None else str(tls.certificate),
        ssl_keyfile=None if tls is None else str(tls.key),
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, args=([listener],), name="http", daemon=True)

    def end() -> None:
        composition.context.announcer.close()
        server.should_exit = True
        thread.join(10)

    thread.start()
    opened.callback(end)
    _wait_until(lambda: server.started or not thread.is_alive(), _CONNECT_S)
    if not server.started:
        raise OSError("the HTTP server did not start; its log says why")


def _wait_until(done: Callable[[], bool], timeout_s: float) -> bool:
    pause, deadline = threading.Event(), time.monotonic() + timeout_s
    while not (found := done()) and time.monotonic() < deadline:
        pause.wait(0.02)
    return found


def _hold(folder: Path, opened: ExitStack) -> None:
    """Lock the data folder, so that two servers never share it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = opened.enter_context((folder / "lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SetupError(f"another server runs on {folder}: stop it, or choose another folder") from error
    except OSError as error:
        raise SetupError(f"the folder {folder} cannot be used: {error}") from error


def _notes(broker: Broker) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in (broker.notice, broker.accounts.advice) if text))


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _configure_log() -> None:
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
