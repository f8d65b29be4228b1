"""Sending: the retained status and report, and what waits in journal and spool, each until its PUBACK is there.

House rules: reports go first, in their order; then live telemetry, then the backlog of a long absence at a rate of its
own and in half of the window at most. A message is forgotten when the broker has acknowledged it on the connection on
which it was sent. What the broker refuses (an access list) is dropped with a warning, since sending it again would stop
everything behind it. Old health is not sent late: its counters go on in the newest, and dashboards show the gap.
"""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.adapters.broker import Acked, Broker
from edge_agent.adapters.journal import Journal
from edge_agent.adapters.spool import Spool
from edge_agent.contract import codec
from edge_agent.contract.messages import Status
from edge_agent.contract.states import Presence
from edge_agent.contract.topics import Topics, Up
from edge_agent.core.backfill_rules import Pace, fresh_after, new_pace
from edge_agent.core.spool_rules import Message, Priority
from edge_agent.supervisor.reporter import epoch_ms

_WINDOW = 16
_BACKLOG_WINDOW = _WINDOW // 2
_LATE_EVERY_S = 0.1
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Sent:
    """What a message in flight was: a report, a spooled message (of the backlog or not), or the status (neither)."""

    report: int | None = None
    spooled: int | None = None
    late: bool = False


class Uplink:
    """What goes up, in order and within a window."""

    def __init__(
        self,
        device: str,
        boot: int,
        topics: Topics,
        broker: Broker,
        journal: Journal,
        spool: Spool,
        backfill_per_s: float,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._device = device
        self._boot = boot
        self._topics = topics
        self._broker = broker
        self._journal = journal
        self._spool = spool
        self._rate_s = backfill_per_s
        self._chance = chance
        self._link: int | None = None
        self._inflight: dict[int, _Sent] = {}
        self._pace = Pace(backfill_per_s, 0.0, 0.0)
        self._late_to = 0
        self._backlog_end = 0
        self._fresh_to = 0
        self._report = b""
        self._refusals = 0

    @property
    def is_connected(self) -> bool:
        """Whether the broker is there."""
        return self._link is not None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight."""
        return not self._inflight

    def latest_report(self, body: bytes) -> None:
        """Remember the newest report, which is sent again on every connection, since a broker may forget."""
        self._report = body

    def connected(self, link: int, now: float) -> None:
        """A connection is there: say that we are here; `pump` sends what waits."""
        self._link = link
        self._inflight.clear()
        self._backlog_end = self._fresh_to = fresh_after(self._spool.last_number)
        self._late_to = 0
        self._pace = new_pace(self._rate_s, now, self._chance())
        self._spool.forget(Priority.HEALTH, self._backlog_end)
        self.say(Presence.READY)
        waiting = self._journal.reports()
        if self._report and (not waiting or waiting[-1].body != self._report):
            self._publish_report(self._report, _Sent())

    def disconnected(self) -> None:
        """The connection is gone; what was not acknowledged is sent again on the next."""
        self._link = None
        self._inflight.clear()

    def say(self, state: Presence) -> None:
        """Publish the retained status."""
        status = codec.encode(Status(state, self._boot, epoch_ms()))
        mid = self._broker.publish(self._topics.up(self._device, Up.STATUS), status, retain=True)
        if mid is not None:
            self._inflight[mid] = _Sent()

    def pump(self, now: float) -> None:
        """Send what waits, as far as the window and the backlog's pace allow."""
        if self._link is None:
            return
        for report in self._journal.reports():
            if len(self._inflight) >= _WINDOW:
                return
            if not any(sent.report == report.number for sent in self._inflight.values()):
                self._publish_report(report.body, _Sent(report=report.number))
        if not len(self._spool):
            self._late_to = self._backlog_end
            return
        for message in self._spool.peek(self._fresh_to, max(0, self._room)):
            if not self._publish_spooled(message, late=False):
                return
            self._fresh_to = message.number
        self._send_backlog(now)

    def next_due(self, now: float) -> float | None:
        """Return when `pump` has something to do that no acknowledgement brings about."""
        waits = self._link is not None and self._late_to < self._backlog_end and self._late_room > 0
        return max(now + _LATE_EVERY_S, self._pace.next_at(now)) if waits else None

    def acked(self, ack: Acked, now: float) -> None:
        """The broker has taken, or refused, a message."""
        if ack.link != self._link or (sent := self._inflight.pop(ack.mid, None)) is None:
            return
        if ack.refused:
            self._refusals += 1
            _log.warning("publish_refused reason=%s n=%d", ack.refused, self._refusals)
        if sent.report is not None:
            self._journal.acknowledge(sent.report)
        if sent.spooled is not None:
            self._spool.acknowledge((sent.spooled,))
        self.pump(now)

    @property
    def _room(self) -> int:
        return _WINDOW - len(self._inflight)

    @property
    def _late_room(self) -> int:
        late = sum(sent.late for sent in self._inflight.values())
        return min(self._room, _BACKLOG_WINDOW - late)

    def _send_backlog(self, now: float) -> None:
        """Send what is older than this connection, oldest first, at its pace."""
        count = min(self._late_room, self._pace.allowed(now))
        if count <= 0 or self._late_to >= self._backlog_end:
            return
        found = [one for one in self._spool.peek(self._late_to, count) if one.number <= self._backlog_end]
        for message in found:
            if not self._publish_spooled(message, late=True):
                return
            self._late_to = message.number
        if len(found) < count:
            self._late_to = self._backlog_end
        self._pace = self._pace.spent(len(found), now)

    def _publish_spooled(self, message: Message, *, late: bool) -> bool:
        mid = self._broker.publish(message.topic, message.payload, expiry_s=message.expiry_s)
        if mid is not None:
            self._inflight[mid] = _Sent(spooled=message.number, late=late)
        return mid is not None

    def _publish_report(self, body: bytes, sent: _Sent) -> None:
        mid = self._broker.publish(self._topics.up(self._device, Up.REPORTED), body, retain=True)
        if mid is not None:
            self._inflight[mid] = sent
