"""A broker and a server on virtual time, for one agent: retained messages, acknowledgements that get lost, absences."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nacl.signing import SigningKey

from edge_agent.adapters.broker import Acked, Arrived, Broker, BrokerInput, Connected, Disconnected
from edge_agent.contract import codec
from edge_agent.contract.envelope import PayloadType, open_envelope
from edge_agent.contract.messages import AgentSettings, Desired, Event, Get, Outcome, Reported, Soak
from edge_agent.contract.topics import Topics, Up
from edge_agent.contract.window_packing import unpack_window
from edge_agent.contract.windows import Window
from tests.fakes.agent_bundles import COHORT, FakeBundle
from tests.fakes.virtual import Cutter, World
from tests.fakes.virtual_trust import sign_order

TOPICS = Topics()
DEVICE = "dev-1"
_TRIP_S = 0.01


@dataclass
class VirtualServer:
    """What the server publishes for the device, and what it has taken in of it, repeats and all.

    While the broker is `away` nothing connects; of the next `lose_acks` messages, and of a `lose_share` of all, the
    PUBACK is lost with the link.
    """

    key: SigningKey = field(default_factory=SigningKey.generate)
    retained: dict[str, bytes] = field(default_factory=dict)
    blocks: dict[str, bytes] = field(default_factory=dict)
    away: bool = False
    lose_acks: int = 0
    lose_share: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(5))
    taken: list[tuple[float, str, bytes]] = field(default_factory=list)
    reports: list[Reported] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    healths: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def release(self, bundle: FakeBundle) -> None:
        """Publish a bundle's chunks, retained."""
        self.retained |= {TOPICS.chunk(COHORT, digest): data for digest, data in bundle.chunks.items()}

    def desired(self, seq: int, *bundles: FakeBundle, soak: Soak, settings: AgentSettings | None = None) -> bytes:
        """A signed document."""
        document = Desired(
            DEVICE, seq, 1, tuple(bundle.desired for bundle in bundles), soak, settings or AgentSettings()
        )
        return sign_order(document, self.key)

    def outcomes(self, seq: int) -> list[Outcome]:
        """The different outcomes reported for a document; reports are repeated, outcomes must not be."""
        found = [report.outcome for report in self.reports if report.outcome and report.outcome.desired_seq == seq]
        return list({codec.encode(outcome): outcome for outcome in found}.values())

    def take(self, now: float, topic: str, payload: bytes) -> None:
        """Take in one message; a repeat is taken in again, as QoS 1 has it."""
        self.taken.append((now, topic, payload))
        match TOPICS.parse_up(topic).kind:
            case Up.REPORTED:
                self.reports.append(codec.decode(Reported, _content(payload, PayloadType.REPORTED)))
            case Up.EVENT:
                self.events.append(codec.decode(Event, _content(payload, PayloadType.EVENT)))
            case Up.WINDOW:
                self.windows.append(unpack_window(_content(payload, PayloadType.PACKED_WINDOW)))
            case Up.HEALTH:
                self.healths.append((now, json.loads(payload)))
            case _:
                pass


def _content(payload: bytes, kind: PayloadType) -> bytes:
    return open_envelope(payload, kind).content


class VirtualBroker(Broker):
    """The agent's side of the connection."""

    def __init__(self, world: World, cutter: Cutter, server: VirtualServer, put: Callable[[BrokerInput], None]) -> None:
        self._world = world
        self._cutter = cutter
        self._server = server
        self._put = put
        self.link = 0
        self.up = False
        self.gone = False
        self._mids = 0
        self._topics: set[str] = set()
        self.turned_at = 0.0

    def start(self) -> None:
        self._world.after(_TRIP_S, self._connect)

    def stop(self) -> None:
        self.up = False
        self.gone = True

    def vanish(self) -> None:
        """The agent is gone, and its connection with it."""
        self.stop()

    def lose(self) -> None:
        """The connection is lost, and everything on its way."""
        if self.up:
            self.up = False
            self._topics.clear()
            self._put(Disconnected(self.link, "lost"))
            self._world.after(1.0, self._connect)

    def arrive(self, topic: str) -> None:
        """Deliver what is retained on a topic, as a new publish there does."""
        if self.up and topic in self._topics and topic in self._server.retained:
            self._deliver(topic, self._server.retained[topic])

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int | None = None) -> int | None:
        if not self.up:
            return None
        kind = TOPICS.parse_up(topic).kind
        self._cutter.at(f"{kind}<")
        self._mids += 1
        mid, link = self._mids, self.link
        self._world.after(_TRIP_S, lambda: self._take(link, mid, topic, payload))
        self._cutter.at(f"{kind}>")
        return mid

    def subscribe(self, *topics: str) -> None:
        if self.up:
            self._topics |= set(topics)
            for topic in topics:
                self.arrive(topic)

    def unsubscribe(self, *topics: str) -> None:
        self._topics -= set(topics)

    def _connect(self) -> None:
        if self.gone or self.up:
            return
        if self._server.away:
            self._world.after(1.0, self._connect)
            return
        self.link, self.up = self.link + 1, True
        self._put(Connected(self.link))

    def _deliver(self, topic: str, payload: bytes) -> None:
        link = self.link
        self._world.after(
            _TRIP_S, lambda: self._put(Arrived(link, topic, payload)) if self.up and link == self.link else None
        )

    def _take(self, link: int, mid: int, topic: str, payload: bytes) -> None:
        """The message has arrived, whatever became of its sender."""
        if self._server.away:
            return
        if TOPICS.parse_up(topic).kind is Up.GET:
            self._repair(codec.decode(Get, payload))
        else:
            self._server.take(self._world.now, topic, payload)
        if not self.up or link != self.link:
            return
        if self._server.lose_acks > 0 or self._server.chance.random() < self._server.lose_share:
            self._server.lose_acks = max(0, self._server.lose_acks - 1)
            self.lose()
        else:
            self._put(Acked(link, mid, ""))

    def _repair(self, get: Get) -> None:
        for digest in get.digests:
            topic = TOPICS.block(DEVICE, digest)
            if digest in self._server.blocks and topic in self._topics:
                self._deliver(topic, self._server.blocks[digest])
