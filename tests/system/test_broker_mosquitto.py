"""The managed Mosquitto: certificates, access lists by delivery, live accounts, restarts, nothing left behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from edge_agent.contract.topics import Topics, Up
from fleet_server.broker.child import ChildFailedError
from fleet_server.broker.client import BrokerAddress
from fleet_server.broker.mosquitto import Mosquitto
from tests.fakes.certificates import Certifier
from tests.fakes.mosquitto import HOST, mosquitto_program, running_mosquitto
from tests.fakes.mqtt import eventually, listening

pytestmark = pytest.mark.system

TOPICS = Topics()
ROOT = Path(__file__).parents[2]
DIGEST = "a" * 64


class Fleet:
    """A managed broker, and devices' accounts on it."""

    def __init__(self, folder: Path) -> None:
        self.certifier = Certifier(folder.parent / "keys")
        self.broker = Mosquitto(mosquitto_program(), folder, TOPICS, self.certifier.tls)
        self.broker.start()

    def enrol(self, device: str, cohort: str) -> BrokerAddress:
        self.broker.accounts.add(device, None, cohort)
        end, certificate = self.broker.endpoint(), self.certifier.certify(device)
        return BrokerAddress(end.host, end.port, device, "", tls=True, ca_pem=end.ca_pem, certificate=certificate)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    found = Fleet(tmp_path / "mosquitto")
    yield found
    found.broker.stop()


def test_a_device_comes_in_with_its_certificate_only(fleet: Fleet) -> None:
    camera = fleet.enrol("cam-1", "pi4")
    with listening(camera) as device:
        assert device.up.is_set()
    for intruder in (
        replace(camera, certificate=None),
        replace(camera, certificate=None, password=fleet.broker.accounts.server_password, username="_server"),
        replace(camera, tls=False),
    ):
        with listening(intruder, "cam-1") as device:
            assert device.refused is not None
            assert not device.up.is_set()


def test_a_certificate_does_not_open_the_listener_for_passwords(fleet: Fleet) -> None:
    inside = replace(fleet.broker.address(), username="cam-1", password="")
    fleet.enrol("cam-1", "pi4")
    with listening(inside) as device:
        assert not device.up.is_set()


def test_a_device_reads_its_own_and_nothing_else(fleet: Fleet) -> None:
    mine, other = fleet.enrol("cam-1", "pi4"), fleet.enrol("cam-2", "zero2w")
    foreign = [TOPICS.desired("cam-2"), TOPICS.chunk("zero2w", DIGEST), TOPICS.up("cam-2", Up.STATUS)]
    own = [TOPICS.desired("cam-1"), TOPICS.chunk("pi4", DIGEST), TOPICS.server_status()]
    with listening(fleet.broker.address()) as server, listening(mine) as device, listening(other) as neighbour:
        for topic in [*own, *foreign]:
            server.publish(topic, b"kept", retain=True)
        device.subscribe("#", *own, *foreign, f"{TOPICS.root}/c/+/+", f"$share/ingest/{TOPICS.root}/d/+/up/#")
        neighbour.publish(TOPICS.up("cam-2", Up.WINDOW), b"secret")
        for topic in foreign:
            server.publish(topic, b"live")
        server.publish(TOPICS.desired("cam-1"), b"last")
        assert eventually(lambda: b"last" in device.got(TOPICS.desired("cam-1")))
        assert {topic for topic, _ in device.received} == set(own)


def test_a_device_writes_its_own_and_nothing_else(fleet: Fleet) -> None:
    mine, _ = fleet.enrol("cam-1", "pi4"), fleet.enrol("cam-2", "pi4")
    forbidden = [
        TOPICS.up("cam-2", Up.REPORTED),
        TOPICS.desired("cam-1"),
        TOPICS.desired("cam-2"),
        TOPICS.chunk("pi4", DIGEST),
        TOPICS.server_status(),
    ]
    with listening(fleet.broker.address()) as server, listening(mine) as device:
        server.subscribe(f"{TOPICS.root}/#")
        for topic in forbidden:
            device.publish(topic, b"forged", retain=True)
        device.publish(TOPICS.up("cam-1", Up.EVENT), b"honest")
        assert eventually(lambda: server.got(TOPICS.up("cam-1", Up.EVENT)) == [b"honest"])
        assert server.received == [(TOPICS.up("cam-1", Up.EVENT), b"honest")]


def test_a_device_cannot_take_over_anothers_session(fleet: Fleet) -> None:
    victim, thief = fleet.enrol("cam-1", "pi4"), fleet.enrol("cam-2", "pi4")
    with listening(victim) as device, listening(thief, client_id="cam-1") as other:
        assert other.up.is_set()
        device.subscribe(TOPICS.desired("cam-1"))
        with listening(fleet.broker.address()) as server:
            server.publish(TOPICS.desired("cam-1"), b"yours")
        assert eventually(lambda: device.got(TOPICS.desired("cam-1")) == [b"yours"])
        assert not device.ended.is_set()
        assert other.received == []


def test_accounts_change_while_others_stay_connected(fleet: Fleet) -> None:
    stays = fleet.enrol("cam-1", "pi4")
    with listening(stays) as device:
        device.subscribe(TOPICS.chunk("pi5", DIGEST), TOPICS.desired("cam-1"))
        late = fleet.enrol("cam-2", "pi4")
        with listening(late) as joined:
            assert joined.up.is_set()
        fleet.broker.accounts.remove("cam-2")
        with listening(fleet.broker.address()) as server:
            server.publish(TOPICS.chunk("pi5", DIGEST), b"before")
            fleet.broker.accounts.move("cam-1", "pi5")
            server.publish(TOPICS.chunk("pi5", DIGEST), b"after")
        assert eventually(lambda: device.got(TOPICS.chunk("pi5", DIGEST)) == [b"after"])
        assert not device.ended.is_set()


