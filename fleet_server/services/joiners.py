"""Devices that come into a group late: they get what the group has come to, and a place in its open rollouts.

House rules: a late device passes the same gate as all others: it is brought to the group's present version first, and
waits in the last phase of what is under way. Nothing is offered to it here that a rollout has not succeeded with.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from fleet_server.core.rollouts import DeviceState, Prospect, RolloutState, join_late
from fleet_server.core.selectors import Selector, matches
from fleet_server.services.announcements import Announcer
from fleet_server.services.assignments import Assigner, Grant
from fleet_server.services.clock import Clock
from fleet_server.services.events import record_event
from fleet_server.services.groups import read_selector, subject_of
from fleet_server.store import assignments, devices, groups, rollouts
from fleet_server.store.database import Database
from fleet_server.store.events import StoredEvent
from fleet_server.store.rollouts import StoredRollout

_MOVING = (RolloutState.RUNNING, RolloutState.PAUSED)
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Fleet:
    """What is read once in a turn: boards, what they hold by (device, model), and who is in which open rollout."""

    boards: tuple[devices.Device, ...]
    selectors: dict[str, Selector]
    assigned: dict[_Key, assignments.Assignment]
    bad: frozenset[tuple[str, str, int]]
    open: tuple[StoredRollout, ...]
    busy: frozenset[_Key]
    known: frozenset[_Key]

    def in_group(self, board: devices.Device, group: str) -> bool:
        """Whether the query of a group selects a board."""
        selector = self.selectors.get(group)
        return selector is not None and matches(selector, subject_of(board))


class Joiners:
    """Looks after them, once in every turn of the controller."""

    def __init__(self, database: Database, assigner: Assigner, announcer: Announcer, clock: Clock) -> None:
        self._database = database
        self._assigner = assigner
        self._announcer = announcer
        self._clock = clock

    def turn(self) -> None:
        """Give every device what the newest target of its groups says, where nothing newer was said of it."""
        with self._database.read() as connection:
            targets = groups.all_targets(connection)
            late = [item for item in rollouts.open_rollouts(connection) if _takes_late(item)]
            if not targets and not late:
                return
            fleet = _read_fleet(connection)
            owed = _owed(fleet, targets)
            chosen = [
                (board.id, target, choice)
                for board, target in owed
                if (choice := self._assigner.choose(connection, board, target.model, target.version).candidate)
            ]
            # What is on its way to the group's version has its turn in the rollout after that.
            on_way = {(board.id, target.model) for board, target in owed}
            joining = [(stored, board) for stored in late for board in _late(fleet, stored, on_way)]
        for device, target, choice in chosen:
            if choice.digest is not None:
                self._bring(device, target, Grant(target.model, target.version, choice.variant, choice.digest, {}))
        for stored, board in joining:
            self._join(stored, board)

    def _bring(self, device: str, target: groups.Target, grant: Grant) -> None:
        with self._database.write() as connection:
            if devices.find_device(connection, device) is None:
                return
            now = self._clock()
            self._assigner.grant(connection, device, grant, now)
            fields = {"version": str(target.version), "group": target.group}
            event = StoredEvent(now, "server", "target_assigned", device=device, model=target.model, fields=fields)
            record_event(connection, event, self._announcer)

    def _join(self, stored: StoredRollout, board: devices.Device) -> None:
        with self._database.write() as connection:
            rollout = rollouts.get_rollout(connection, stored.rollout.id).rollout
            gone = devices.find_active(connection, board.id) is None
            if gone or rollout.state not in _MOVING or rollouts.find_member(connection, rollout.id, board.id):
                return
            now = self._clock()
            held = {item.model: item for item in assignments.list_assignments(connection, board.id)}.get(rollout.model)
            choice = self._assigner.choose(connection, board, rollout.model, rollout.version)
            version, digest = (None, None) if held is None else (held.version, held.digest)
            member = join_late(Prospect(board.id, choice, version, digest, board.profile), rollout, now / 1000)
            rollouts.insert_members(connection, rollout.id, (member,))
            fields = {"version": str(rollout.version), "rollout": rollout.id}
            event = StoredEvent(now, "server", "rollout_joined", device=board.id, model=rollout.model, fields=fields)
            record_event(connection, event, self._announcer)


def _takes_late(stored: StoredRollout) -> bool:
    return bool(stored.options.get("complete")) and stored.rollout.state in _MOVING


def _read_fleet(connection: Connection) -> _Fleet:
    members = {
        (member.device, stored.rollout.model): member.state is not DeviceState.SKIPPED
        for stored in rollouts.unsettled_rollouts(connection)
        for member in rollouts.list_members(connection, stored.rollout.id)
    }
    return _Fleet(
        boards=devices.all_devices(connection),
        selectors={group.name: read_selector(group.query) for group in groups.all_groups(connection)},
        assigned={(item.device, item.model): item for item in assignments.all_assignments(connection)},
        bad=frozenset((item.device, item.model, item.version) for item in assignments.list_bad(connection)),
        open=rollouts.open_rollouts(connection),
        busy=frozenset(key for key, taking_part in members.items() if taking_part),
        known=frozenset(members),
    )


def _owed(fleet: _Fleet, targets: tuple[groups.Target, ...]) -> list[tuple[devices.Device, groups.Target]]:
    owed, seen = [], set()
    for board in fleet.boards:
        for target in targets:
            key = (board.id, target.model)
            if key in seen or not fleet.in_group(board, target.group):
                continue
            seen.add(key)
            held = fleet.assigned.get(key)
            settled = held is not None and (held.version == target.version or held.set_at >= target.set_at)
            if not settled and key not in fleet.busy and (*key, target.version) not in fleet.bad:
                owed.append((board, target))
    return owed


def _late(fleet: _Fleet, stored: StoredRollout, on_way: set[_Key]) -> list[devices.Device]:
    rollout = stored.rollout
    return [
        board
        for board in fleet.boards
        if (board.id, rollout.model) not in fleet.known | on_way
        and (board.id, rollout.model, rollout.version) not in fleet.bad
        and fleet.in_group(board, rollout.group)
    ]
