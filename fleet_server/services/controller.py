"""Turns rollouts: asks the rules what is owed, does it, and gives devices what their groups have come to.

House rules: every step is one transaction with its decision; a step that fails leaves the others their turn.
"""

from dataclasses import replace

import structlog
from sqlalchemy import Connection

from edge_agent.contract.messages import Reported
from edge_agent.contract.states import Reason, Result
from fleet_server.core.rollout_inputs import plain_inputs
from fleet_server.core.rollout_machine import Move, move_rollout
from fleet_server.core.rollout_rules import (
    Decision,
    Verdict,
    decide_rollout,
    judge_report,
    mark_offered,
    mark_returning,
)
from fleet_server.core.rollouts import DeviceState, RolloutDevice, RolloutState, RolloutView
from fleet_server.services.announcements import Announcer
from fleet_server.services.assignments import Assigner, Grant
from fleet_server.services.canary import Observer
from fleet_server.services.clock import Clock
from fleet_server.services.events import record_event
from fleet_server.services.joiners import Joiners
from fleet_server.services.recovery import Recovery
from fleet_server.services.returns import end_return, is_bad, overtake_returns
from fleet_server.services.rollouts import Rollouts, announce_rollout, settle_target
from fleet_server.store import assignments, desired, devices, rollouts
from fleet_server.store.database import Database
from fleet_server.store.decisions import decision_reasons
from fleet_server.store.errors import NotFoundError
from fleet_server.store.events import StoredEvent
from fleet_server.store.recovery import held_devices
from fleet_server.store.rollouts import StoredRollout

_log = structlog.get_logger(__name__)
_AUTHOR = "controller"
DRY_RUN = "dry_run"
_MAX_STEPS = 100
_MOVES = {
    Verdict.ADVANCE: Move.ADVANCE,
    Verdict.HALT: Move.HALT,
    Verdict.PAUSE: Move.PAUSE,
    Verdict.SUCCEED: Move.SUCCEED,
}
_BAD_STATES = (DeviceState.FAILED, DeviceState.REFUSED)


