"""All that devices write, verified and typed, handed to a sink one after the other.

House rules: identity is the topic's, where the broker binds it to the credentials; what a decision may rest on must
carry the device's signature as well. A message is acknowledged to the broker after the sink has taken it, so one that
comes while the server is down is not lost; a repeat does no harm, because reports are ordered by (boot, seq) and
windows have keys. What does not count is counted with its reason. Retained copies count for status and reports only.
"""

import queue
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import structlog

from edge_agent.contract import codec
from edge_agent.contract.envelope import MAX_ENVELOPE_BYTES, PayloadType
from edge_agent.contract.feedback import FeedbackRows
from edge_agent.contract.messages import Event, Get, Health, Reported, Status
from edge_agent.contract.topics import Topics, Up, UpTopic
from edge_agent.contract.windows import Window
from fleet_server.broker.evidence import Rejected, RejectedError, open_signed, open_window
from fleet_server.broker.session import Message, Session
from fleet_server.core.ordering import judge_reported, judge_status

log = structlog.get_logger(__name__)

_QUEUE = 4096
_REMEMBERED = 4096
_STOP_TIMEOUT_S = 10.0

P = TypeVar("P", Status, Health, Get)
FindKey = Callable[[str], bytes | None]


class Sink(Protocol):
    """Takes what counts, on the ingest's one thread. An exception is logged and counted; the message is then gone."""

    def on_status(self, device: str, status: Status) -> None:
        """A device came, left or was lost. Unsigned: no decision rests on it."""
        ...

    def on_reported(self, reported: Reported, envelope: bytes) -> None:
        """A newer report of a device; the envelope is its evidence."""
        ...

    def on_disordered(self, reported: Reported) -> None:
        """A signed report that is no newer than the last: no state, but perhaps a trace of a copied identity."""
        ...

    def on_health(self, device: str, health: Health) -> None:
        """Figures for dashboards. Unsigned: no decision rests on them."""
        ...

    def on_window(self, window: Window) -> None:
        """A closed window; a repeat has the same (device, model, version, boot, number)."""
        ...

    def on_feedback(self, rows: FeedbackRows) -> None:
        """Labelled rows of a model; a repeat has the same (device, boot, number)."""
        ...

    def on_event(self, event: Event) -> None:
        """A lifecycle event; a repeat has the same (device, boot, n)."""
        ...

    def on_get(self, device: str, get: Get) -> None:
        """A device misses chunks."""
        ...

    def on_rejected(self, device: str | None, topic: str, reason: Rejected, detail: str) -> None:
        """A message did not count; `device` is None where not even the topic tells."""
        ...


