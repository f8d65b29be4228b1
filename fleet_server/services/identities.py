"""Whether devices take part: approved, quarantined, released, revoked, removed; and the broker kept in step with it.

House rules: the access list comes first, since it mutes a live session at once; then the certificates are revoked,
which ends no session, but lets no new one in; then the session is ended, and the device does not come back. What an
operator does is told as failed where the broker does not take it, and nothing else was changed then. What a rule finds
is saved first, and the broker is told until it has taken it. Each change is an event and a row of the audit log, in one
transaction with it.
"""

import threading
from collections.abc import Callable

import structlog
from sqlalchemy import Connection

from fleet_server.core.devices import Act, CloneEvidence, Standing, decide_standing
from fleet_server.services.announcements import Announcer
from fleet_server.services.audit import record_audit
from fleet_server.services.certificates import Certificates
from fleet_server.services.clock import Clock
from fleet_server.services.errors import BrokerError
from fleet_server.services.events import record_event
from fleet_server.services.wire import Accounts, Wire
from fleet_server.store import certificates, desired, devices, rollouts
from fleet_server.store.database import Database
from fleet_server.store.desired import Work
from fleet_server.store.errors import ConflictError
from fleet_server.store.events import StoredEvent

_log = structlog.get_logger(__name__)
_PAST = {
    Act.APPROVE: "device_approved",
    Act.QUARANTINE: "device_quarantined",
    Act.RELEASE: "device_released",
    Act.REVOKE: "device_revoked",
}
_RULE = "rule:clone"


