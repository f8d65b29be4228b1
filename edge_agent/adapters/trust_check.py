"""Verifies what a device was shown: both packs against pinned roots and floors, then the order against the releases.

House rules: an image repository that verifies is kept even where the order is refused, so that a yank cannot be undone
by holding the director back; a director's metadata is kept only with an order that is followed, so that a stolen key
cannot drive up its versions with orders that nobody can follow. Time is the own clock or the highest that the director
signed for this device, whichever is later; the own clock is never kept, so that one that ran ahead once does no harm.
"""

import datetime as dt
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TypeVar

from edge_agent.adapters.trust_client import ROLES, PackFetcher, Repository, open_repository
from edge_agent.adapters.trust_floors import Floors, RoleVersion
from edge_agent.adapters.trust_keeper import Keeper
from edge_agent.adapters.trust_state import REPOSITORIES, DistrustedError, TrustState
from edge_agent.contract import codec
from edge_agent.contract.messages import Desired, TrustHeld
from edge_agent.contract.states import Reason
from edge_agent.contract.trust import DIRECTOR, IMAGE, NOTE, OversizeError, open_pack
from edge_agent.core.trust_rules import Finding, Named, Order, Refusal, judge_order, read_director_note

T = TypeVar("T")
# The name under which the highest signed time (epoch ms) stands among the floors of the director.
_TIME = "time"
_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
_LAST = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Device:
    """Who verifies: id and class of board, and the journal's highest order, which stands in for all that was lost."""

    device: str
    profile: str
    seq_floor: int = 0


@dataclass(frozen=True, slots=True)
class _Ordered:
    """A verified order, the repository that gave it, and the time that it proves."""

    repository: Repository
    order: Order
    at: dt.datetime


def verify_packs(state: TrustState, device: Device, now: dt.datetime) -> Finding:
    """Verify the kept packs with the clock at `now`, and keep what is to be kept.

    Raises:
        OSError: the state folder is not writable.
        sqlite3.Error: the same of trust.db.
    """
    with Floors.open(state.floors) as floors, ExitStack() as stack:
        check = _Check(state, floors, device, stack)
        for name in REPOSITORIES:
            if not floors.held(name, ROLES[0]):
                check.restore(name)
        refusals: list[DistrustedError] = []
        ordered, released = None, None
        try:
            ordered = check.order(now)
        except DistrustedError as error:
            refusals.append(error)
        try:
            released = check.releases(ordered, now)
        except DistrustedError as error:
            refusals.append(error)
        if refusals or ordered is None or released is None:
            return Finding(held_of(floors, refusals[0] if refusals else None))
        try:
            desired, renumbered = check.follow(ordered, released)
        except DistrustedError as error:
            return Finding(held_of(floors, error))
        return Finding(held_of(floors, None), desired, renumbered)


def held_of(floors: Floors, refusal: DistrustedError | None) -> TrustHeld:
    """Return the versions held, and why the newest was refused."""
    held = TrustHeld(
        image_root=floors.held(IMAGE, "root"),
        image_timestamp=floors.held(IMAGE, "timestamp"),
        image_snapshot=floors.held(IMAGE, "snapshot"),
        image_targets=floors.held(IMAGE, "targets"),
        director_root=floors.held(DIRECTOR, "root"),
        director_timestamp=floors.held(DIRECTOR, "timestamp"),
        director_snapshot=floors.held(DIRECTOR, "snapshot"),
        director_targets=floors.held(DIRECTOR, "targets"),
    )
    return held if refusal is None else replace(held, refused=refusal.reason, detail=refusal.detail)


