"""Runs the update machine: each transition is journalled with its report, then the work that the state owes is begun.

House rules: `_move` is the only place that changes the update; it writes first and acts second. Every effect may be
begun again after a restart. Inputs that do not fit the present state are late answers, and are passed over.
"""

import logging

from edge_agent.contract.messages import AgentSettings, Desired, Outcome, Running
from edge_agent.contract.states import EventCode, Reason, Result, UpdateState
from edge_agent.core.control import Beat
from edge_agent.core.offer_rules import Offer, admit, judge_offer
from edge_agent.core.soak_rules import Healthy, judge_set
from edge_agent.core.trust_rules import Finding
from edge_agent.core.update_machine import (
    SUPERSEDABLE,
    Effect,
    Move,
    Update,
    Verdict,
    advance,
    begin,
    digests,
    owed,
    report,
    running,
    served,
    try_once,
    wake,
)
from edge_agent.supervisor import disk as disk_room
from edge_agent.supervisor import news as news_room
from edge_agent.supervisor.fetching import Fetched
from edge_agent.supervisor.reporter import epoch_ms
from edge_agent.supervisor.update_parts import (
    KEEP_CHUNKS,
    UpdateParts,
    UpdateSettings,
    damaged,
    make_load,
    model_of,
    next_due,
    tell_outcome,
)

_log = logging.getLogger(__name__)