class Ingest:
    """Takes devices' messages off the session, from `start` to `stop`. Start it *before* the session.

    What waited with the broker comes as soon as the session is up, and is lost if nobody has subscribed by then.

    `keys` returns a device's raw Ed25519 public key, or None for a device that is not enrolled. `share` names the group
    of servers that divide the messages among them; `retained` also reads each device's retained status and report,
    which the one server that controls needs after a restart.
    """

    def __init__(
        self,
        session: Session,
        topics: Topics,
        keys: FindKey,
        sink: Sink,
        *,
        share: str | None = "ingest",
        retained: bool = True,
    ) -> None:
        self._session = session
        self._topics = topics
        self._keys = keys
        self._sink = sink
        self._filters = (topics.ingest(share), *(topics.retained_up() if retained else ()))
        self._queue: queue.Queue[Message | None] = queue.Queue(_QUEUE)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._statuses: dict[str, Status] = {}
        self._reports: dict[str, tuple[int, int]] = {}
        # The last payload taken of each status and report topic: both subscriptions deliver one copy each.
        self._taken: dict[str, bytes] = {}
        self._counts: Counter[str] = Counter()

    @property
    def counters(self) -> Mapping[str, int]:
        """Messages taken by kind, `retained`, `repeated` or older, `overflow`, `sink_error`, `rejected_<reason>`."""
        with self._lock:
            return dict(self._counts)

    @property
    def passed_over(self) -> Mapping[str, int]:
        """What did not count, by reason: those of `Rejected`, `repeated` (or older), and `retained` leftovers."""
        found = {str(reason): self._counts[f"rejected_{reason}"] for reason in Rejected}
        return found | {reason: self._counts[reason] for reason in ("repeated", "retained")}

    @property
    def waiting(self) -> int:
        """Messages that came and are not yet taken."""
        return self._queue.qsize()

    def start(self) -> None:
        """Subscribe, and begin to hand over."""
        if self._session.connected:
            log.error("ingest_started_after_session", consequence="messages that waited with the broker may be lost")
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)
        self._thread.start()
        self._session.subscribe(self._filters, self._receive, deferred=True)

    def stop(self) -> None:
        """Take no more from the broker, finish what is queued, end the thread. Safe to call twice.

        The subscriptions stay with the broker: what comes from now on waits there for the next start.
        """
        thread = self._thread
        if thread is not None:
            self._queue.put(None)
            thread.join(_STOP_TIMEOUT_S)
        self._thread = None

    def forget(self, device: str) -> None:
        """Accept any order of a device again: it was removed or enrolled anew."""
        with self._lock:
            self._statuses.pop(device, None)
            self._reports.pop(device, None)
            self._taken.clear()

    def _receive(self, message: Message) -> None:
        """Queue a message; on the session's thread. What does not fit stays unacknowledged with the broker."""
        try:
            self._queue.put_nowait(message)
        except queue.Full:
            self._count("overflow")

    def _run(self) -> None:
        while (message := self._queue.get()) is not None:
            try:
                self._take(message)
            except Exception:  # a sink's bug must not end ingestion; it is logged whole and counted
                self._count("sink_error")
                log.exception("sink_failed", topic=message.topic)
            message.ack()

    def _take(self, message: Message) -> None:
        device: str | None = None
        try:
            topic = self._parse_topic(message.topic)
            device = topic.device
            lasting = topic.kind in (Up.STATUS, Up.REPORTED)
            if message.retained and not lasting:
                self._count("retained")
            elif lasting and self._taken.get(message.topic) == message.payload:
                self._count("repeated")
            elif message.payload:  # without, a retained message was cleared
                self._open(topic, message.payload)
                if lasting:
                    self._remember(message)
        except RejectedError as error:
            self._count(f"rejected_{error.reason}")
            if device is not None and error.reason is not Rejected.UNKNOWN_DEVICE:
                self._remember(message)
            self._sink.on_rejected(device, message.topic, error.reason, str(error))

    def _remember(self, message: Message) -> None:
        with self._lock:
            if len(self._taken) >= _REMEMBERED:
                self._taken.clear()  # costs a repeated verification, nothing else
            self._taken[message.topic] = message.payload

    def _parse_topic(self, topic: str) -> UpTopic:
        try:
            return self._topics.parse_up(topic)
        except ValueError as error:
            raise RejectedError(Rejected.BAD_TOPIC, str(error)) from error

    def _open(self, topic: UpTopic, payload: bytes) -> None:
        device = topic.device
        key = self._keys(device)
        if key is None:
            raise RejectedError(Rejected.UNKNOWN_DEVICE, f"{device} is not enrolled")
        match topic.kind:
            case Up.STATUS:
                self._take_status(device, _decode(Status, payload))
            case Up.REPORTED:
                reported = open_signed(Reported, PayloadType.REPORTED, payload, device, key)
                self._take_reported(reported, payload)
            case Up.WINDOW:
                self._sink.on_window(open_window(payload, device, key))
            case Up.FEEDBACK:
                self._sink.on_feedback(open_signed(FeedbackRows, PayloadType.FEEDBACK, payload, device, key))
            case Up.EVENT:
                self._sink.on_event(open_signed(Event, PayloadType.EVENT, payload, device, key))
            case Up.HEALTH:
                health = _decode(Health, payload)
                if health.model != topic.model:
                    raise RejectedError(Rejected.WRONG_MODEL, f"it speaks of {health.model[:64]!r}")
                self._sink.on_health(device, health)
            case Up.GET:
                self._sink.on_get(device, _decode(Get, payload))
        if topic.kind not in (Up.STATUS, Up.REPORTED):
            self._count(topic.kind)

    def _take_status(self, device: str, status: Status) -> None:
        if not judge_status(self._statuses.get(device), status):
            self._count("repeated")
            return
        self._sink.on_status(device, status)
        with self._lock:
            self._statuses[device] = status
        self._count(Up.STATUS)

    def _take_reported(self, reported: Reported, envelope: bytes) -> None:
        order = (reported.boot, reported.seq)
        if not judge_reported(self._reports.get(reported.device), order):
            self._count("repeated")
            self._sink.on_disordered(reported)
            return
        self._sink.on_reported(reported, envelope)
        with self._lock:
            self._reports[reported.device] = order
        self._count(Up.REPORTED)

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1


def _decode(kind: type[P], payload: bytes) -> P:
    if len(payload) > MAX_ENVELOPE_BYTES:
        raise RejectedError(Rejected.MALFORMED, f"{len(payload)} bytes are over the limit of {MAX_ENVELOPE_BYTES}")
    try:
        return codec.decode(kind, payload)
    except codec.MalformedError as error:
        raise RejectedError(Rejected.MALFORMED, str(error)) from error
