"""What the device says of itself: reports, events, windows, health; numbered, signed, ready to send.

House rules: numbers count within a boot, and the boot is counted in the journal, so (boot, number) never repeats.
Everything on which a decision may rest is signed here.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from edge_agent.adapters.journal import Report
from edge_agent.adapters.trust import DeviceKey
from edge_agent.contract import codec
from edge_agent.contract.envelope import MAX_ENVELOPE_BYTES, PayloadType, deflate
from edge_agent.contract.feedback import FeedbackRows
from edge_agent.contract.messages import Capabilities, Event, Health, Progress, Reported, TrustHeld
from edge_agent.contract.states import EventCode, UpdateState
from edge_agent.contract.topics import Topics, Up
from edge_agent.contract.window_packing import pack_window
from edge_agent.contract.windows import Window
from edge_agent.core.control import FeedbackSample, WindowClosed, WindowUnderWay
from edge_agent.core.spool_rules import Message, Priority
from edge_agent.core.update_machine import Update, running

_HEALTH_EXPIRY_S = 24 * 3600
_WEEK_S = 7 * 24 * 3600
# Base64 makes a third more of it, so that an envelope stays well below its limit.
_FEEDBACK_BYTES = MAX_ENVELOPE_BYTES // 2


def epoch_ms() -> int:
    """Return this device's clock in epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Reporter:
    """Makes signed messages of one boot."""

    def __init__(
        self, device: str, boot: int, topics: Topics, key: DeviceKey, board: Callable[[], Capabilities]
    ) -> None:
        self._device = device
        self._boot = boot
        self._topics = topics
        self._key = key
        self._board = board
        self._reports = 0
        self._events = 0
        self._windows = 0
        self._feedbacks = 0
        self._healths: dict[str, int] = {}
        # The trust metadata held, as the verifier said last.
        self.held = TrustHeld()

    def report(self, update: Update, disabled: frozenset[str], counts: tuple[int, int], *, terminal: bool) -> Report:
        """Return the signed report of an update as it stands."""
        self._reports += 1
        reported = Reported(
            device=self._device,
            boot=self._boot,
            seq=self._reports,
            ts=epoch_ms(),
            desired_seq=update.highest_seq,
            running=running(update, disabled),
            capabilities=self._board(),
            progress=progress(update, counts),
            outcome=update.outcome,
            trust=self.held,
        )
        return Report(self._key.sign(PayloadType.REPORTED, codec.encode(reported)), terminal)

    def event(
        self, code: EventCode, detail: str, model: str | None = None, fields: Mapping[str, str] | None = None
    ) -> Message:
        """Return a signed event."""
        self._events += 1
        event = Event(self._device, self._boot, self._events, epoch_ms(), code, detail, model, dict(fields or {}))
        payload = self._key.sign(PayloadType.EVENT, codec.encode(event))
        return Message(self._topics.up(self._device, Up.EVENT), payload, Priority.EVENT, _WEEK_S)

    def next_window(self) -> int:
        """Return the number of the next window in this boot."""
        self._windows += 1
        return self._windows

    def window(self, closed: WindowClosed | WindowUnderWay, number: int) -> Message:
        """Return a signed window, closed or as it stands."""
        window = Window(
            device=self._device,
            boot=self._boot,
            number=number,
            model=closed.model,
            version=closed.version,
            digest=closed.digest,
            started=closed.started,
            ended=closed.ended,
            counts=closed.counts,
        )
        payload = self._key.sign(PayloadType.PACKED_WINDOW, pack_window(window))
        return Message(self._topics.up(self._device, Up.WINDOW), payload, Priority.WINDOW, _WEEK_S)

    def feedback(self, sample: FeedbackSample) -> tuple[Message, ...]:
        """Return signed labelled rows, in as many messages as their size asks for."""
        self._feedbacks += 1
        message = FeedbackRows(
            device=self._device,
            boot=self._boot,
            number=self._feedbacks,
            model=sample.model,
            version=sample.version,
            digest=sample.digest,
            ts=epoch_ms(),
            rows=sample.rows,
            columns=sample.columns,
        )
        packed = deflate(codec.encode(message))
        if len(packed) > _FEEDBACK_BYTES and len(sample.rows) > 1:
            half = len(sample.rows) // 2
            first, second = replace(sample, rows=sample.rows[:half]), replace(sample, rows=sample.rows[half:])
            return (*self.feedback(first), *self.feedback(second))
        payload = self._key.sign(PayloadType.FEEDBACK, packed)
        return (Message(self._topics.up(self._device, Up.FEEDBACK), payload, Priority.FEEDBACK, _WEEK_S),)

    def next_health(self, model: str) -> int:
        """Return the number of a model's next health message in this boot."""
        self._healths[model] = self._healths.get(model, 0) + 1
        return self._healths[model]

    def health(self, health: Health) -> Message:
        """Return a health message."""
        topic = self._topics.health(self._device, health.model)
        return Message(topic, codec.encode(health), Priority.HEALTH, _HEALTH_EXPIRY_S)


def progress(update: Update, counts: tuple[int, int]) -> Progress | None:
    """Return how far the update under way is; `None` in idle."""
    if update.state is UpdateState.IDLE or update.target is None:
        return None
    return Progress(update.target.seq, update.state, max(1, update.trial), *counts)
