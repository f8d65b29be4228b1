"""The embedded broker to try things out with: rumqttd in a child process, on loopback, without access lists.

House rules: it is never offered beyond loopback, and says what it is. It knows no accounts: every program on this
machine may read and write everything on it.
"""

import importlib.metadata
import importlib.util
import sys
from pathlib import Path

from fleet_server.broker.accounts import SERVER_USER, UnmanagedAccounts
from fleet_server.broker.brokers import BrokerKind, BrokerSetupError, Endpoint, is_loopback
from fleet_server.broker.child import Child
from fleet_server.broker.client import BrokerAddress
from fleet_server.broker.ports import remembered_port

NOTICE = (
    "iotcore (rumqttd) on loopback, for trying out only: no passwords, no access lists; install Mosquitto for real use."
)
# Its own default is 20 kB; a chunk is 128 KiB and an envelope at most 256 KiB.
_MAX_PAYLOAD_BYTES = 512 * 1024

# A listener of protocol version 5 has to be asked for; the options are rumqttd's own.
_CONFIG = """\
id = 0
[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 2000
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "devices"
listen = "{host}:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = {payload}
max_inflight_count = 500
dynamic_filters = true
"""

_PROGRAM = "import sys; from iotcore.iotcore import IotCoreBroker; IotCoreBroker(config_path=sys.argv[1]).run_forever()"


class IotCore:
    """The try-out broker, from `start` to `stop`; its files are in `folder`."""

    def __init__(self, folder: Path, *, listen_host: str = "127.0.0.1", port: int = 0) -> None:
        self._folder = folder
        self._listen_host = listen_host
        self._port = port
        self._child: Child | None = None
        self._accounts = UnmanagedAccounts(
            "iotcore has no access lists: nothing keeps one local program from acting as another; install Mosquitto"
        )

    @property
    def kind(self) -> BrokerKind:
        """The embedded broker."""
        return BrokerKind.IOTCORE

    @property
    def version(self) -> str:
        """Version of the package."""
        return importlib.metadata.version("iotcore")

    @property
    def notice(self) -> str:
        """That it is for trying out."""
        return NOTICE

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._child is not None and self._child.pid is not None

    @property
    def accounts(self) -> UnmanagedAccounts:
        """It has none."""
        return self._accounts

    def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            BrokerSetupError: the host is not loopback, or the package is not installed.
            ChildFailedError: it does not come up; the message holds the end of its log.
        """
        if not is_loopback(self._listen_host):
            raise BrokerSetupError(
                f"iotcore has no access lists and may not listen on {self._listen_host}; install Mosquitto"
            )
        if importlib.util.find_spec("iotcore") is None:
            raise BrokerSetupError("no broker: install Mosquitto (apt-get install mosquitto), or pip install iotcore")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._port = self._port or remembered_port(self._folder, self._listen_host)
        config = self._folder / "rumqttd.toml"
        host = "127.0.0.1" if self._listen_host == "localhost" else self._listen_host
        config.write_text(_CONFIG.format(host=host, port=self._port, payload=_MAX_PAYLOAD_BYTES))
        child = Child(
            [sys.executable, "-I", "-c", _PROGRAM, str(config)], host, self._port, self._folder / "iotcore.log"
        )
        child.start()
        self._child = child

    def stop(self) -> None:
        """Stop it; it keeps nothing. Safe to call twice."""
        if self._child is not None:
            self._child.stop()
        self._child = None

    def address(self) -> BrokerAddress:
        """Where the server itself connects; the name is not checked."""
        return BrokerAddress(self._listen_host, self._port, SERVER_USER, "")

    def endpoint(self) -> Endpoint:
        """Where devices connect."""
        return Endpoint(self._listen_host, self._port)