class Controller:
    """Does what rollouts owe, one step at a time."""

    def __init__(
        self,
        database: Database,
        assigner: Assigner,
        rollout_service: Rollouts,
        recovery: Recovery,
        announcer: Announcer,
        clock: Clock,
    ) -> None:
        self._database = database
        self._assigner = assigner
        self._rollouts = rollout_service
        self._recovery = recovery
        self._announcer = announcer
        self._clock = clock
        self.observer = Observer()
        self._joiners = Joiners(database, assigner, announcer, clock)

    def tick(self) -> None:
        """Do all that is owed now.

        Raises:
            fleet_server.store.errors.UnavailableError: the database cannot be read or written now.
        """
        self._recovery.try_again()
        with self._database.read() as connection:
            waiting = [stored.rollout.id for stored in rollouts.unsettled_rollouts(connection)]
        for rollout in waiting:
            for _ in range(_MAX_STEPS):
                if not self._step(rollout):
                    break
        self.observer.forget(frozenset(waiting))
        self._joiners.turn()

    def hear(self, connection: Connection, report: Reported) -> None:
        """Take a device's newest report into every rollout that it is part of, in the caller's transaction."""
        if not self._recovery.hear(connection, report):
            return
        for stored in rollouts.unsettled_rollouts(connection):
            member = rollouts.find_member(connection, stored.rollout.id, report.device)
            if member is not None:
                self._judge(connection, stored, self._heard(connection, stored, member), report)
        self._hear_outside(connection, report)

    def _heard(self, connection: Connection, stored: StoredRollout, member: RolloutDevice) -> RolloutDevice:
        """Note that a device that was offered the version said something, where the policy asks how long it did not."""
        if member.state is not DeviceState.OFFERED or stored.rollout.policy.silent_s is None:
            return member
        heard = replace(member, heard_at=self._clock() / 1000)
        rollouts.save_member(connection, stored.rollout.id, heard)
        return heard

    def _step(self, rollout: str) -> bool:
        """Do one thing that a rollout owes; return whether there may be more."""
        now = self._clock()
        with self._database.read() as connection:
            stored, view = _load(connection, rollout)
            observed = self.observer.observe(connection, view, now / 1000)
            stale = self._pending_reports(connection, view)
            decision = decide_rollout(view, now / 1000, observed)
            unnoted = self._unnoted(connection, rollout, decision)
        if not stale and not unnoted and decision.verdict is Verdict.HOLD:
            return False
        with self._database.write() as connection:
            stored, view = _load(connection, rollout)
            for member, report in self._pending_reports(connection, view):
                self._judge(connection, stored, member, report)
            stored, view = _load(connection, rollout)
            decision = decide_rollout(view, now / 1000, observed)
            evidence = {
                "figures": dict(decision.figures),
                "devices": list(decision.devices),
                "inputs": plain_inputs(view, now / 1000, observed),
            }
            for note in self._unnoted(connection, rollout, decision):
                self._rollouts.record(connection, stored.rollout, DRY_RUN, note, _AUTHOR, evidence)
            if decision.verdict is Verdict.HOLD:
                return False
            self._act(connection, stored, view, decision, now)
            self._rollouts.record(connection, stored.rollout, decision.verdict, decision.reason, _AUTHOR, evidence)
            _, view = _load(connection, rollout)
        announce_rollout(self._announcer, view.rollout)
        _log.info("rollout_decided", rollout=rollout, verdict=decision.verdict.value, reason=decision.reason)
        return True

    @staticmethod
    def _unnoted(connection: Connection, rollout: str, decision: Decision) -> tuple[str, ...]:
        """Return what dry-run metrics would have rolled back for, each metric once in a rollout."""
        if not decision.noted:
            return ()
        known = {reason.partition(":")[0] for reason in decision_reasons(connection, rollout, DRY_RUN)}
        return tuple(note for note in decision.noted if note.partition(":")[0] not in known)

    def _act(
        self, connection: Connection, stored: StoredRollout, view: RolloutView, decision: Decision, now: int
    ) -> None:
        members = {member.device: member for member in view.devices}
        match decision.verdict:
            case Verdict.OFFER:
                for device in decision.devices:
                    rollouts.save_member(
                        connection, stored.rollout.id, self._offer(connection, stored, members[device], now)
                    )
            case Verdict.ROLL_BACK:
                for device in decision.devices:
                    rollouts.save_member(
                        connection, stored.rollout.id, self._take_back(connection, stored, members[device], now)
                    )
            case Verdict.HOLD:
                return
            case Verdict.ADVANCE | Verdict.HALT | Verdict.PAUSE | Verdict.SUCCEED:
                moved = move_rollout(stored.rollout, _MOVES[decision.verdict], now / 1000, decision.reason)
                rollouts.save_rollout(connection, moved, now)
                if moved.state is RolloutState.SUCCEEDED:
                    settle_target(connection, replace(stored, rollout=moved), now)

    def _offer(self, connection: Connection, stored: StoredRollout, member: RolloutDevice, now: int) -> RolloutDevice:
        rollout = stored.rollout
        if member.variant is None or member.digest is None:
            raise NotFoundError(f"{rollout.id}: {member.device} has no variant to offer")
        options = {key: stored.options[key] for key in ("soak", "settings", "threshold") if key in stored.options}
        grant = Grant(rollout.model, rollout.version, member.variant, member.digest, options)
        try:
            with connection.begin_nested():
                seq = self._assigner.grant(connection, member.device, grant, now)
                overtake_returns(connection, rollout, member.device, now)
        except (NotFoundError, ValueError) as error:
            _log.warning("offer_failed", rollout=rollout.id, device=member.device, error=str(error))
            return replace(
                member,
                state=DeviceState.REFUSED,
                reason="not_offered",
                detail=str(error),
                changed_at=now / 1000,
                failed=True,
                failed_at=now / 1000,
            )
        return mark_offered(member, seq, now / 1000)

    def _take_back(
        self, connection: Connection, stored: StoredRollout, member: RolloutDevice, now: int
    ) -> RolloutDevice:
        if is_bad(connection, member.device, stored.rollout.model, member.from_version):
            # What it had been assigned before has failed on it since: it goes back to none of the model.
            member = replace(member, from_version=None, from_digest=None)
        try:
            with connection.begin_nested():
                seq = self._assigner.give_back(
                    connection, member.device, stored.rollout.model, member.from_version, member.from_digest, now
                )
        except NotFoundError as error:
            _log.warning("return_failed", rollout=stored.rollout.id, device=member.device, error=str(error))
            return replace(member, state=DeviceState.RETURNED, detail=str(error), changed_at=now / 1000)
        return mark_returning(member, seq, now / 1000)

    def _pending_reports(self, connection: Connection, view: RolloutView) -> tuple[tuple[RolloutDevice, Reported], ...]:
        """Return devices whose newest report says something that their state does not hold yet."""
        found, held = [], held_devices(connection)
        open_states = (DeviceState.OFFERED, DeviceState.SUCCEEDED, DeviceState.RETURNING)
        for member in view.devices:
            if member.state in open_states and member.device not in held:
                board = devices.find_device(connection, member.device)
                report = board.read_reported() if board is not None else None
                if report is not None and judge_report(member, view.rollout.model, report, 0.0) is not member:
                    found.append((member, report))
        return tuple(found)

    def _judge(self, connection: Connection, stored: StoredRollout, member: RolloutDevice, report: Reported) -> None:
        now = self._clock()
        judged = judge_report(member, stored.rollout.model, report, now / 1000)
        if judged is member:
            return
        rollouts.save_member(connection, stored.rollout.id, judged)
        if judged.state in _BAD_STATES and member.state not in _BAD_STATES:
            self._reject(connection, member.device, stored.rollout.model, stored.rollout.version, judged, now)
            self._assigner.give_back(
                connection, member.device, stored.rollout.model, member.from_version, member.from_digest, now
            )

    def _reject(
        self, connection: Connection, device: str, model: str, version: int, judged: RolloutDevice, now: int
    ) -> None:
        bad = assignments.BadVersion(device, model, version, judged.reason, judged.detail, now)
        assignments.save_bad(connection, bad)
        event = StoredEvent(
            now,
            "server",
            "version_rejected",
            judged.detail,
            device,
            model,
            {"version": str(version), "reason": judged.reason},
        )
        record_event(connection, event, self._announcer)

    def _hear_outside(self, connection: Connection, report: Reported) -> None:
        """Take back what failed outside of any rollout: a group's target that did not do on a device that joined."""
        outcome, last = report.outcome, desired.find_desired(connection, report.device)
        if outcome is None or last is None or outcome.desired_seq != last.seq or outcome.result is Result.SUCCEEDED:
            return
        if outcome.reason in (Reason.SUPERSEDED, Reason.STALE):
            self._assigner.refresh(connection, report.device, self._clock())
            return
        running = {bundle.model: bundle for bundle in report.running}
        now = self._clock()
        for bundle in last.read_body().bundles:
            held = running.get(bundle.model)
            if outcome.model not in (None, bundle.model) or (held is not None and held.digest == bundle.digest):
                continue
            judged = RolloutDevice(report.device, 0, reason=outcome.reason, detail=outcome.detail)
            self._reject(connection, report.device, bundle.model, bundle.version, judged, now)
            version, digest = (held.version, held.digest) if held is not None else (None, None)
            self._assigner.give_back(connection, report.device, bundle.model, version, digest, now)
            end_return(connection, report.device, bundle.model, bundle.version, now)


def _load(connection: Connection, rollout: str) -> tuple[StoredRollout, RolloutView]:
    stored = rollouts.get_rollout(connection, rollout)
    return stored, RolloutView(stored.rollout, rollouts.list_members(connection, rollout))
