"""What the updates keep durably: the journal first, the markers of what is good, and patience with a full disk.

House rules: a transition that cannot be written is not made. It waits here and is tried again; until then the device
serves on as it did. A marker is a second copy, so its failure is said and stops nothing.
"""

import logging

from edge_agent.adapters.journal import Journal, Report, UnwritableError
from edge_agent.adapters.markers import Markers
from edge_agent.contract.messages import Desired, Proof
from edge_agent.core.update_machine import Update

_RETRY_S = 5.0
_log = logging.getLogger(__name__)


class Keeper:
    """Journal and markers of one device; `unsaved` is the transition that waits for the disk, due at `retry_at`."""

    def __init__(self, journal: Journal, markers: Markers) -> None:
        self._journal = journal
        self._markers = markers
        self.unsaved: Update | None = None
        self.retry_at = 0.0

    def count_boot(self) -> int:
        """Count one more start, and return its number, which is above all that journal and markers have seen.

        Raises:
            UnwritableError: it could not be counted.
        """
        boot = self._journal.count_boot(self._markers.boot)
        self._see(boot=boot)
        return boot

    def save(self, update: Update, report: Report, now: float) -> bool:
        """Write a transition with its report; return whether it may be acted upon."""
        try:
            self._journal.save(update, report)
        except UnwritableError as error:
            if self.unsaved is None:
                _log.error("journal_unwritable state=%s detail=%r", update.state, str(error))
            self.unsaved, self.retry_at = update, now + _RETRY_S
            return False
        if self.unsaved is not None:
            _log.warning("journal_writable state=%s", update.state)
        self.unsaved = None
        self._see(highest_seq=update.highest_seq)
        return True

    def note(self, update: Update) -> None:
        """Write that a document waits; where that fails the broker, which retains it, brings it again."""
        try:
            self._journal.save(update)
        except UnwritableError as error:
            _log.warning("document_not_noted seq=%d detail=%r", update.highest_seq, str(error))
        else:
            self._see(highest_seq=update.highest_seq)

    def queue(self, report: Report) -> None:
        """Put a report that is no transition into the outbox; the next one says the same and more."""
        try:
            self._journal.queue_report(report)
        except UnwritableError as error:
            _log.warning("report_not_queued detail=%r", str(error))

    def mark(self, good: Desired, proofs: tuple[Proof, ...]) -> None:
        """Write the marker of a set that is about to be committed."""
        try:
            self._markers.mark(good, proofs)
        except OSError as error:
            _log.error("marker_not_written seq=%d detail=%r", good.seq, str(error))

    def _see(self, *, boot: int = 0, highest_seq: int = 0) -> None:
        try:
            self._markers.see(boot=boot, highest_seq=highest_seq)
        except OSError as error:
            _log.error("marker_not_written boot=%d seq=%d detail=%r", boot, highest_seq, str(error))
