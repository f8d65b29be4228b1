"""After a restore: the fleet knows more than the server, so devices are heard before anything is sent to them.

House rules: a document is held back until its device has said, signed and settled, what it runs. What it runs under a
newer document than is remembered is taken over, so that nothing goes back by itself; then its documents go on with
numbers past all that it can have seen. What is taken over is one transaction with the report.
"""

import threading

import structlog
from sqlalchemy import Connection

from edge_agent.contract.messages import Reported, Running
from fleet_server.core.recovery_rules import is_settled, judge_ahead
from fleet_server.core.rollouts import DeviceState
from fleet_server.services.announcements import Announcer
from fleet_server.services.assignments import MAX_SEQ, Assigner
from fleet_server.services.audit import record_audit
from fleet_server.services.clock import Clock, iso
from fleet_server.services.events import record_event
from fleet_server.store import assignments, desired, devices, models, recovery, rollouts
from fleet_server.store.database import Database
from fleet_server.store.events import StoredEvent

_log = structlog.get_logger(__name__)
_KNOWN_STRANGERS = 1000
_NAMED = 5


class Recovery:
    """Brings a restored server and its fleet together again."""

    def __init__(self, database: Database, assigner: Assigner, announcer: Announcer, clock: Clock) -> None:
        self._database = database
        self._assigner = assigner
        self._announcer = announcer
        self._clock = clock
        self._lock = threading.Lock()
        self._puzzling: dict[str, Reported] = {}
        self._strangers: dict[str, int] = {}

    def begin(self) -> None:
        """Hold every document back, once for each restore.

        Raises:
            fleet_server.store.errors.UnavailableError: the database cannot be written now.
        """
        with self._database.write() as connection:
            restored = recovery.find_restored(connection)
            if restored is None or restored.floor:
                return
            begun = recovery.begin_recovery(connection, restored)
            facts = {"generation": begun.generation, "seq_floor": begun.floor}
            record_audit(connection, self._clock(), "server", "backup_restored", "server", facts)
        _log.info("recovery_begun", generation=begun.generation, seq_floor=begun.floor)

    def hear(self, connection: Connection, report: Reported) -> bool:
        """Take over what a device runs, where it is ahead of this server, and send to it again from now on.

        Returns whether the report may be judged by what is remembered. One that is ahead without a restore is of a
        server whose database was set back by other means; it is held back all the same.
        """
        held = recovery.find_held(connection, report.device)
        last = desired.find_desired(connection, report.device)
        known = held if held is not None else (0 if last is None else last.seq)
        ahead = known < report.desired_seq <= MAX_SEQ
        if held is None and not ahead:
            return True
        if held is None:
            recovery.hold(connection, report.device)
        if not is_settled(report):
            return False
        unknown = self._take_over(connection, report) if ahead else ()
        with self._lock:
            told = self._puzzling.pop(report.device, None) is not None
            if unknown:
                self._puzzling[report.device] = report
        if unknown:
            if not told:
                self._tell_unknown(connection, report, unknown)
            return False
        recovery.release(connection, report.device)
        self._assigner.refresh(connection, report.device, self._clock())
        return True

    def try_again(self) -> None:
        """Look again at devices that run a version that was not known here: it may have been pushed since.

        Raises:
            fleet_server.store.errors.UnavailableError: the database cannot be read or written now.
        """
        with self._lock:
            waiting = list(self._puzzling.values())
        for report in waiting:
            with self._database.read() as connection:
                gone = devices.find_device(connection, report.device) is None
                hopeless = any(self._variant(connection, bundle) is None for bundle in report.running)
            if gone:
                with self._lock:
                    self._puzzling.pop(report.device, None)
            elif not hopeless:
                with self._database.write() as connection:
                    self.hear(connection, report)

    def meet_stranger(self, device: str) -> None:
        """Count a message of a device that is not enrolled here."""
        with self._lock:
            if device in self._strangers or len(self._strangers) < _KNOWN_STRANGERS:
                self._strangers[device] = self._strangers.get(device, 0) + 1

    def notes(self, connection: Connection) -> tuple[str, ...]:
        """Return what an operator should know."""
        with self._lock:
            counted, puzzling = dict(self._strangers), sorted(self._puzzling)
        strangers = {name: n for name, n in counted.items() if devices.find_device(connection, name) is None}
        restored, found = recovery.find_restored(connection), []
        if restored is not None and (held := recovery.count_held(connection)):
            found.append(
                f"Restored from a backup ({iso(restored.at)}): {held} devices have not said since what they run; "
                "nothing is sent to them until they do."
            )
        if puzzling:
            found.append(
                f"{_listed(puzzling)} run a version from after the backup: push it again (edgeloop model push), "
                "and they are served on."
            )
        if strangers:
            found.append(
                f"Unknown devices wrote {sum(strangers.values())} messages ({_listed(sorted(strangers))}): "
                "enrol them again (edgeloop device token)."
            )
        return tuple(found)

    def _take_over(self, connection: Connection, report: Reported) -> tuple[Running, ...]:
        """Assign what a device runs, and give it its place in rollouts; return bundles that are not known here."""
        now = self._clock()
        for stored in rollouts.unsettled_rollouts(connection):
            rollout, member = stored.rollout, rollouts.find_member(connection, stored.rollout.id, report.device)
            judged = None if member is None else judge_ahead(member, rollout, report, now / 1000)
            if judged is None or judged is member:
                continue
            rollouts.save_member(connection, rollout.id, judged)
            if judged.state is DeviceState.FAILED:
                bad = assignments.BadVersion(
                    report.device, rollout.model, rollout.version, judged.reason, judged.detail, now
                )
                assignments.save_bad(connection, bad)
        given = {item.model: item for item in assignments.list_assignments(connection, report.device)}
        for model in given.keys() - {bundle.model for bundle in report.running}:
            assignments.delete_assignment(connection, report.device, model)
        unknown = []
        for bundle in report.running:
            before, variant = given.get(bundle.model), self._variant(connection, bundle)
            if variant is None:
                unknown.append(bundle)
            elif before is None or before.digest != bundle.digest:
                options = {} if before is None else before.options
                made = assignments.Assignment(
                    report.device, bundle.model, bundle.version, variant, bundle.digest, now, options
                )
                assignments.save_assignment(connection, made)
                self._tell(connection, report, "device_taken_over", f"{bundle.model} version {bundle.version}")
        return tuple(unknown)

    @staticmethod
    def _variant(connection: Connection, bundle: Running) -> str | None:
        found = models.list_variants(connection, bundle.model, bundle.version)
        return next((item.variant for item in found if item.digest == bundle.digest), None)

    def _tell_unknown(self, connection: Connection, report: Reported, unknown: tuple[Running, ...]) -> None:
        names = ", ".join(f"{bundle.model} version {bundle.version}" for bundle in unknown)
        self._tell(connection, report, "version_unknown", f"it runs {names}, which is not known here: push it again")

    def _tell(self, connection: Connection, report: Reported, code: str, detail: str) -> None:
        event = StoredEvent(self._clock(), "server", code, detail, report.device)
        record_event(connection, event, self._announcer)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
