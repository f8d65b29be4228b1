"""Groups and whole models, judged when their devices have new looks: states move, and what moves them is told.

House rules: state, event, decision and whatever listens are one transaction. A look of a group closes when nine tenths
of its active devices have a new look of their own, or after the policy's time.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from sqlalchemy import Connection

from fleet_server.core.concept_rules import Labelled, Promise, Truth, watch_truth, weigh_truth
from fleet_server.core.drift_findings import (
    Cause,
    DriftAlert,
    cause_of,
    plain_moves,
    tell_calm,
    tell_scope,
    tell_truth,
)
from fleet_server.core.drift_machine import DriftState, Evidence, add_look, confirmed_columns, next_state, weigh
from fleet_server.core.drift_policy import DriftPolicy, plain_policy
from fleet_server.core.drift_scopes import LEAST_DEVICES, judge_scope, learn_scope
from fleet_server.core.drift_shown import pack_scope_memory, shown_bytes, unpack_scope_memory, unpack_shown
from fleet_server.core.yardstick import Yardstick
from fleet_server.services.announcements import Announcer
from fleet_server.services.clock import iso
from fleet_server.services.decisions import record_decision
from fleet_server.services.device_looks import since_of
from fleet_server.services.events import record_event
from fleet_server.services.yardsticks import Measured
from fleet_server.store import drift
from fleet_server.store.decisions import StoredDecision
from fleet_server.store.drift import Fresh, LookShown, ScopeDrift
from fleet_server.store.events import StoredEvent

DATA, TRUTH = "data", "truth"
OnAlert = Callable[[Connection, DriftAlert], None]
_ENOUGH = 0.9
# A learning device's deviation means something once a few windows are behind it.
_LEAST_LEARNT = 4
_ACTIVE_LOOKS = 2
_S = 1000


def no_one_listens(connection: Connection, alert: DriftAlert) -> None:
    """Hear of drift, and do nothing."""
    del connection, alert


class ScopeLooks:
    """Judges groups (name and member ids) and whole models (name empty, no members named)."""

    def __init__(self, announcer: Announcer, on_alert: OnAlert) -> None:
        self._announcer = announcer
        self._on_alert = on_alert

    def judge(
        self,
        connection: Connection,
        measured: Measured,
        version: tuple[str, int],
        group: tuple[str, frozenset[str] | None],
        policy: DriftPolicy,
        now: int,
    ) -> bool:
        """Judge one group where its look is due; return whether it was."""
        (model, number), (name, members) = version, group
        before = drift.find_scope(connection, model, number, name, DATA)
        if before is None:
            before = ScopeDrift(model, number, name, DATA, DriftState.LEARNING, now, now)
        fresh = _due(drift.list_fresh(connection, model, number), members, before, policy, now)
        if not fresh:
            return False
        names = {item.device for item in fresh}
        looks = drift.list_looks(connection, model, number, before.judged_n)
        # A device with a bundle whose answers are counted otherwise is not part of this look.
        size = shown_bytes(measured.yardstick)
        shown = [item for item in looks if item.device in names and len(item.look) == size]
        after, evidence = _look(measured.yardstick, before, shown, policy, now)
        after = replace(after, judged_at=now, judged_n=max(item.look_n for item in fresh))
        drift.save_scope(connection, after)
        cause = Cause(evidence.get("cause", Cause.INPUTS))
        self._tell(connection, before, after, cause, policy, now)
        return True

    def judge_truth(
        self,
        connection: Connection,
        measured: Measured,
        version: tuple[str, int],
        group: str,
        labelled: Sequence[Labelled],
        policy: DriftPolicy,
        now: int,
    ) -> None:
        """Take labels that came back into what is known of a group's answers."""
        promise = measured.promise
        if promise is None:
            return
        model, number = version
        before = drift.find_scope(connection, model, number, group, TRUTH)
        if before is None:
            before = ScopeDrift(model, number, group, TRUTH, DriftState.LEARNING, now, now)
        truth = watch_truth(_read_truth(before.memory), promise, labelled, policy)
        state = next_state(before.state, weigh_truth(truth, policy))
        since = since_of(before.state, state, before.since, now)
        after = replace(
            before,
            state=state,
            since=since,
            judged_at=now,
            sentence=tell_truth(promise, truth, iso(since)),
            evidence=_plain_truth(promise, truth, policy),
            memory=json.dumps(asdict(truth)).encode(),
        )
        drift.save_scope(connection, after)
        self._tell(connection, before, after, Cause.ACCURACY, policy, now)

    def _tell(
        self, connection: Connection, before: ScopeDrift, after: ScopeDrift, cause: Cause, policy: DriftPolicy, now: int
    ) -> None:
        if after.state is before.state:
            return
        group = after.group or None
        fields = {"version": str(after.version), "group": after.group, "cause": str(cause), "before": str(before.state)}
        event = StoredEvent(now, "server", f"drift_{after.state}", after.sentence, model=after.model, fields=fields)
        record_event(connection, event, self._announcer)
        told = {"model": after.model, "version": after.version, "group": group, "state": str(after.state)}
        self._announcer.announce("drift", told | {"cause": str(cause), "sentence": after.sentence})
        if after.state not in (DriftState.DRIFT, DriftState.RECOVERED):
            return
        evidence = {"group": group, "cause": str(cause), "state": str(after.state), **after.evidence}
        decision = StoredDecision(
            now,
            "drift",
            after.model,
            after.version,
            after.sentence,
            "monitor",
            policy=plain_policy(policy),
            evidence=evidence,
        )
        record_decision(connection, decision, self._announcer)
        if after.state is DriftState.DRIFT:
            alert = DriftAlert(after.model, after.version, group, str(after.state), cause, after.sentence, evidence)
            self._on_alert(connection, alert)


