"""The real services over a database in memory and a broker in virtual time; they may crash at every step.

House rules: what is committed outlives a crash, and nothing else does. The controller's turn is the composition's own.
"""

import threading
from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any

from edge_agent.contract.artifacts import parse_parcel, sha256
from edge_agent.contract.enrolment import EnrolRequest
from edge_agent.contract.messages import Get
from fleet_server.broker.ingest import Ingest
from fleet_server.broker.session import Message
from fleet_server.composition import Composition
from fleet_server.core.rollout_machine import Move
from fleet_server.links import PatientIntake
from fleet_server.services.announcements import Announcer
from fleet_server.services.certificates import Certificates
from fleet_server.services.controller import Controller
from fleet_server.services.devices import DeviceIntake
from fleet_server.services.enrolment import Enroller, EnrolmentRules, TokenRequest
from fleet_server.services.feedback import FeedbackRules
from fleet_server.services.identities import Identities
from fleet_server.services.outbox import Outbox
from fleet_server.services.recovery import Recovery
from fleet_server.services.retention import Housekeeping, Retention
from fleet_server.services.rollouts import RolloutRequest, Rollouts
from fleet_server.services.wire import Contact, Traffic
from fleet_server.store.errors import UnavailableError
from tests.chaos.broker import TOPICS, SimBroker
from tests.chaos.ground import EPOCH_MS, ground
from tests.chaos.timeline import Crash, Timeline, Weather
from tests.fakes.packs import peek_order
from tests.fakes.server_broker import MemoryAccounts

_TICK_S = 30.0


def _nothing() -> None:
    """Do nothing."""


class SimWire:
    """The services' wire over the simulated broker; each call may fail, before or after the broker took it."""

    def __init__(self, owner: "SimServer") -> None:
        self._owner = owner
        self.generation = 0

    @property
    def connected(self) -> bool:
        return self._owner.broker.server_link != 0

    def forget(self, device: str) -> None:
        self._owner.ingest.forget(device)

    def traffic(self) -> Traffic:
        return Traffic()

    def ship(self, cohort: str, parcel: bytes, read: Callable[[str], bytes]) -> None:
        for digest in parse_parcel(parcel).chunks:
            self._put(TOPICS.chunk(cohort, digest), read(digest), retain=True)
        self._put(TOPICS.chunk(cohort, sha256(parcel)), parcel, retain=True)

    def take_down(self, cohort: str, digests: Collection[str]) -> None:
        for digest in digests:
            self._put(TOPICS.chunk(cohort, digest), b"", retain=True)

    def publish(self, device: str, pack: bytes) -> None:
        desired = peek_order(pack)
        assert desired.device == device
        self._owner.watch.signed(desired)
        self._put(TOPICS.desired(device), pack, retain=True)

    def publish_trust(self, repository: str, pack: bytes) -> None:
        self._put(TOPICS.trust(repository), pack, retain=True)

    def clear(self, device: str) -> None:
        for topic in (topic for topic in tuple(self._owner.broker.retained) if f"/d/{device}/" in topic):
            self._put(topic, b"", retain=True)

    def answer(self, device: str, get: Get, allowed: Collection[str], read: Callable[[str], bytes]) -> int:
        found = [digest for digest in get.digests if digest in allowed]
        for digest in found:
            self._put(TOPICS.block(device, digest), read(digest), retain=False)
        return len(found)

    def _put(self, topic: str, payload: bytes, *, retain: bool) -> None:
        owner = self._owner
        owner.database.points.pass_by()
        if not self.connected or owner.weather.chance(0.01):
            raise ConnectionError("the broker is away")
        owner.broker.accept(topic, payload, retain=retain)
        owner.database.points.pass_by()
        if owner.weather.chance(0.01):
            raise ConnectionError("the acknowledgement did not come")


class InlineIngest(Ingest):
    """The ingest without its thread."""

    def start(self) -> None:
        """Nothing waits here: `take` is called with each message."""

    def take(self, message: Message) -> None:
        """Take in a message and acknowledge it."""
        self._take(message)
        message.ack()


class ImpatientIntake(PatientIntake):
    """The intake, which leaves a message with the broker where the database cannot be written."""

    def public_key(self, device: str) -> bytes | None:
        """The services' answer, read without their layers: it is asked for with every message."""
        rows = ground().database.raw.execute("SELECT public_key FROM devices WHERE id = ?", (device,)).fetchall()
        return bytes.fromhex(rows[0][0]) if rows else None

    def _patiently(self, take: Callable[[], None]) -> None:
        take()


