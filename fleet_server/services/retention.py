"""What is kept for how long: windows, their hours, what is known of drift, labelled rows.

House rules: a window is forgotten only after its hour holds it; so nothing is lost but detail.
"""

from dataclasses import dataclass

from fleet_server.services.clock import Clock
from fleet_server.services.feedback import FeedbackRules, expire_feedback
from fleet_server.store import drift, window_hours, windows
from fleet_server.store.database import Database

_DAY_MS = 24 * 3600 * 1000
_HOURS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept: health objects of a device and model, days of windows, days of their hours, labelled rows."""

    health: int
    window_days: int
    hour_days: int
    feedback: FeedbackRules


class Housekeeping:
    """Rolls windows up, and forgets what is old."""

    def __init__(self, database: Database, kept: Retention, clock: Clock) -> None:
        self._database = database
        self._kept = kept
        self._clock = clock

    def roll_up(self) -> int:
        """Bring some hours that are over up to date with the windows that came; return how many.

        Raises:
            UnavailableError: the database cannot be written now.
        """
        over = self._clock() - windows.HOUR_MS
        with self._database.read() as connection:
            if not window_hours.any_due(connection, over):
                return 0
        with self._database.write() as connection:
            return window_hours.roll_up(connection, over, _HOURS_AT_ONCE)

    def forget_old(self) -> None:
        """Delete windows, hours, drift and labelled rows older than the server keeps.

        Raises:
            UnavailableError: the database cannot be written now.
        """
        now = self._clock()
        with self._database.write() as connection:
            expire_feedback(connection, now, self._kept.feedback)
            windows.forget_windows(connection, now - self._kept.window_days * _DAY_MS)
            window_hours.forget_hours(connection, now - self._kept.hour_days * _DAY_MS)
            drift.forget_drift(connection, now - self._kept.hour_days * _DAY_MS)
