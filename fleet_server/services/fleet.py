"""The fleet as a whole: its summary, and the rate of its messages."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from fleet_server.services.clock import Clock
from fleet_server.services.devices import Devices
from fleet_server.services.recovery import Recovery
from fleet_server.services.wire import Traffic
from fleet_server.store import devices, models, rollouts
from fleet_server.store.database import Database
from fleet_server.store.pages import MAX_LIMIT, PageRequest

_LEAST_SPAN_MS = 500


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What this server is: its version, the broker's address and its kind, and notes for the operator."""

    version: str
    broker: str
    kind: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """The fleet in numbers."""

    devices: int
    online: int
    in_sync: int
    models: int
    rollouts_active: int
    messages_per_s: float
    server: ServerFacts
    broker_connected: bool


class Fleet:
    """Sums the fleet up."""

    def __init__(
        self,
        database: Database,
        device_service: Devices,
        recovery: Recovery,
        traffic: Callable[[], Traffic],
        connected: Callable[[], bool],
        facts: Callable[[], ServerFacts],
        clock: Clock,
    ) -> None:
        self._database = database
        self._devices = device_service
        self._recovery = recovery
        self._traffic = traffic
        self._connected = connected
        self._facts = facts
        self._clock = clock
        self._lock = threading.Lock()
        self._last = (clock(), 0)
        self._rate = 0.0

    def summary(self) -> Summary:
        """Return the fleet in numbers."""
        with self._database.read() as connection:
            total, online = devices.count_devices(connection)
            named = models.count_models(connection)
            active = rollouts.count_open(connection)
            notes = self._recovery.notes(connection)
        facts = self._facts()
        return Summary(
            devices=total,
            online=online,
            in_sync=self._count_in_sync(),
            models=named,
            rollouts_active=active,
            messages_per_s=self._measure(),
            server=replace(facts, notes=(*facts.notes, *notes)),
            broker_connected=self._connected(),
        )

    def traffic(self) -> Traffic:
        """Return the counters of the server's connection."""
        return self._traffic()

    def _count_in_sync(self) -> int:
        count, cursor = 0, None
        while True:
            page = self._devices.list_devices(PageRequest(cursor, MAX_LIMIT), None, "")
            count += sum(view.in_sync for view in page.items)
            if page.next is None:
                return count
            cursor = page.next

    def _measure(self) -> float:
        now, seen = self._clock(), self._traffic().messages_in
        with self._lock:
            before, counted = self._last
            if now - before >= _LEAST_SPAN_MS:
                self._rate = max(0.0, (seen - counted) * 1000 / (now - before))
                self._last = (now, seen)
            return round(self._rate, 3)
