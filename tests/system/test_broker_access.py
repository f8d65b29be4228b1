"""Ten thousand devices in the access list of a real Mosquitto: the first, the last and a new one get their own."""

import json
from pathlib import Path

import pytest

from edge_agent.contract.topics import Topics, Up
from fleet_server.broker.client import BrokerAddress
from fleet_server.broker.mosquitto import Mosquitto
from tests.fakes.certificates import Certifier
from tests.fakes.mosquitto import mosquitto_program
from tests.fakes.mqtt import eventually, listening

TOPICS = Topics()
DIGEST = "a" * 64
COUNT = 10_000
COHORTS = ("pi4", "pi5", "zero2w")


def write_fleet(folder: Path, count: int) -> None:
    """Write the accounts of a fleet, as a server that enrolled it has left them; each hundredth is locked out."""
    names = [f"board-{n:05d}" for n in range(count)]
    fleet = {
        "server_password": "s",
        "dashboard_password": "d",
        "devices": {name: {"cohort": COHORTS[n % len(COHORTS)]} for n, name in enumerate(names) if n % 100 != 50},
        "denied": names[50::100],
    }
    folder.mkdir(mode=0o700, parents=True)
    (folder / "accounts.json").write_text(json.dumps(fleet))


@pytest.mark.system
def test_an_access_list_of_ten_thousand_devices_holds(tmp_path: Path) -> None:
    certifier, folder = Certifier(tmp_path / "keys"), tmp_path / "m"
    write_fleet(folder, COUNT)
    broker = Mosquitto(mosquitto_program(), folder, TOPICS, certifier.tls)
    broker.start()
    end = broker.endpoint()

    def address(device: str) -> BrokerAddress:
        certificate = certifier.certify(device)
        return BrokerAddress(end.host, end.port, device, tls=True, ca_pem=end.ca_pem, certificate=certificate)

    try:
        # Mosquitto still reads after the first change when it is told of the second, and would forget that.
        broker.accounts.add("newcomer", None, "zero2w")
        broker.accounts.add("next", None, "pi5")
        with listening(broker.address()) as server:
            server.subscribe(TOPICS.ingest())
            for cohort in COHORTS:
                server.publish(TOPICS.chunk(cohort, DIGEST), cohort.encode(), retain=True)
            readers = {
                "board-00000": b"pi4",
                f"board-{COUNT - 1:05d}": b"pi4",
                "board-05001": b"pi4",
                "newcomer": b"zero2w",
                "next": b"pi5",
            }
            for device, own in readers.items():
                with listening(address(device)) as board:
                    board.subscribe(TOPICS.desired(device), *(TOPICS.chunk(cohort, DIGEST) for cohort in COHORTS))
                    server.publish(TOPICS.desired(device), b"mark")
                    assert eventually(lambda board=board, device=device: board.got(TOPICS.desired(device)) == [b"mark"])  # type: ignore[misc]
                    assert [payload for topic, payload in board.received if "/c/" in topic] == [own], device
                    board.publish(TOPICS.up(device, Up.EVENT), b"hello")
                    assert eventually(lambda device=device: server.got(TOPICS.up(device, Up.EVENT)) == [b"hello"])  # type: ignore[misc]
            for device in ("board-00050", "board-09950"):
                with listening(address(device)) as board:
                    board.subscribe(TOPICS.desired(device), *(TOPICS.chunk(cohort, DIGEST) for cohort in COHORTS))
                    board.try_publish(TOPICS.up(device, Up.EVENT), b"hello")
                    server.publish(TOPICS.desired(device), b"mark")
                    server.publish(TOPICS.up("newcomer", Up.STATUS), device.encode())
                    assert eventually(
                        lambda device=device: device.encode() in server.got(TOPICS.up("newcomer", Up.STATUS))
                    )  # type: ignore[misc]
                    assert (board.received, server.got(TOPICS.up(device, Up.EVENT))) == ([], [])
    finally:
        broker.stop()
