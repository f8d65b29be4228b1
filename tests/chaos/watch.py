"""What must hold at every step of a simulation; each broken promise is a `BrokenPromiseError` that names it."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from edge_agent.contract.messages import Desired, Outcome
from edge_agent.contract.states import Result, UpdateState
from edge_agent.core.update_machine import MAX_TRIALS, Update, digests
from fleet_server.core.rollouts import SETTLED
from fleet_server.store import desired as desired_room
from fleet_server.store import devices as devices_room


class BrokenPromiseError(AssertionError):
    """A promise was broken."""


@dataclass
class Ledger:
    """What was seen of one device's durable state so far."""

    boot: int = 0
    saved: Update = field(default_factory=Update)
    begun: set[int] = field(default_factory=set)
    activated: set[int] = field(default_factory=set)
    outcomes: dict[int, Outcome] = field(default_factory=dict)


def demand(promise: bool, *what: object) -> None:
    """Raise where a promise does not hold."""
    if not promise:
        raise BrokenPromiseError(" ".join(map(str, what)))


class Watch:
    """Sees every durable write, every document that is signed, every step."""

    def __init__(self) -> None:
        self.ledgers: dict[int, Ledger] = defaultdict(Ledger)
        self.documents: dict[tuple[str, int], set[frozenset[str]]] = defaultdict(set)
        self._numbers: dict[tuple[str, int], frozenset[str]] = {}
        self.signed_to: dict[str, int] = {}
        self.proofs: set[tuple[str, str]] = set()
        self.committed: set[tuple[str, str]] = set()
        self.promoted: set[str] = set()
        self._succeeded: set[str] = set()

    def ledger(self, device: Any) -> Ledger:
        """What was seen of a device since it was made."""
        return self.ledgers[id(device)]

    def renewed(self, device: str) -> None:
        """A device was removed: the numbers of its documents begin anew; what was signed for it stays signed."""
        self.signed_to.pop(device, None)
        self._numbers = {key: value for key, value in self._numbers.items() if key[0] != device}

    def signed(self, desired: Desired) -> None:
        """The server signs a document: numbers do not go back, and one number is one set."""
        key, named = (desired.device, desired.seq), digests(desired)
        demand(desired.seq >= self.signed_to.get(desired.device, 0), "an older document was published again", key)
        demand(self._numbers.setdefault(key, named) == named, "one number was given to two documents", key)
        self.documents[key].add(named)
        self.signed_to[desired.device] = desired.seq

    def proven(self, device: Any, digest: str) -> None:
        """A board has proven a bundle."""
        self.proofs.add((device.id, digest))

    def booted(self, device: Any, boot: int, update: Update) -> None:
        """An agent begins with what was made durable, in a boot of its own."""
        ledger = self.ledger(device)
        demand(boot > ledger.boot, device.id, "boot", boot, "is not later than", ledger.boot)
        demand(update == ledger.saved, device.id, "woke with another state than it had written")
        ledger.boot = boot

    def saved(self, device: Any, update: Update, _reported: bool) -> None:
        """An agent has made a state durable."""
        ledger, who = self.ledger(device), device.id
        before, ledger.saved = ledger.saved, update
        demand(update.highest_seq >= before.highest_seq, who, "went back to document", update.highest_seq)
        demand(update.trial <= MAX_TRIALS, who, "is in trial", update.trial)
        for desired in (update.target, update.good, update.waiting):
            if desired is not None:
                named = self.documents[who, desired.seq]
                demand(digests(desired) in named, who, "acts on what nobody signed for it:", desired.seq)
        if update.target is not None:
            ledger.begun.add(update.target.seq)
        self._activated(who, ledger, before, update)
        self._ended(who, ledger, before, update)

    def _activated(self, who: str, ledger: Ledger, before: Update, update: Update) -> None:
        old, new = before.good, update.good
        if new == old or new is None:
            demand(new is not None or old is None, who, "lost what it had committed")
            return
        demand(new.seq not in ledger.activated, who, "activated document", new.seq, "twice")
        demand(old is None or new.seq > old.seq, who, "committed an older document", new.seq)
        for digest in digests(new):
            demand((who, digest) in self.proofs, who, "committed a bundle that it had not proven", digest[:12])
            self.committed.add((who, digest))
        ledger.activated.add(new.seq)

    def _ended(self, who: str, ledger: Ledger, before: Update, update: Update) -> None:
        outcome = update.outcome
        if outcome is None or outcome == before.outcome:
            demand(outcome is not None or before.outcome is None, who, "lost an outcome")
            return
        demand(outcome.desired_seq in ledger.begun, who, "ended what it had not begun:", outcome.desired_seq)
        demand(outcome.desired_seq not in ledger.outcomes, who, "ended document", outcome.desired_seq, "twice")
        good = update.good.seq if update.good is not None else 0
        succeeded = outcome.result is Result.SUCCEEDED
        demand(succeeded == (good == outcome.desired_seq), who, "reports", outcome.result, "but has", good)
        ledger.outcomes[outcome.desired_seq] = outcome

    def stepped(self, device: Any) -> None:
        """After each step of an agent: it acts on what is durable, and serves what it may."""
        if device.updates is None:
            return
        who, update = device.id, device.updates.update
        demand(update == self.ledger(device).saved, who, "acts on what it has not written")
        versions: dict[str, set[int]] = defaultdict(set)
        for worker in device.workers:
            for model in worker.serves:
                versions[model.model].add(model.version)
                demand((who, model.digest) in self.proofs, who, "serves what it has not proven:", model)
        for model, found in versions.items():
            demand(len(found) == 1, who, "serves versions", found, "of", model, "at once")

    def server_stepped(self, server: Any) -> None:
        """After each step of the server: no success without devices that have attested."""
        rows = server.database.raw.execute("SELECT device, digest FROM rollout_devices WHERE state = 'succeeded'")
        for device, digest in rows.fetchall():
            demand((device, digest) in self.committed, "a rollout counts", device, "which has not committed", digest)
        found = server.database.raw.execute("SELECT id, policy FROM rollouts WHERE state = 'succeeded'").fetchall()
        for rollout, policy in found:
            if rollout not in self._succeeded:
                self._succeeded.add(rollout)
                self._judge_success(server.database.raw, rollout, policy)

    def _judge_success(self, raw: Any, rollout: str, policy: str) -> None:
        members = raw.execute("SELECT device, state, failed FROM rollout_devices WHERE rollout = ?", (rollout,))
        states = members.fetchall()
        if rollout in self.promoted:
            return
        open_ones = [device for device, state, _ in states if state not in SETTLED]
        demand(not open_ones, rollout, "succeeded without", open_ones)
        demand(any(state == "succeeded" for _, state, _ in states), rollout, "succeeded with nobody's word")
        failed = sum(bool(flag) for *_, flag in states)
        demand(failed <= json.loads(policy)["max_failures"], rollout, "succeeded with", failed, "failures")