class SimServer:
    """The server with its durable state, and its services while they live."""

    def __init__(self, timeline: Timeline, weather: Weather, broker: SimBroker, watch: Any) -> None:
        self.timeline, self.weather, self.broker, self.watch = timeline, weather, broker, watch
        self.database = ground().renew()
        self.accounts = MemoryAccounts()
        self.alive = False
        self._life = 0
        self._turning = False

    def start(self) -> None:
        """Compose the services on what is durable, and connect."""
        self._life += 1
        self.alive, self._turning, self.generation = True, False, -1
        clock = lambda: EPOCH_MS + int(self.timeline.now * 1000)  # noqa: E731
        database, announcer, base = self.database, Announcer(), ground()
        self.wire = SimWire(self)
        base.clock, image = clock, base.trust.image
        self.rollouts = Rollouts(database, base.assigner, announcer, clock, self.wake)
        recovery = Recovery(database, base.assigner, announcer, clock)
        controller = Controller(database, base.assigner, self.rollouts, recovery, announcer, clock)
        issuer = Certificates(database, base.authority, 60, clock)
        self.identities = Identities(database, self.accounts, issuer, self.wire, announcer, clock, self.wake)
        kept = Retention(100, 7, 30, FeedbackRules(1000, 30))
        self.turned = SimpleNamespace(
            _outside=SimpleNamespace(wire=self.wire),
            # All is signed, and nothing nears its end in the hours of a world.
            trust=SimpleNamespace(tryout=SimpleNamespace(turn=_nothing), image=SimpleNamespace(refresh=_nothing)),
            identities=self.identities,
            # No model has a pipeline, and none drifts in so short a time.
            retraining=SimpleNamespace(services=SimpleNamespace(proposals=SimpleNamespace(turn=_nothing))),
            controller=controller,
            monitor=SimpleNamespace(tick=_nothing),
            housekeeping=Housekeeping(database, kept, clock),
            outbox=Outbox(database, base.artifacts, self.wire, (image, base.trust.director), clock),
            context=SimpleNamespace(
                audit=SimpleNamespace(checkpoint=_nothing), auth=SimpleNamespace(save_uses=_nothing)
            ),
        )
        parts = database, base.artifacts, controller, self.identities, image, self.wire
        intake = DeviceIntake(*parts, announcer, clock, self.wake, kept)
        patient = ImpatientIntake(intake, threading.Event(), recovery.meet_stranger)
        self.ingest = InlineIngest(SimpleNamespace(connected=False), TOPICS, patient.public_key, patient)  # type: ignore[arg-type]
        rules = EnrolmentRules("pin", Contact("broker", 1, TOPICS.root), approve=False, roots=image.roots)
        self.enroller = Enroller(database, self.accounts, rules, issuer, announcer, clock)
        self._connect(self._life)
        self._tick(self._life)

    def die(self) -> None:
        """Lose all that is not committed; come back some time later."""
        self._life += 1
        self.alive = False
        self.database.points.crash_in = 0
        self.broker.cut_server()
        self.timeline.after(self.timeline.rng.uniform(1.0, 30.0), self.start)

    def do(self, work: Callable[[], None]) -> None:
        """Do something on the server, which may crash of it."""
        if not self.alive:
            return
        try:
            work()
        except Crash:
            self.die()
        self.watch.server_stepped(self)

    def wake(self) -> None:
        """A turn of the controller is wanted soon."""
        if not self._turning:
            self._turning = True
            self.timeline.after(self.timeline.rng.uniform(0.5, 5.0), self._turn, self._life)

    def enrol(self, device: str, public_key: bytes, capabilities: Any) -> None:
        """Let a device in, by a fresh token."""
        _, text = self.enroller.make_token(TokenRequest(), "operator")
        self.enroller.enrol(EnrolRequest(text, device, public_key.hex(), capabilities))

    def create(self, request: RolloutRequest) -> None:
        """Begin a rollout."""
        self.rollouts.create(request, "operator")

    def move(self, rollout: str, move: Move) -> None:
        """Move a rollout."""
        self.rollouts.move(rollout, move, "operator")

    def _receive(self, message: Message) -> None:
        def take() -> None:
            try:
                self.ingest.take(message)
            except UnavailableError:
                self.broker.refuse(message)

        self.do(take)

    def _turn(self, life: int) -> None:
        if life != self._life:
            return
        self._turning = False

        def turn() -> None:
            try:
                self.generation = Composition.turn(self.turned, self.generation)  # type: ignore[arg-type]
            except UnavailableError:
                self.timeline.after(5.0, self._turn, life)

        self.do(turn)

    def _tick(self, life: int) -> None:
        if life == self._life:
            self.wake()
            self.timeline.after(_TICK_S, self._tick, life)

    def _connect(self, life: int) -> None:
        """Be connected whenever the broker is there."""
        if life != self._life:
            return
        if not self.broker.server_link and self.broker.connect_server(self._receive):
            self.wire.generation += 1
            self.wake()
        self.timeline.after(5.0, self._connect, life)