def test_a_removed_device_is_mute_at_once(fleet: Fleet) -> None:
    leaving = fleet.enrol("cam-1", "pi4")
    with listening(fleet.broker.address()) as server, listening(leaving) as device:
        server.subscribe(f"{TOPICS.root}/#")
        chunk = TOPICS.chunk("pi4", DIGEST)
        device.subscribe(chunk)
        fleet.broker.accounts.remove("cam-1")
        server.publish(chunk, b"new")
        server.publish(TOPICS.server_status(), b"mark")
        assert eventually(lambda: server.got(TOPICS.server_status()) == [b"mark"])
        assert device.got(chunk) == []


def test_dashboards_read_health_and_write_nothing(fleet: Fleet) -> None:
    camera = fleet.enrol("cam-1", "pi4")
    health = TOPICS.health("cam-1", "digits")
    with listening(fleet.broker.address()) as server, listening(camera) as device:
        with listening(fleet.broker.dashboard()) as dashboard:
            server.subscribe(f"{TOPICS.root}/#")
            dashboard.subscribe("#")
            for topic in (f"{TOPICS.root}/d/_dashboard/up/event", TOPICS.desired("cam-1"), health):
                dashboard.publish(topic, b"forged")
            device.publish(TOPICS.up("cam-1", Up.WINDOW), b"closed")
            device.publish(health, b"{}")
            assert eventually(lambda: dashboard.got(health) == [b"{}"] and len(server.received) == 2)
            assert TOPICS.up("cam-1", Up.WINDOW) not in {topic for topic, _ in dashboard.received}
        assert b"forged" not in {payload for _, payload in server.received}


def test_a_removed_device_is_let_in_again_by_a_new_account(fleet: Fleet) -> None:
    camera = fleet.enrol("cam-1", "pi4")
    fleet.broker.accounts.remove("cam-1")
    assert (fleet.broker.accounts.devices(), fleet.broker.accounts.denied()) == (frozenset(), {"cam-1"})
    fleet.broker.accounts.add("cam-1", None, "pi4")
    assert (fleet.broker.accounts.devices(), fleet.broker.accounts.denied()) == ({"cam-1"}, frozenset())
    with listening(camera) as device, listening(fleet.broker.address()) as server:
        device.subscribe(TOPICS.chunk("pi4", DIGEST))
        server.publish(TOPICS.chunk("pi4", DIGEST), b"new")
        assert eventually(lambda: device.got(TOPICS.chunk("pi4", DIGEST)) == [b"new"])
    fleet.broker.accounts.remove("cam-1")
    fleet.broker.accounts.forget(["cam-1"])
    assert fleet.broker.accounts.denied() == frozenset()


def test_accounts_and_retained_messages_outlive_the_server(tmp_path: Path) -> None:
    first = Fleet(tmp_path / "mosquitto")
    camera = first.enrol("cam-1", "pi4")
    with listening(first.broker.address()) as server:
        server.publish(TOPICS.desired("cam-1"), b"kept", retain=True)
    first.broker.stop()
    second = Fleet(tmp_path / "mosquitto")
    try:
        assert second.broker.accounts.devices() == {"cam-1"}
        assert second.broker.endpoint().port == camera.port
        with listening(camera) as device:
            device.subscribe(TOPICS.desired("cam-1"))
            assert eventually(lambda: device.got(TOPICS.desired("cam-1")) == [b"kept"])
    finally:
        second.broker.stop()


def test_no_file_of_the_broker_is_readable_by_others(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "mosquitto"
    fleet.enrol("cam-1", "pi4")
    assert folder.stat().st_mode & 0o077 == 0
    for name in ("accounts.json", "passwords", "access", "mosquitto.conf"):
        assert (folder / name).stat().st_mode & 0o077 == 0


def test_a_dead_broker_is_started_again(fleet: Fleet) -> None:
    before = fleet.broker.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: fleet.broker.pid not in (None, before))
    assert eventually(lambda: answers(fleet.broker.endpoint().port))
    with listening(fleet.enrol("cam-1", "pi4")) as device:
        assert device.up.is_set()


def answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with running_mosquitto(tmp_path) as other:
        (tmp_path / "second").mkdir()
        (tmp_path / "second" / "local-port").write_text(str(other.port))
        second = Mosquitto(mosquitto_program(), tmp_path / "second", TOPICS, Certifier(tmp_path / "keys").tls)
        with pytest.raises(ChildFailedError, match="taken by another program"):
            second.start()


def test_a_broker_that_cannot_start_is_told_with_its_own_words(tmp_path: Path) -> None:
    program = tmp_path / "mosquitto"
    program.write_text("#!/bin/sh\necho Error: cannot read the configuration >&2\nexit 3\n")
    program.chmod(0o700)
    with pytest.raises(ChildFailedError, match=r"does not listen.*cannot read the configuration"):
        Mosquitto(program, tmp_path / "m", TOPICS, Certifier(tmp_path / "keys").tls).start()


_SERVER = """
import sys
from pathlib import Path
from edge_agent.contract.topics import Topics
from fleet_server.broker.mosquitto import Mosquitto
from tests.fakes.certificates import Certifier
broker = Mosquitto(Path(sys.argv[1]), Path(sys.argv[2]), Topics(), Certifier(Path(sys.argv[2]).parent / "keys").tls)
broker.start()
print(broker.pid, flush=True)
sys.stdin.read()
"""


def test_the_broker_dies_with_a_killed_server(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SERVER, str(mosquitto_program()), str(tmp_path / "m")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        assert psutil.pid_exists(pid)
        server.kill()
        server.wait(10)
    assert eventually(lambda: not psutil.pid_exists(pid))
