"""Sending: the retained status and report, and what waits in journal and spool, each until its PUBACK is there.

House rules: reports go first, in their order; then telemetry. A message is forgotten when the broker has acknowledged
it on the connection on which it was sent. What the broker refuses (an access list) is dropped with a warning, since
sending it again would stop everything behind it.
"""

import logging
from dataclasses import dataclass

from edge_agent.adapters.broker import Acked, Broker
from edge_agent.adapters.journal import Journal
from edge_agent.adapters.spool import Spool
from edge_agent.contract import codec
from edge_agent.contract.messages import Status
from edge_agent.contract.states import Presence
from edge_agent.contract.topics import Topics, Up
from edge_agent.supervisor.reporter import epoch_ms

_WINDOW = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Sent:
    """What a message in flight was: a report, a spooled message, or the status (neither)."""

    report: int | None = None
    spooled: int | None = None


class Uplink:
    """What goes up, in order and within a window."""

    def __init__(self, device: str, boot: int, topics: Topics, broker: Broker, journal: Journal, spool: Spool) -> None:
        self._device = device
        self._boot = boot
        self._topics = topics
        self._broker = broker
        self._journal = journal
        self._spool = spool
        self._link: int | None = None
        self._inflight: dict[int, _Sent] = {}
        self._spooled_to = 0
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

    def connected(self, link: int) -> None:
        """A connection is there: subscribe to the desired document, say that we are here, send what waits."""
        self._link = link
        self._inflight.clear()
        self._spooled_to = 0
        self._broker.subscribe(self._topics.desired(self._device))
        self.say(Presence.READY)
        waiting = self._journal.reports()
        if self._report and (not waiting or waiting[-1].body != self._report):
            self._publish_report(self._report, _Sent())
        self.pump()

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

    def pump(self) -> None:
        """Send what waits, as far as the window allows."""
        if self._link is None:
            return
        for report in self._journal.reports():
            if len(self._inflight) >= _WINDOW:
                return
            if not any(sent.report == report.number for sent in self._inflight.values()):
                self._publish_report(report.body, _Sent(report=report.number))
        room = _WINDOW - len(self._inflight)
        if room <= 0 or not len(self._spool):
            return
        for message in self._spool.peek(self._spooled_to, room):
            mid = self._broker.publish(message.topic, message.payload, expiry_s=message.expiry_s)
            if mid is None:
                return
            self._inflight[mid] = _Sent(spooled=message.number)
            self._spooled_to = message.number

    def acked(self, ack: Acked) -> None:
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
        self.pump()

    def _publish_report(self, body: bytes, sent: _Sent) -> None:
        mid = self._broker.publish(self._topics.up(self._device, Up.REPORTED), body, retain=True)
        if mid is not None:
            self._inflight[mid] = sent
