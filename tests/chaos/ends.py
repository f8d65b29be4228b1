"""The two ends of a simulated agent: its journal, which may be cut at every write, and its client of the broker."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.adapters.broker import Acked
from edge_agent.adapters.journal import Journal, Report
from edge_agent.core.update_machine import Update
from tests.chaos.board import NoReserve
from tests.chaos.timeline import Points

if TYPE_CHECKING:
    from tests.chaos.device import Device


class WatchedJournal(Journal):
    """The journal, whose owner may crash before and after each write; `watch` hears of what was made durable."""

    def __init__(self, connection: Any, points: Points, watch: Callable[[Update, bool], None]) -> None:
        super().__init__(connection, Path(), NoReserve())
        self._points = points
        self._watch = watch

    def save(self, update: Update, report: Report | None = None) -> None:
        self._points.pass_by()
        super().save(update, report)
        self._watch(update, report is not None)
        self._points.pass_by()

    def queue_report(self, report: Report) -> None:
        self._points.pass_by()
        super().queue_report(report)
        self._points.pass_by()

    def acknowledge(self, number: int) -> None:
        self._points.pass_by()
        super().acknowledge(number)


class Client:
    """The agent's end of the broker: what `adapters.broker.Broker` offers."""

    def __init__(self, device: "Device", link: int = 0) -> None:
        self._device = device
        self.link = link
        self._mids = 0

    def subscribe(self, *topics: str) -> None:
        for topic in topics:
            arrive = functools.partial(self._device.broker.subscribe, self._device.id, self.link, topic)
            self._device.weather.carry(arrive)

    def unsubscribe(self, *topics: str) -> None:
        self._device.broker.unsubscribe(self._device.id, topics)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int = 0) -> int | None:
        if not self.link:
            return None
        self._device.points.pass_by()
        self._mids += 1
        mid, link = self._mids, self.link
        acked = self._device.of_this_life(lambda: self._device.take(Acked(link, mid, "")))
        self._device.broker.take_from(self._device.id, link, topic, payload, retain, acked)
        return mid
