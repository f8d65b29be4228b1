"""Hostile devices at the broker, each with a valid certificate of its own: what is delivered, never what is granted.

Mosquitto grants a denied subscription and delivers nothing on it, so delivery is what is looked at; and a victim's
session has to stay as it was.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.contract.topics import Topics, Up
from fleet_server.broker.client import BrokerAddress
from fleet_server.broker.mosquitto import Mosquitto
from tests.fakes.certificates import Certifier
from tests.fakes.mosquitto import mosquitto_program
from tests.fakes.mqtt import Listener, eventually, listening

pytestmark = pytest.mark.system

TOPICS = Topics()
ROOT = TOPICS.root
DIGEST, OTHER_DIGEST = "a" * 64, "b" * 64
OWN = [TOPICS.desired("mallory"), TOPICS.chunk("pi4", DIGEST), TOPICS.trust("image"), TOPICS.server_status()]
# Everything that is somebody else's; a victim in the attacker's own cohort, and one in another.
FOREIGN = [
    TOPICS.desired("victim"),
    TOPICS.block("victim", DIGEST),
    TOPICS.up("victim", Up.REPORTED),
    TOPICS.up("victim", Up.STATUS),
    TOPICS.health("victim", "digits"),
    TOPICS.chunk("zero2w", DIGEST),
    TOPICS.chunk("pi5", OTHER_DIGEST),
    f"{ROOT}/d/victim/rsp/replica/1",
]


class Broker:
    """A managed Mosquitto with a victim and an attacker, both enrolled."""

    def __init__(self, folder: Path) -> None:
        self.certifier = Certifier(folder / "keys")
        self.broker = Mosquitto(mosquitto_program(), folder / "m", TOPICS, self.certifier.tls)
        self.broker.start()
        self.victim = self.enrol("victim", "zero2w")
        self.mallory = self.enrol("mallory", "pi4")
        self.server = self.broker.address()

    def enrol(self, device: str, cohort: str) -> BrokerAddress:
        self.broker.accounts.add(device, None, cohort)
        return self.address(device, self.certifier.certify(device))

    def address(self, device: str, certificate: Path | None) -> BrokerAddress:
        end = self.broker.endpoint()
        return BrokerAddress(end.host, end.port, device, "", tls=True, ca_pem=end.ca_pem, certificate=certificate)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    found = Broker(tmp_path_factory.mktemp("attacks"))
    yield found
    found.broker.stop()


def arrives(server: Listener, device: Listener, topic: str, payload: bytes) -> bool:
    """Whether a message that the server publishes now reaches a device: the mark after which nothing else comes."""
    server.publish(topic, payload)
    return eventually(lambda: payload in device.got(topic))


@pytest.mark.parametrize(
    "wishes",
    [
        ["#"],
        ["+/#", "+/+/+/+/+/#"],
        [f"{ROOT}/#", f"{ROOT}/d/+/up/#", f"{ROOT}/d/+/dn/#"],
        ["$share/ingest/" + TOPICS.ingest(), "$share/x/#", f"$share/y/{ROOT}/d/victim/dn/#"],
        ["$SYS/#", "$CONTROL/#", "$SYS/broker/clients/+"],
        [f"{ROOT}/c/+/+", f"{ROOT}/c/#", f"{ROOT}/c/zero2w/+", TOPICS.chunk("zero2w", DIGEST)],
        FOREIGN,
        [f"{ROOT}/d/victim/#", f"{ROOT}/d/mallory/../victim/dn/#", f"{ROOT}/d/%u/dn/#", f"/{ROOT}/d/victim/dn/desired"],
    ],
    ids=["all", "levels", "below-root", "shared", "broker", "cohorts", "by-name", "tricks"],
)
def test_nothing_foreign_is_delivered_retained_or_live(fleet: Broker, wishes: list[str]) -> None:
    with listening(fleet.server) as server, listening(fleet.victim) as victim, listening(fleet.mallory) as mallory:
        for topic in [*FOREIGN, *OWN]:
            server.publish(topic, b"kept", retain=True)
        mallory.subscribe(*wishes)
        mallory.subscribe(*OWN)
        for topic in FOREIGN:
            server.publish(topic, b"live")
        victim.publish(TOPICS.up("victim", Up.WINDOW), b"secret")
        assert arrives(server, mallory, TOPICS.desired("mallory"), b"mark")
        assert {topic for topic, _ in mallory.received} == set(OWN)


POISON = [
    *FOREIGN,
    *[topic for topic in OWN if topic != TOPICS.up("mallory", Up.EVENT)],
    TOPICS.trust("director"),
    f"{ROOT}/d/_server/up/event",
    f"{ROOT}/d/_dashboard/up/event",
    f"{ROOT}/d/%u/up/event",
    f"{ROOT}/d/mallory",
    f"{ROOT}/d//up/event",
    f"/{ROOT}/d/victim/up/event",
    f"{ROOT}/d/mallory/../victim/up/event",
    f"{ROOT}/d/Mallory/up/event",
    "$SYS/broker/version",
    "$CONTROL/dynamic-security/v1",
]


def test_foreign_publishes_reach_nobody_and_poison_nothing(fleet: Broker) -> None:
    with listening(fleet.server) as server, listening(fleet.victim) as victim, listening(fleet.mallory) as mallory:
        for topic in POISON[: len(FOREIGN) + len(OWN)]:
            server.publish(topic, b"good", retain=True)
        server.subscribe("#")
        victim.subscribe(*FOREIGN[:2], *OWN[2:])
        before = len(server.received)
        for topic in POISON:
            mallory.try_publish(topic, b"forged", retain=True)
            mallory.try_publish(topic, b"", retain=True)
        mallory.publish(TOPICS.up("mallory", Up.EVENT), b"honest")
        assert eventually(lambda: server.got(TOPICS.up("mallory", Up.EVENT)) == [b"honest"])
        assert [payload for _, payload in server.received[before:] if payload in (b"forged", b"")] == []
        assert b"forged" not in {payload for _, payload in victim.received}
        assert not victim.ended.is_set()
    with listening(fleet.server) as fresh:  # what is retained is what the server said
        fresh.subscribe(*POISON[: len(FOREIGN) + len(OWN)])
        assert eventually(lambda: {topic for topic, _ in fresh.received} >= {*FOREIGN, *OWN})
        assert {payload for _, payload in fresh.received} == {b"good"}


@pytest.mark.parametrize("topic", [f"{ROOT}/d/+/up/event", f"{ROOT}/d/victim/#", "#"])
def test_a_topic_with_wildcards_ends_the_attackers_session_alone(fleet: Broker, topic: str) -> None:
    with listening(fleet.victim) as victim, listening(fleet.mallory) as mallory:
        with pytest.raises(ValueError, match="wildcards"):
            mallory.publish(topic, b"x")  # the client library refuses; a raw client is answered by the broker
        mallory.send_raw(topic, b"x")
        assert mallory.ended.wait(10)
        assert not victim.ended.is_set()


def test_another_client_id_takes_no_session_over(fleet: Broker) -> None:
    mine = TOPICS.desired("victim")
    with listening(fleet.victim) as victim, listening(fleet.server) as server:
        victim.subscribe(mine)
        for name in ("victim", "_server", "edgeloop-server", "_dashboard"):
            with listening(fleet.mallory, client_id=name) as mallory:
                assert mallory.up.is_set()
                mallory.subscribe(mine, "#")
                assert arrives(server, victim, mine, name.encode())
                assert {topic for topic, _ in mallory.received} <= set(OWN)
        # A user name and password in CONNECT are not looked at on this listener: the certificate is who it is.
        with listening(replace(fleet.mallory, username="victim", password="x"), client_id="victim") as mallory:
            mallory.subscribe(mine)
            assert arrives(server, victim, mine, b"still")
            assert {topic for topic, _ in mallory.received} <= set(OWN)
        assert not victim.ended.is_set()
        assert not server.ended.is_set()


def test_a_will_on_a_foreign_topic_is_never_published(fleet: Broker) -> None:
    with listening(fleet.server) as server:
        server.subscribe(f"{ROOT}/#")
        for topic in (TOPICS.up("victim", Up.STATUS), TOPICS.server_status(), TOPICS.desired("mallory")):
            with listening(fleet.mallory, will=(topic, b"forged")) as mallory:
                if mallory.up.is_set():
                    mallory.vanish()
        with listening(fleet.mallory, will=(TOPICS.up("mallory", Up.STATUS), b"gone")) as mallory:
            mallory.vanish()
        assert eventually(lambda: b"gone" in server.got(TOPICS.up("mallory", Up.STATUS)))
        assert b"forged" not in {payload for _, payload in server.received}


def test_an_oversize_packet_ends_the_attackers_session_alone(fleet: Broker) -> None:
    with listening(fleet.server) as server, listening(fleet.victim) as victim, listening(fleet.mallory) as mallory:
        server.subscribe(f"{ROOT}/d/+/up/event")
        mallory.try_publish(TOPICS.up("mallory", Up.EVENT), bytes(2 * 2**20))
        assert mallory.ended.wait(10)
        assert (victim.ended.is_set(), server.ended.is_set()) == (False, False)
        victim.publish(TOPICS.up("victim", Up.EVENT), b"well")
        assert eventually(lambda: b"well" in server.got(TOPICS.up("victim", Up.EVENT)))
        assert server.got(TOPICS.up("mallory", Up.EVENT)) == []


def test_a_device_reads_the_chunks_of_its_own_cohort_alone(fleet: Broker) -> None:
    """The models of other cohorts stay confidential, by every way to ask for them, kept and live."""
    cohorts = ("pi5", "zero2w", "pi-32bit")
    with listening(fleet.server) as server, listening(fleet.mallory) as mallory:
        for cohort in (*cohorts, "pi4"):
            server.publish(TOPICS.chunk(cohort, DIGEST), cohort.encode(), retain=True)
        mallory.subscribe(*(TOPICS.chunk(cohort, DIGEST) for cohort in (*cohorts, "pi4")))
        mallory.subscribe(f"{ROOT}/c/+/{DIGEST}", f"{ROOT}/c/#")
        for cohort in cohorts:
            server.publish(TOPICS.chunk(cohort, OTHER_DIGEST), b"live")
        assert arrives(server, mallory, TOPICS.chunk("pi4", OTHER_DIGEST), b"mark")
        assert {payload for _, payload in mallory.received} == {b"pi4", b"mark"}
        # Moved to another class of board, it loses these and gets those.
        fleet.broker.accounts.move("mallory", "pi5")
        server.publish(TOPICS.chunk("pi4", OTHER_DIGEST), b"lost")
        assert arrives(server, mallory, TOPICS.chunk("pi5", OTHER_DIGEST), b"mine now")
        assert b"lost" not in {payload for _, payload in mallory.received}
    fleet.broker.accounts.move("mallory", "pi4")