def complaints(server: Any, devices: list[Any], watch: Watch) -> list[str]:
    """Return what is not yet as it must be when all is calm."""
    raw = server.database.raw
    found = [f"server is {'up' if server.alive else 'down'}"] if not server.alive else []
    if count := raw.execute("SELECT count(*) FROM outbox").fetchone()[0]:
        found.append(f"{count} entries wait in the outbox")
    if server.broker.waiting:
        found.append(f"{server.broker.waiting} messages wait for the server")
    for rollout, state, reason in raw.execute("SELECT id, state, reason FROM rollouts").fetchall():
        found += _of_rollout(raw, rollout, state, reason)
    for device in devices:
        found += [f"{device.id}: {text}" for text in _of_device(server, device, watch)]
    return found


def _of_rollout(raw: Any, rollout: str, state: str, reason: str) -> list[str]:
    if state == "running" or (state == "paused" and not reason):
        return [f"{rollout} is {state} {reason!r}"]
    if state not in ("halted", "aborted"):
        return []
    rows = raw.execute("SELECT device, state FROM rollout_devices WHERE rollout = ?", (rollout,)).fetchall()
    return [
        f"{rollout} is {state}, and {device} is {found}"
        for device, found in rows
        if found not in ("waiting", "skipped", "returned")
    ]


def _of_device(server: Any, device: Any, watch: Watch) -> list[str]:
    updates, ledger = device.updates, watch.ledger(device)
    if updates is None:
        return ["its agent is down"]
    update, found = updates.update, []
    with server.database.read() as connection:
        stored = desired_room.find_desired(connection, device.id)
        board = devices_room.get_device(connection, device.id)
    reported = board.read_reported()
    if update.state is not UpdateState.IDLE or update.waiting is not None:
        found.append(f"it is {update.state}")
    if missing := {seq for seq in ledger.begun if seq not in ledger.outcomes}:
        found.append(f"documents {sorted(missing)} have no outcome")
    wanted = digests(stored.read_body()) if stored is not None else frozenset()
    runs = frozenset(bundle.digest for bundle in updates.running if bundle.attested)
    if stored is not None and runs != wanted - updates.disabled:
        names = [f"{bundle.model} {bundle.version}" for bundle in updates.running]
        body = [] if stored is None else [f"{b.model} {b.version}" for b in stored.read_body().bundles]
        found.append(
            f"it runs {names} of {update.good.seq if update.good else 0}, not {body} of document "
            f"{stored.seq if stored else 0}; it knows {update.highest_seq}, outcome {update.outcome}"
        )
    if reported is None or reported.running != updates.running or reported.outcome != update.outcome:
        found.append("the server does not know how it stands")
    return found
