"""The port of a managed broker: chosen once, and kept, since devices hold it from their enrolment on."""

from pathlib import Path

from fleet_server.broker.brokers import is_loopback
from fleet_server.broker.child import answers, free_port
from fleet_server.store.artifacts import write_durably

# IANA's port of MQTT over TLS: a firewall's rule can be written before the first start.
MQTT_TLS_PORT = 8883


def remembered_port(folder: Path, host: str, name: str = "port") -> int:
    """Return the port chosen at the first start: 8883 beyond loopback where it is free, else any free one.

    `name` is of the file that remembers it.
    """
    note = folder / name
    if note.exists():
        return int(note.read_text())
    wanted = not is_loopback(host) and not answers("127.0.0.1", MQTT_TLS_PORT)
    port = MQTT_TLS_PORT if wanted else free_port(host)
    write_durably(note, str(port).encode())
    return port
