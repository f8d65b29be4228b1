"""PUBACKs that are lost: the agent sends again, and the server counts nothing twice.

The agent is the real one on virtual time; all that it sent, repeats and all, goes through the real ingest into the
real database.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from edge_agent.contract.messages import AgentSettings, Soak
from fleet_server.broker.ingest import Ingest
from fleet_server.broker.session import BrokerAddress, Message, Session
from tests.fakes.agent_bundles import make_bundle
from tests.fakes.server_app import Served, served
from tests.fakes.virtual_broker import DEVICE, TOPICS
from tests.fakes.virtual_device import VirtualDevice

LOSSES = 0.3  # of all PUBACKs, and the first three


@pytest.fixture
def folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def sent_with_losses(folder: Path) -> VirtualDevice:
    """A device that installs a model, closes windows, and whose connection breaks before many of its PUBACKs."""
    device = VirtualDevice(folder, beat_s=1.0)
    bundle = make_bundle()
    device.server.release(bundle)
    settings = AgentSettings(health_s=10.0, window_s=10.0)
    soak = Soak(min_s=0.5, max_s=3.0, min_rows=5)
    device.server.retained[TOPICS.desired(DEVICE)] = device.server.desired(1, bundle, soak=soak, settings=settings)
    device.server.lose_acks, device.server.lose_share = 3, LOSSES
    end_at = device.world.now + 240.0
    assert device.live(lambda: device.world.now > end_at and not device.journal.reports())
    return device


def take_in(server: Served, device: VirtualDevice) -> None:
    """Let the server take in every message, in the order in which they came."""
    key = bytes(SigningKey(device.seed).verify_key)
    session = Session(BrokerAddress("127.0.0.1", 1, "server", ""), "server")
    ingest = Ingest(session, TOPICS, lambda _: key, server.server.intake)
    for _, topic, payload in device.server.taken:
        ingest._take(Message(topic, payload, False, lambda: None))
    assert not [name for name in ingest.counters if name.startswith(("rejected", "sink"))]


def test_what_was_sent_again_counts_once(folder: Path) -> None:
    (folder / "device").mkdir()
    device = sent_with_losses(folder / "device")
    came = Counter((topic, payload) for _, topic, payload in device.server.taken)
    repeated = [topic for (topic, _), count in came.items() if count > 1]
    assert any(topic.endswith("/event") for topic in repeated)
    assert any(topic.endswith("/window") for topic in repeated)
    assert any(topic.endswith("/reported") for topic in repeated)
    with served(folder) as server:
        server.enrol(DEVICE)
        take_in(server, device)
        numbers = [window["number"] for window in pages(server, "/windows")]
        assert sorted(numbers) == sorted({window.number for window in device.server.windows})
        codes = Counter(event["code"] for event in pages(server, "/events") if event["source"] == "device")
        once = {event.n: str(event.code) for event in device.server.events}
        assert codes == Counter(once.values())
        shown = server.call("GET", f"/devices/{DEVICE}")
        assert [one["version"] for one in shown["running"]] == [1]
        assert (shown["outcome"]["desired_seq"], shown["outcome"]["result"]) == (1, "succeeded")


def pages(server: Served, path: str) -> list[dict[str, object]]:
    """Every item of a list, over all its pages."""
    found: list[dict[str, object]] = []
    query = "?limit=200"
    while True:
        page = server.call("GET", path + query)
        found += page["items"]
        if not page.get("next"):
            return found
        query = f"?limit=200&cursor={page['next']}"
