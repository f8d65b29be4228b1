"""Artifacts over a real Mosquitto: sent once for any number of devices, read back, repaired, cleared."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge_agent.contract import codec
from edge_agent.contract.artifacts import PackedFile, Parcel, compress, cut, sha256
from edge_agent.contract.messages import Get
from edge_agent.contract.topics import Topics
from fleet_server.broker.client import BrokerAddress
from fleet_server.broker.distribution import Distribution
from fleet_server.broker.session import BrokerUnavailableError, Session
from tests.fakes.mosquitto import RunningMosquitto, running_mosquitto
from tests.fakes.mqtt import Listener, eventually, listening

pytestmark = pytest.mark.system

TOPICS = Topics()


class Packed:
    """A bundle of two files, packed: its parcel and its chunks by digest."""

    def __init__(self, size_bytes: int = 2_500_000) -> None:
        contents = {"manifest.json": b"{}", "model.onnx": secrets.token_bytes(size_bytes)}
        self.chunks: dict[str, bytes] = {}
        files = []
        for name, content in contents.items():
            packed = compress(content)
            chunks = cut(packed)
            self.chunks.update((sha256(chunk), chunk) for chunk in chunks)
            names = tuple(sha256(chunk) for chunk in chunks)
            files.append(PackedFile(name, sha256(content), len(content), len(packed), names))
        self.listing = Parcel(files[0].sha256, 131072, tuple(files))
        self.parcel = codec.encode(self.listing)
        self.read_n = 0

    def read(self, digest: str) -> bytes:
        self.read_n += 1
        return self.chunks[digest]

    @property
    def digests(self) -> list[str]:
        return [*self.chunks, sha256(self.parcel)]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningMosquitto]:
    limits = "max_queued_messages 100000\nmax_inflight_messages 200"
    with running_mosquitto(
        tmp_path, f"allow_anonymous true\npersistence true\npersistence_location {tmp_path}/\n{limits}"
    ) as found:
        yield found


@pytest.fixture
def session(broker: RunningMosquitto) -> Iterator[Session]:
    found = connected(broker)
    yield found
    found.stop()


def connected(broker: RunningMosquitto) -> Session:
    session = Session(BrokerAddress(broker.host, broker.port), "_server", TOPICS.server_status())
    session.start()
    assert session.wait_connected(10)
    return session


def fetch(listener: Listener, cohort: str, digests: list[str]) -> bool:
    """Fetch as an agent does: single topics, a window at a time."""
    for start in range(0, len(digests), 16):
        window = [TOPICS.chunk(cohort, digest) for digest in digests[start : start + 16]]
        listener.subscribe(*window)
        if not eventually(lambda window=window: all(listener.got(topic) for topic in window)):  # type: ignore[misc] # mypy cannot infer a lambda's default
            return False
    return True


@pytest.mark.parametrize("agents", [1, 4, 16])
def test_an_artifact_is_sent_once_for_any_number_of_agents(
    broker: RunningMosquitto, session: Session, agents: int
) -> None:
    packed = Packed()
    with ExitStack() as stack:
        address = BrokerAddress(broker.host, broker.port)
        listeners = [stack.enter_context(listening(address, f"cam-{i}")) for i in range(agents)]
        shipped = Distribution(session, TOPICS).ship("pi4", packed.parcel, packed.read)
        for listener in listeners:
            assert fetch(listener, "pi4", packed.digests)
            assert {sha256(payload) for _, payload in listener.received} == set(packed.digests)
    assert shipped.published == len(packed.digests)
    chunk_bytes_out = session.counters.bytes_out
    assert shipped.published_bytes <= chunk_bytes_out <= 1.05 * packed.listing.packed_size


def test_a_second_shipment_publishes_nothing_even_after_a_restart_of_the_server(
    broker: RunningMosquitto, session: Session
) -> None:
    packed = Packed(300_000)
    first = Distribution(session, TOPICS)
    assert first.ship("pi4", packed.parcel, packed.read).published == 4 + 1
    assert first.ship("pi4", packed.parcel, packed.read).published == 0
    session.stop()
    returned = connected(broker)
    try:
        packed.read_n = 0
        shipped = Distribution(returned, TOPICS).ship("pi4", packed.parcel, packed.read)
        assert (shipped.published, shipped.present, packed.read_n) == (0, 5, 0)
        assert Distribution(returned, TOPICS).ship("pi5", packed.parcel, packed.read).published == 5
    finally:
        returned.stop()


def test_a_damaged_or_lost_chunk_is_published_again(broker: RunningMosquitto, session: Session) -> None:
    packed = Packed(500_000)
    Distribution(session, TOPICS).ship("pi4", packed.parcel, packed.read)
    damaged, lost = list(packed.chunks)[1:3]
    session.publish(TOPICS.chunk("pi4", damaged), b"garbage", retain=True)
    session.publish(TOPICS.chunk("pi4", lost), b"", retain=True)
    shipped = Distribution(session, TOPICS).ship("pi4", packed.parcel, packed.read)
    assert shipped.published == 2
    with listening(BrokerAddress(broker.host, broker.port), "cam-1") as agent:
        assert fetch(agent, "pi4", packed.digests)


def test_a_store_that_returns_other_bytes_publishes_nothing(session: Session) -> None:
    packed = Packed(1000)
    with pytest.raises(ValueError, match="other bytes"):
        Distribution(session, TOPICS).ship("pi4", packed.parcel, lambda _digest: b"other")
    assert session.counters.messages_out == 0


def test_clearing_frees_the_topics(broker: RunningMosquitto, session: Session) -> None:
    packed = Packed(300_000)
    distribution = Distribution(session, TOPICS)
    distribution.ship("pi4", packed.parcel, packed.read)
    distribution.clear("pi4", packed.digests)
    with listening(BrokerAddress(broker.host, broker.port), "cam-1") as agent:
        agent.subscribe(*(TOPICS.chunk("pi4", digest) for digest in packed.digests), TOPICS.server_status())
        assert eventually(lambda: bool(agent.got(TOPICS.server_status())))
        assert len(agent.received) == 1
    assert distribution.ship("pi4", packed.parcel, packed.read).published == len(packed.digests)


def test_repair_answers_what_the_device_may_have(broker: RunningMosquitto, session: Session) -> None:
    packed = Packed(300_000)
    wanted, foreign = list(packed.chunks)[:2], "f" * 64
    distribution = Distribution(session, TOPICS)
    with listening(BrokerAddress(broker.host, broker.port), "cam-1") as agent:
        agent.subscribe(f"{TOPICS.root}/d/cam-1/dn/#")
        sent = distribution.answer("cam-1", Get((*wanted, foreign)), set(wanted), packed.read)
        assert sent == 2
        assert eventually(lambda: len(agent.received) == 2)
        assert [payload for _, payload in agent.received] == [packed.chunks[digest] for digest in wanted]
    assert distribution.repaired_bytes == sum(len(packed.chunks[digest]) for digest in wanted)
    assert distribution.published_bytes == 0


def test_a_greedy_device_is_put_off_and_others_are_not(session: Session) -> None:
    block = secrets.token_bytes(4 * 2**20 // 8)
    digest = sha256(block)
    distribution = Distribution(session, TOPICS)
    sent = sum(distribution.answer("cam-1", Get((digest,)), {digest}, lambda _digest: block) for _ in range(80))
    assert sent == 64
    assert distribution.answer("cam-2", Get((digest,)), {digest}, lambda _digest: block) == 1


def test_without_a_broker_shipping_fails_as_transient(session: Session) -> None:
    session.stop()
    packed = Packed(1000)
    with pytest.raises(BrokerUnavailableError):
        Distribution(session, TOPICS).ship("pi4", packed.parcel, packed.read)