class _Check:
    """One verification."""

    def __init__(self, state: TrustState, floors: Floors, device: Device, stack: ExitStack) -> None:
        self._state = state
        self._floors = floors
        self._keeper = Keeper(state, floors)
        self._device = device
        self._stack = stack

    def restore(self, name: str) -> None:
        """Make lost floors anew from the metadata that was kept last."""
        folder = self._stack.enter_context(self._state.workspace(name))
        if (kept := self._keeper.recover(name, folder)) is not None:
            self._keeper.raise_floors(kept, _times(kept))

    def order(self, now: dt.datetime) -> _Ordered | None:
        """Verify the director's pack; nothing where none came yet.

        Raises:
            DistrustedError: why it is not believed.
        """
        director = self._open(DIRECTOR)
        if director is None:
            return None
        director.refresh(now)
        self._keeper.check_versions(director)
        self._keeper.check_listed(director)
        note = _ok(read_director_note(director.field(NOTE)))
        at = max(now, self._time_floor(director), _moment(note.ts))
        if expired := director.expired_at(at):
            detail = f"director: {expired} is expired at {at:%Y-%m-%d %H:%M} UTC (the later of clock and signed times)"
            raise DistrustedError(Reason.EXPIRED, detail)
        known = self._floors.knows(DIRECTOR, ROLES[3])
        if not known and director.seq < self._device.seq_floor:
            detail = f"director: order {director.seq} is below {self._device.seq_floor}, which the journal has seen"
            raise DistrustedError(Reason.ROLLED_BACK, detail)
        return _Ordered(director, Order(director.seq, note, director.targets()), at)

    def releases(self, ordered: _Ordered | None, now: dt.datetime) -> Mapping[str, Named] | None:
        """Verify the image pack, keep it, and return what it lists of an order; nothing where none came yet.

        Raises:
            DistrustedError: why it is not believed.
        """
        image = self._open(IMAGE)
        if image is None:
            return None
        image.refresh(ordered.at if ordered else max(now, self._time_floor(None)))
        self._keeper.check_versions(image)
        names = [target.name for target in ordered.order.targets] if ordered else []
        found = {name: target for name in names if (target := image.find(name)) is not None}
        self._keeper.check_versions(image)  # of the delegated roles too, which `find` has loaded
        self._keeper.check_listed(image)
        self._keeper.keep(image)
        return found

    def follow(self, ordered: _Ordered, released: Mapping[str, Named]) -> tuple[Desired, bool]:
        """Judge an order; where it is followed its metadata is kept. Return whether its numbers begin anew, too.

        Raises:
            DistrustedError: why it is not followed.
        """
        director = ordered.repository
        desired = _ok(judge_order(ordered.order, released, self._device.device, self._device.profile))
        renumbered = self._floors.is_lifted(DIRECTOR, director.version_of(ROLES[3]))
        self._keeper.keep(director, _times(director))
        return desired, renumbered

    def _open(self, name: str) -> Repository | None:
        data = self._state.pack(name)
        if data is None:
            return None
        try:
            files = open_pack(data)
        except codec.MalformedError as error:
            reason = Reason.OVERSIZE if isinstance(error, OversizeError) else Reason.MALFORMED
            raise DistrustedError(reason, f"{name}: {error}") from error
        folder = self._stack.enter_context(self._state.workspace(name))
        return open_repository(name, PackFetcher(files), self._state.pinned(name), folder)

    def _time_floor(self, director: Repository | None) -> dt.datetime:
        """Return the highest time that was signed with keys that are trusted still; with whatever keys without one."""
        if director is None:
            floors = self._floors.all_of(DIRECTOR, _TIME)
        else:
            floors = self._floors.named(DIRECTOR, _TIME, director.version_of(ROLES[3]))
        return _moment(max((floor.version for floor in floors), default=0))


def _times(director: Repository) -> tuple[RoleVersion, ...]:
    """Return the time that a director signed, as a floor; an image repository signs none."""
    if director.name != DIRECTOR or not director.is_whole:
        return ()
    note = read_director_note(director.field(NOTE))
    if isinstance(note, Refusal):
        return ()
    return (replace(director.version_of(ROLES[3]), role=_TIME, version=note.ts, digest=""),)


def _ok(found: T | Refusal) -> T:
    if isinstance(found, Refusal):
        raise DistrustedError(found.reason, found.detail)
    return found


def _moment(epoch_ms: int) -> dt.datetime:
    """Return a signed time, cut to what a date can hold."""
    return min(_EPOCH + dt.timedelta(milliseconds=max(0, min(epoch_ms, 2**48))), _LAST)
