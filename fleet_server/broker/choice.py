"""Which broker the server uses, from its setting; see the house rules of `brokers`."""

import importlib.util
from pathlib import Path

from edge_agent.contract.topics import Topics
from fleet_server.broker.brokers import Broker, BrokerKind, BrokerSetupError, TlsFiles, find_mosquitto, is_loopback
from fleet_server.broker.external import ExternalBroker
from fleet_server.broker.iotcore import IotCore
from fleet_server.broker.mosquitto import Mosquitto

AUTO = "auto"
_INSTALL = "install it (apt-get install mosquitto) or name its program in EDGELOOP_MOSQUITTO"


def open_broker(
    setting: str,
    data_dir: Path,
    topics: Topics,
    *,
    listen_host: str = "127.0.0.1",
    port: int = 0,
    public_host: str | None = None,
    tls: TlsFiles | None = None,
    certificates: bool = False,
) -> Broker:
    """Return the broker for a setting (`auto`, `mosquitto`, `iotcore` or a URL), not yet started.

    `listen_host` and `port` (0: a free one) are where a managed broker listens, `public_host` is the name that devices
    use; `tls` is needed for Mosquitto. `certificates` says that the broker of a URL knows devices by the fleet's
    certificates. Files are kept below `data_dir`.

    Raises:
        BrokerSetupError: no such setting, or what it needs is not installed.
    """
    if "://" in setting:
        ca = tls.ca if tls is not None and not is_loopback(listen_host) else None
        return ExternalBroker(setting, topics, ca, certificates=certificates)
    if setting not in (AUTO, BrokerKind.MOSQUITTO, BrokerKind.IOTCORE):
        raise BrokerSetupError(
            f"{setting!r} is no broker: use auto, mosquitto, iotcore or mqtt(s)://user:password@host"
        )
    program = find_mosquitto() if setting != BrokerKind.IOTCORE else None
    if program is not None:
        if tls is None:
            raise BrokerSetupError(f"Mosquitto on {listen_host} needs the certificates of the fleet's authority")
        return Mosquitto(
            program,
            data_dir / "mosquitto",
            topics,
            tls,
            listen_host=listen_host,
            port=port,
            public_host=public_host,
        )
    if setting == BrokerKind.MOSQUITTO:
        raise BrokerSetupError(f"Mosquitto was not found: {_INSTALL}")
    if not is_loopback(listen_host):
        raise BrokerSetupError(f"a listener on {listen_host} needs Mosquitto: {_INSTALL}")
    if importlib.util.find_spec("iotcore") is None:
        raise BrokerSetupError(f"no broker was found: Mosquitto: {_INSTALL}, or to try out: pip install iotcore")
    return IotCore(data_dir / "iotcore", listen_host=listen_host, port=port)
