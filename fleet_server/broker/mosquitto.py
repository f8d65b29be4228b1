"""Mosquitto as a managed child: configuration, passwords and access list generated, reloaded while it runs.

House rules: devices come by TLS with a certificate of the fleet's authority, whose CN is their user name, on loopback
too; the server itself and dashboards by password, on a second listener, which is on loopback alone. A client's id is
its user name (else one device could take over another's session), and queue limits are raised, since Mosquitto's own
lose messages silently.
"""

import os
import pwd
import re
import subprocess
from pathlib import Path

from edge_agent.contract.topics import Topics
from fleet_server.broker.accounts import DASHBOARD_USER, SERVER_USER
from fleet_server.broker.brokers import BrokerKind, Endpoint, TlsFiles
from fleet_server.broker.child import Child
from fleet_server.broker.client import BrokerAddress
from fleet_server.broker.mosquitto_accounts import LOG_NAME, MosquittoAccounts
from fleet_server.broker.ports import remembered_port
from fleet_server.store.artifacts import write_durably

_LOOPBACK = "127.0.0.1"

# Defaults drop the 1001st queued message of a session and cut a burst to a slow consumer; see docs on the broker.
_LIMITS = """\
max_queued_messages 100000
max_queued_bytes 268435456
max_inflight_messages 200
max_packet_size 1048576
persistent_client_expiration 30d
set_tcp_nodelay true
allow_zero_length_clientid false
"""


class Mosquitto:
    """A Mosquitto of the server's own, from `start` to `stop`; its files are in `folder`."""

    def __init__(
        self,
        program: Path,
        folder: Path,
        topics: Topics,
        tls: TlsFiles,
        *,
        listen_host: str = _LOOPBACK,
        port: int = 0,
        public_host: str | None = None,
    ) -> None:
        self._program = program
        self._folder = folder
        self._listen_host = listen_host
        self._port = port
        self._server_port = 0
        self._public_host = public_host or listen_host
        self._tls = tls
        self._child: Child | None = None
        self._version = ""
        self._accounts = MosquittoAccounts(folder, topics)

    @property
    def kind(self) -> BrokerKind:
        """Mosquitto."""
        return BrokerKind.MOSQUITTO

    @property
    def version(self) -> str:
        """Mosquitto's version."""
        if not self._version:
            told = subprocess.run([self._program, "-h"], capture_output=True, text=True, timeout=10, check=False).stdout
            found = re.search(r"version (\S+)", told)
            self._version = found[1] if found else "unknown"
        return self._version

    @property
    def notice(self) -> str:
        """What the operator should know."""
        return f"Mosquitto {self.version}, managed by this server: each device has a certificate and its access list."

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._child is not None and self._child.pid is not None

    @property
    def pid(self) -> int | None:
        """The process id of the broker while it runs."""
        return self._child.pid if self._child is not None else None

    @property
    def accounts(self) -> MosquittoAccounts:
        """The devices' accounts."""
        return self._accounts

    def start(self) -> None:
        """Write the configuration, start Mosquitto and wait until it listens.

        Raises:
            ChildFailedError: it does not come up; the message holds the end of its log.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._port = self._port or remembered_port(self._folder, self._listen_host)
        self._server_port = remembered_port(self._folder, _LOOPBACK, "local-port")
        self._accounts.attach(None)
        write_durably(self._folder / "mosquitto.conf", self._render().encode())
        command = [str(self._program), "-c", str(self._folder / "mosquitto.conf")]
        child = Child(command, _LOOPBACK, self._server_port, self._folder / LOG_NAME)
        child.start()
        self._child = child
        self._accounts.attach(child, self._server_port)

    def stop(self) -> None:
        """Stop Mosquitto; it writes its retained messages and sessions to disk. Safe to call twice."""
        self._accounts.attach(None)
        if self._child is not None:
            self._child.stop()
        self._child = None

    def address(self) -> BrokerAddress:
        """Where the server itself connects."""
        return BrokerAddress(_LOOPBACK, self._server_port, SERVER_USER, self._accounts.server_password)

    def dashboard(self) -> BrokerAddress:
        """Where dashboards connect, with the read-only account; one at a time, since the user name is the client id."""
        return BrokerAddress(_LOOPBACK, self._server_port, DASHBOARD_USER, self._accounts.dashboard_password)

    def endpoint(self) -> Endpoint:
        """Where devices connect."""
        return Endpoint(self._public_host, self._port, self._tls.ca.read_text())

    def _render(self) -> str:
        listeners = [
            f"listener {self._port} {self._listen_host}",
            "use_username_as_clientid true",
            "use_identity_as_username true",
            "require_certificate true",
            f"cafile {self._tls.ca.absolute()}",
            f"crlfile {self._tls.crl.absolute()}",
            f"certfile {self._tls.certificate.absolute()}",
            f"keyfile {self._tls.key.absolute()}",
            "tls_version tlsv1.2",
            f"listener {self._server_port} {_LOOPBACK}",
            "use_username_as_clientid true",
        ]
        lines = [
            "per_listener_settings false",
            "allow_anonymous false",
            f"password_file {self._folder / 'passwords'}",
            f"acl_file {self._folder / 'access'}",
            "persistence true",
            f"persistence_location {self._folder.absolute()}/",
            "autosave_interval 60",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "log_type information",  # says when files were read again
            "log_timestamp_format %Y-%m-%dT%H:%M:%S",
            # As root it would become the user "mosquitto", who cannot read these files.
            f"user {pwd.getpwuid(os.geteuid()).pw_name}",
            *listeners,
        ]
        return _LIMITS + "\n".join(lines) + "\n"