class Updates:
    """The update of this device."""

    def __init__(self, parts: UpdateParts, settings: UpdateSettings, update: Update) -> None:
        self._parts = parts
        self._settings = settings
        self.update = update
        self.disabled: frozenset[str] = frozenset()
        self._beat: tuple[Beat, float] | None = None
        self._since, self._refused, self.last_report = 0.0, "", b""

    @property
    def settings(self) -> AgentSettings:
        """How often to report, as the served set says."""
        now_served = served(self.update)
        return AgentSettings() if now_served is None else now_served.settings

    @property
    def running(self) -> tuple[Running, ...]:
        """What serves, as it is reported."""
        return running(self.update, self.disabled)

    def start(self, now: float) -> None:
        """Continue after a restart: see what it makes of the update, serve, report, and do what is owed."""
        self.update = wake(self.update)
        self._parts.slots.keep_only(digests(self.update.good) | digests(self.update.target))
        for bundle, detail in damaged(self._parts.slots, served(self.update)):
            self._disable(bundle.digest, detail)
        self._serve()
        self._commit(self.update, now)
        if self.update.state is UpdateState.IDLE:
            self._begin(now)

    def trust_found(self, finding: Finding, now: float) -> None:
        """Take in what the verifier found: an order, or why there is none; a change of what is held is reported."""
        held, self._parts.reporter.held = self._parts.reporter.held, finding.held
        report = self.last_report
        self._refused = self._refused if finding.desired is None else ""
        admitted = admit(self.update, finding, self._settings.device)
        if isinstance(admitted, Update):
            self.update = admitted
            self._offered(now)
        elif admitted is not None:
            self._refuse(admitted.reason, admitted.detail)
        if held != finding.held and self.last_report is report:
            self.refresh_report()

    def _offered(self, now: float) -> None:
        """Begin with the order that waits, or let it wait."""
        if self.update.state in SUPERSEDABLE:
            detail = f"document {self.update.highest_seq} came while {self.update.state}"
            self._fail(Verdict(Result.FAILED, Reason.SUPERSEDED, detail), now)
        elif self.update.state is UpdateState.IDLE:
            self._begin(now)
        else:
            self._parts.keeper.note(self.update)

    def _refuse(self, reason: Reason, detail: str) -> None:
        """Say once that what came is not acted upon; what runs goes on."""
        if (said := f"{reason} {detail}") != self._refused:
            self._refused = said
            _log.warning("desired_refused reason=%s detail=%r", reason, detail)
            self._parts.tell(EventCode.UPDATE_REFUSED, detail, None, {"reason": str(reason)})

    def tick(self, now: float) -> None:
        """Look at what is due: the fetch, the soak, the restored set; nothing moves while the disk is full."""
        keeper = self._parts.keeper
        if keeper.unsaved is not None:
            if now >= keeper.retry_at:
                self._commit(keeper.unsaved, now)
            return
        match self.update:
            case Update(state=UpdateState.FETCHING):
                self._fetch_on(now)
            case Update(state=UpdateState.SOAKING, target=Desired() as target):
                self._judge_soak(target, now)
            case Update(state=UpdateState.RESTORING):
                late = now >= self._since + self._settings.restore_timeout_s
                if self._parts.service.serves_wanted or late:
                    self._move(Move.RESTORED, now)
            case _:
                pass

    def next_due(self, now: float) -> float | None:
        """Return when `tick` has something to do."""
        if self._parts.keeper.unsaved is not None:
            return self._parts.keeper.retry_at
        return next_due(self.update, self._since, self._settings, self._parts.fetcher, now)

    def disk_done(self, result: disk_room.Staged | disk_room.DiskFailed, now: float) -> None:
        """The disk has staged the set, or could not, or could not store a chunk."""
        target = self.update.target
        state = self.update.state
        match result:
            case disk_room.Staged(seq) if state is UpdateState.VERIFYING and target and seq == target.seq:
                self._move(Move.VERIFIED, now)
            case disk_room.DiskFailed(seq, reason, detail, model):
                of_fetch = seq == 0 and state is UpdateState.FETCHING
                of_stage = state is UpdateState.VERIFYING and target is not None and seq == target.seq
                if of_fetch or of_stage:
                    self._fail(Verdict(Result.FAILED, reason, detail, model), now)
            case _:
                pass

    def news(self, item: news_room.News, now: float) -> None:
        """Take in what the workers did."""
        match item, self.update.state:
            case news_room.Proven(proofs), UpdateState.PROVING:
                self._move(Move.PROVED, now, advance(self.update, Move.PROVED, proofs=proofs))
            case news_room.TrialFailed(reason, detail, digest), UpdateState.PROVING | UpdateState.SWITCHING:
                self._fail(Verdict(Result.FAILED, reason, detail, model_of(self.update, digest)), now)
            case news_room.NowServing(trial=True), UpdateState.SWITCHING:
                self._move(Move.SWITCHED, now)
            case news_room.ServingLost(reason, detail) | news_room.Worn(reason, detail), UpdateState.SOAKING:
                self._fail(Verdict(Result.FAILED, reason, detail), now)
            case news_room.Counted(beat=beat), UpdateState.SOAKING:
                self._beat = beat, now
            case news_room.Guilty(digest, detail), _:
                self._disable(digest, detail)
                self._serve()
                self.refresh_report()
            case _:
                pass
        self.tick(now)

    def refresh_report(self) -> None:
        """Report again without a transition: progress or what runs has changed."""
        made = self._parts.reporter.report(self.update, self.disabled, self._parts.fetcher.counts, terminal=False)
        self._parts.keeper.queue(made)
        self.last_report = made.body

    def _begin(self, now: float) -> None:
        """Judge the waiting document and begin with it."""
        if (waiting := self.update.waiting) is None:
            return
        board, staged = self._parts.board(), self._parts.slots.digests()
        # What is damaged or does not load here is fetched and proven anew, so it is no mere change of settings.
        good = None if self.disabled else self.update.good
        move, verdict = judge_offer(Offer(waiting, board, self._settings.worker_memory_mb, good, staged))
        if move is Move.ACCEPT:
            names = ", ".join(f"{bundle.model} {bundle.version}" for bundle in waiting.bundles) or "no models"
            self._parts.tell(EventCode.UPDATE_STARTED, f"document {waiting.seq}: {names}", None, {})
        self._move(move, now, begin(self.update, move, verdict))

    def _move(self, move: Move, now: float, moved: Update | None = None) -> None:
        """Make a move: journal and report in one transaction, then begin what the new state owes."""
        new = advance(self.update, move) if moved is None else moved
        _log.info("update_moved move=%s state=%s seq=%s", move, new.state, new.target.seq if new.target else "-")
        self._commit(new, now)

    def _commit(self, new: Update, now: float) -> None:
        ended = new.outcome != self.update.outcome
        made = self._parts.reporter.report(new, self.disabled, self._parts.fetcher.counts, terminal=ended)
        if not self._parts.keeper.save(new, made, now):  # `tick` tries again
            if new.state is UpdateState.RESTORING:  # safe before it is written: a restart would serve the good set too
                self._parts.service.abandon_trial()
                self._serve(new)
            return
        self.last_report = made.body
        self.update, self._since = new, now
        if (effect := owed(new)) is not None:
            self._run(effect, now)
        elif ended and new.outcome is not None:
            self._ended(new.outcome, now)

    def _fail(self, verdict: Verdict, now: float) -> None:
        self._move(Move.FAIL, now, advance(self.update, Move.FAIL, verdict=verdict))

    def _run(self, effect: Effect, now: float) -> None:
        """Begin the effect; each ends in a later input, or in a move at once."""
        target = self.update.target
        if target is None:
            raise AssertionError(f"{self.update.state} without a target")
        match effect:
            case Effect.FETCH:
                missing = tuple(bundle for bundle in target.bundles if not self._parts.slots.has(bundle.digest))
                self._parts.fetcher.begin(missing, now)
                self._fetch_on(now)
            case Effect.VERIFY:
                self._parts.disk.stage(target.seq, target.bundles, digests(self.update.good))
            case Effect.TRY:
                self._move(Move.TRY, now, try_once(self.update))
            case Effect.PROVE:
                self._prove(target, now)
            case Effect.SWITCH:
                self._parts.service.promote(now)
            case Effect.SOAK:
                self._beat = None
                self.disabled = frozenset()  # what was proven just now has its chance
                self._serve()
            case Effect.COMMIT:
                self._parts.keeper.mark(target, self.update.proofs)
                self._move(Move.COMMITTED, now)
            case Effect.RESTORE:
                self._parts.fetcher.end()
                self._parts.service.abandon_trial()
                self._serve()
                self.tick(now)
            case Effect.REPORT:
                self._report(now)

    def _prove(self, target: Desired, now: float) -> None:
        """Start the trial; what is committed and serves needs no second proof."""
        prove = tuple(sorted(digests(target) - (digests(self.update.good) - self.disabled)))
        load = make_load(self._parts.slots, self._settings, target, frozenset(), prove)
        for item in self._parts.service.begin_trial(load, now):
            self.news(item, now)

    def _fetch_on(self, now: float) -> None:
        self._settle(self._parts.fetcher.tick(now), now)

    def _judge_soak(self, target: Desired, now: float) -> None:
        beat, at = self._beat or (None, now)
        beats, silent = None if beat is None else beat.models, (now - at) / self._settings.beat_s
        self._settle(judge_set(target, digests(self.update.good), now - self._since, beats, silent), now)

    def _settle(self, found: Fetched | Healthy | Verdict | None, now: float) -> None:
        match found:
            case Fetched():
                self._move(Move.FETCHED, now)
            case Healthy():
                self._move(Move.HEALTHY, now)
            case Verdict() as verdict:
                self._fail(verdict, now)
            case None:
                pass

    def _report(self, now: float) -> None:
        """End the update with its outcome."""
        self._serve()
        self.disabled &= digests(self.update.good)
        self._commit(report(self.update, epoch_ms()), now)

    def _ended(self, outcome: Outcome, now: float) -> None:
        """Say how it ended, throw away what is not needed any more, and begin with what waits."""
        tell_outcome(outcome, self._parts.tell)
        self._parts.slots.keep_only(digests(self.update.good))
        if outcome.reason not in KEEP_CHUNKS:
            self._parts.chunks.keep_only(())
        self._begin(now)

    def _serve(self, update: Update | None = None) -> None:
        """Let the service serve what this state serves, or another."""
        load = make_load(self._parts.slots, self._settings, served(update or self.update), self.disabled)
        self._parts.service.want(load)

    def _disable(self, digest: str, detail: str) -> None:
        """A committed bundle does not load any more: it is left out, and that is said."""
        self.disabled |= {digest}
        _log.error("model_disabled digest=%s detail=%r", digest[:12], detail)
        self._parts.tell(EventCode.MODEL_DISABLED, detail, model_of(self.update, digest), {"digest": digest})
