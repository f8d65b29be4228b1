"""Health and windows as they came, for dashboards and for those who look closer."""

from fleet_server.store.database import Database
from fleet_server.store.health import HealthFilter, StoredHealth, latest_health, page_health
from fleet_server.store.pages import Page, PageRequest
from fleet_server.store.windows import StoredWindow, WindowFilter, page_windows


class Telemetry:
    """Reads health and windows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_health(self, wanted: HealthFilter, request: PageRequest) -> Page[StoredHealth]:
        """Return one page of health objects, newest first."""
        with self._database.read() as connection:
            return page_health(connection, wanted, request)

    def latest_health(self) -> tuple[StoredHealth, ...]:
        """Return the newest health object of each device and model."""
        with self._database.read() as connection:
            return latest_health(connection)

    def list_windows(self, wanted: WindowFilter, request: PageRequest) -> Page[StoredWindow]:
        """Return one page of windows, newest first."""
        with self._database.read() as connection:
            return page_windows(connection, wanted, request)