def _due(
    known: Sequence[Fresh], members: frozenset[str] | None, before: ScopeDrift, policy: DriftPolicy, now: int
) -> list[Fresh]:
    """Return the devices with new looks where enough of the active ones have one, or the time is up."""
    mine = [item for item in known if members is None or item.device in members]
    fresh = [item for item in mine if item.look_n > before.judged_n]
    active = [item for item in mine if item.look_at > now - _ACTIVE_LOOKS * policy.look_s * _S]
    late = now - before.judged_at >= policy.look_s * _S
    return fresh if fresh and (late or len(fresh) >= _ENOUGH * len(active)) else []


def _look(
    yardstick: Yardstick, before: ScopeDrift, devices: Sequence[LookShown], policy: DriftPolicy, now: int
) -> tuple[ScopeDrift, Mapping[str, Any]]:
    """Return what is known of a group after one look, and the evidence."""
    packed = [item.look for item in devices]
    learnt = [item.state is not DriftState.LEARNING for item in devices]
    shown = unpack_shown(yardstick, packed, learnt)
    memory = unpack_scope_memory(before.memory, yardstick)
    learning = 2 * sum(learnt) < len(devices)
    begun = np.array([item.learnt > _LEAST_LEARNT for item in devices], np.bool_)
    if learning and begun.sum() >= LEAST_DEVICES:
        memory = learn_scope(memory, replace(shown, figures=shown.figures[begun], shares=shown.shares[begun]))
    moves = judge_scope(yardstick, shown, memory, policy)
    looks = add_look(before.looks, tuple((move.column, 1.0) for move in moves), policy.of)
    weight = weigh(looks, policy.confirm, 0.0)
    if learning and weight is Evidence.CLEAR:
        weight = Evidence.FEW
    state = next_state(before.state, weight)
    since = since_of(before.state, state, before.since, now)
    confirmed = confirmed_columns(looks, policy.confirm, 0.0)
    told = [move for move in moves if move.column in confirmed]
    evidence: dict[str, Any] = {
        "cause": str(cause_of(yardstick, told)),
        "devices": len(devices),
        "learnt": sum(learnt),
        "drifting": sum(item.state is DriftState.DRIFT for item in devices),
        "features": plain_moves(yardstick, told),
    }
    if told:
        sentence = tell_scope(yardstick, told, iso(since))
    elif state is DriftState.DRIFT:
        sentence, evidence = before.sentence, dict(before.evidence)
    else:
        sentence = tell_calm(state, len(devices), evidence["drifting"])
    after = replace(
        before,
        state=state,
        since=since,
        looks=looks,
        sentence=sentence,
        evidence=evidence,
        memory=pack_scope_memory(memory),
    )
    return after, evidence


def _read_truth(memory: bytes) -> Truth:
    if not memory:
        return Truth()
    plain = json.loads(memory)
    return Truth(tuple(plain["wealth"]), plain["windows"], plain["labels"], plain["recent"])


def _plain_truth(promise: Promise, truth: Truth, policy: DriftPolicy) -> dict[str, Any]:
    return {
        "metric": "accuracy" if promise.of_labels else "mae",
        "promised": promise.value,
        "recent": truth.recent,
        "labels": truth.labels,
        "windows": truth.windows,
        "wealth": round(truth.mean, 3),
        "threshold": 1 / policy.accuracy_alpha,
    }