class Identities:
    """Changes the standing of devices."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        issuer: Certificates,
        wire: Wire,
        announcer: Announcer,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._issuer = issuer
        self._wire = wire
        self._announcer = announcer
        self._clock = clock
        self._wake = wake
        self._settling = threading.Lock()
        self._unended: set[str] = set()
        self._owed = threading.Event()
        self._owed.set()

    def approve(self, device: str, actor: str) -> None:
        """Let a device in that waits.

        Raises:
            NotFoundError: there is none of this id.
            ConflictError: it does not wait.
            BrokerError: the broker does not take it now; nothing was changed.
        """
        self._let_in(device, Act.APPROVE, actor)

    def release(self, device: str, actor: str) -> None:
        """Let a quarantined device in again, after it was enrolled anew with other keys.

        Raises:
            NotFoundError: there is none of this id.
            ConflictError: it is not quarantined, or still has the keys for which it is.
            BrokerError: the broker does not take it now; nothing was changed.
        """
        self._let_in(device, Act.RELEASE, actor)

    def quarantine(self, device: str, actor: str, reason: str) -> None:
        """Have a device take no part: muted at the broker, its reports no evidence, in no rollout.

        Raises:
            NotFoundError: there is none of this id.
            ConflictError: it is quarantined or revoked already.
            BrokerError: the broker does not take it now; nothing was changed.
        """
        self._put_out(device, Act.QUARANTINE, actor, reason)

    def revoke(self, device: str, actor: str) -> None:
        """Revoke a device's keys and certificates; it may be enrolled anew with others.

        Raises:
            NotFoundError: there is none of this id.
            ConflictError: it is revoked already.
            BrokerError: the broker does not take it now; nothing was changed.
        """
        self._put_out(device, Act.REVOKE, actor, "")

    def remove(self, device: str, actor: str) -> None:
        """Revoke a device's credentials, then forget all that is known of it.

        Raises:
            NotFoundError: there is none of this id.
            BrokerError: its credentials could not be taken away; nothing was changed.
        """
        with self._database.read() as connection:
            devices.get_device(connection, device)
        self._deny(device)
        now = self._clock()
        with self._database.write() as connection:
            rollouts.skip_member(connection, device, "device_removed")
            self._issuer.revoke(connection, device, now)
            devices.delete_device(connection, device)
            desired.enqueue(connection, device, Work.CLEAR, "", now)
            self._record(connection, now, actor, "device_removed", device, "")
        self._shut(device)

    def suspect(self, connection: Connection, device: str, evidence: CloneEvidence, detail: str) -> None:
        """Quarantine a device on evidence, within the transaction that found it; `settle` tells the broker."""
        now = self._clock()
        self._save(connection, device, Act.QUARANTINE, Standing.QUARANTINED, f"{evidence}: {detail}", now)
        self._record(connection, now, _RULE, _PAST[Act.QUARANTINE], device, f"{evidence}: {detail}")
        self._owed.set()

    def settle(self, *, all_of_them: bool = False) -> None:
        """Have the broker do what the database says, where something is owed; call again while it fails.

        `all_of_them` also renews the list of revoked certificates in time, and forgets what has expired.
        """
        if not (all_of_them or self._owed.is_set()):
            return
        self._owed.clear()
        try:
            with self._settling:
                self._lock_out_and_in()
                self._publish()
                self._end_sessions()
                if all_of_them:
                    self._forget()
        except (OSError, BrokerError) as error:
            self._owed.set()
            _log.error("identities_not_settled", error=str(error))

    def _lock_out_and_in(self) -> None:
        with self._database.read() as connection:
            out = {
                device
                for standing in (Standing.QUARANTINED, Standing.REVOKED)
                for device in devices.list_standing(connection, standing)
            }
            active = {board.id: board.cohort for board in devices.all_devices(connection)}
        if not self._accounts.certificates:
            return
        held, denied = self._accounts.devices(), self._accounts.denied()
        for device in sorted(out - denied):
            self._deny(device)
            self._unended.add(device)
            self._wire.forget(device)
        # Where the broker's files were lost. A denied device stays so: its revocation was cut short, and is repeated.
        for device in sorted(active.keys() - held - denied):
            self._accounts.add(device, None, active[device])

    def _let_in(self, device: str, act: Act, actor: str) -> None:
        with self._database.read() as connection:
            found = devices.get_device(connection, device)
        after = self._decide(found, act)
        if act is Act.RELEASE and found.keyed_at <= found.standing_at:
            raise ConflictError(
                f"{device} still has the keys for which it is quarantined: enrol it anew first "
                "(`edgeloop device token`, and on it `edge-agent enroll --force`)"
            )
        if self._accounts.certificates:
            try:
                self._accounts.add(device, None, found.cohort)
            except OSError as error:
                raise BrokerError(f"the broker has no account for {device!r} yet: {error}; try again") from error
        now = self._clock()
        with self._database.write() as connection:
            self._decide(devices.get_device(connection, device), act)
            devices.save_standing(connection, device, after, "", now)
            self._record(connection, now, actor, _PAST[act], device, "")
        self._wake()

    def _put_out(self, device: str, act: Act, actor: str, reason: str) -> None:
        with self._database.read() as connection:
            after = self._decide(devices.get_device(connection, device), act)
        self._deny(device)
        now = self._clock()
        with self._database.write() as connection:
            self._save(connection, device, act, after, reason, now)
            self._record(connection, now, actor, _PAST[act], device, reason)
        self._shut(device)

    def _save(self, connection: Connection, device: str, act: Act, after: Standing, reason: str, now: int) -> None:
        devices.save_standing(connection, device, after, reason[:200], now)
        self._issuer.revoke(connection, device, now)
        rollouts.skip_member(connection, device, _PAST[act])

    def _deny(self, device: str) -> None:
        try:
            self._accounts.remove(device)
        except OSError as error:
            raise BrokerError(f"the credentials of {device!r} could not be revoked: {error}; try again") from error

    def _shut(self, device: str) -> None:
        """Keep a device out that is mute; a failure is repeated by `settle`, since the access list holds meanwhile."""
        self._wire.forget(device)
        try:
            with self._settling:
                self._unended.add(device)
                self._publish()
                self._end_sessions()
        except OSError as error:
            self._owed.set()
            _log.error("session_not_ended", device=device, error=str(error))
        self._wake()

    def _publish(self) -> None:
        if self._issuer.publish() and not self._unended:
            self._accounts.reload()

    def _end_sessions(self) -> None:
        for device in sorted(self._unended):
            self._accounts.end_session(device)
            self._unended.discard(device)

    def _forget(self) -> None:
        now = self._clock()
        with self._database.read() as connection:
            over = {
                device
                for device in self._accounts.denied()
                if (last := certificates.newest_expiry(connection, device)) is None or last < now
            }
            over -= set(devices.list_standing(connection, Standing.QUARANTINED))
            over -= set(devices.list_standing(connection, Standing.REVOKED))
        self._accounts.forget(over)
        self._issuer.forget_expired()

    @staticmethod
    def _decide(found: devices.Device, act: Act) -> Standing:
        after = decide_standing(Standing(found.standing), act)
        if after is None:
            raise ConflictError(f"{found.id} is {found.standing}: there is nothing to {act.value}")
        return after

    def _record(self, connection: Connection, now: int, actor: str, what: str, device: str, reason: str) -> None:
        fields = {"reason": reason} if reason else {}
        record_event(connection, StoredEvent(now, "server", what, reason, device=device), self._announcer)
        record_audit(connection, now, actor, what, device, fields)
        _log.info(what, device=device, actor=actor, reason=reason)
