"""A simulated fleet, watched by the rules of drift as the server applies them: devices learn, then all are judged."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fleet_server.core.count_arrays import CountArrays
from fleet_server.core.drift_devices import DeviceLooks, judge_devices
from fleet_server.core.drift_machine import DriftState, Evidence, Looks, add_look, confirmed_columns, next_state, weigh
from fleet_server.core.drift_memory import deviations, learn, new_memory, pack_memory, unpack_memories
from fleet_server.core.drift_policy import DriftPolicy
from fleet_server.core.drift_scopes import LEAST_DEVICES, DeviceShown, judge_scope, learn_scope, new_scope_memory
from fleet_server.core.drift_shown import shown_of
from fleet_server.core.yardstick import columns_of, measure
from tests.fakes.drifting_fleet import SimulatedFleet

_LEAST_LEARNT = 4


@dataclass
class Watch:
    """The states of a fleet's devices and of the fleet as one group."""

    fleet: SimulatedFleet
    policy: DriftPolicy = field(default_factory=DriftPolicy)

    def __post_init__(self) -> None:
        self.memory = new_memory(self.fleet.yardstick, self.fleet.devices)
        self.scope = new_scope_memory(self.fleet.yardstick)
        self.rows = np.full(self.fleet.devices, float(self.fleet.rows))
        self.forget()

    def forget(self) -> None:
        """Begin anew with the looks; what was learnt stays."""
        self.looks: list[Looks] = [()] * self.fleet.devices
        self.group_looks: Looks = ()
        self.states = [DriftState.OK] * self.fleet.devices
        self.group_state = DriftState.OK

    def learn(self) -> None:
        """Let every device learn its level, as the server keeps it: in floats of four bytes."""
        yardstick = self.fleet.yardstick
        for turn in range(self.policy.learning_windows):
            columns = columns_of(yardstick, self.fleet.windows())
            past = deviations(measure(yardstick, columns), self.memory)
            if turn > _LEAST_LEARNT and self.fleet.devices >= LEAST_DEVICES:
                scale = (turn / (turn + 1)) ** 0.5
                moved = np.zeros((self.fleet.devices, yardstick.columns), np.bool_)
                shown = shown_of(yardstick, measure(yardstick, columns), (past[0] * scale, past[1] * scale), moved)
                self.scope = learn_scope(self.scope, shown)
            learn(yardstick, columns, self.rows, self.memory)
        packed = [pack_memory(self.memory, device, yardstick) for device in range(self.fleet.devices)]
        self.memory = unpack_memories(packed, yardstick)

    def look(self, counts: CountArrays) -> DeviceLooks:
        """Judge one window of every device, and the fleet."""
        yardstick, policy = self.fleet.yardstick, self.policy
        columns = columns_of(yardstick, counts)
        past = deviations(measure(yardstick, columns), self.memory)
        found = judge_devices(yardstick, columns, self.rows, self.memory, past, policy)
        moved = np.zeros((self.fleet.devices, yardstick.columns), np.bool_)
        for device, look in enumerate(found.looks()):
            looks = self.looks[device] = add_look(self.looks[device], look, policy.of)
            self.states[device] = next_state(self.states[device], weigh(looks, policy.confirm, policy.psi_floor))
            moved[device, list(confirmed_columns(looks, policy.confirm, policy.psi_floor))] = True
        shown = shown_of(yardstick, measure(yardstick, columns), (found.figures, found.shares), moved)
        self._look_at_group(replace(shown, learnt=np.ones(self.fleet.devices, np.bool_)))
        return found

    def _look_at_group(self, shown: DeviceShown) -> None:
        policy = self.policy
        moves = judge_scope(self.fleet.yardstick, shown, self.scope, policy)
        self.group_looks = add_look(self.group_looks, tuple((move.column, 1.0) for move in moves), policy.of)
        self.group_state = next_state(self.group_state, weigh(self.group_looks, policy.confirm, 0.0))

    def drifting(self) -> int:
        """How many devices' looks confirm each other now."""
        floor = self.policy.psi_floor
        return sum(weigh(looks, self.policy.confirm, floor) is Evidence.CONFIRMED for looks in self.looks)

    def raised(self, columns: NDArray[np.intp]) -> NDArray[np.bool_]:
        """(devices, columns): whether these columns are confirmed on each device."""
        held = [set(confirmed_columns(looks, self.policy.confirm, self.policy.psi_floor)) for looks in self.looks]
        return np.array([[int(column) in found for column in columns] for found in held])

    def group_raised(self, column: int) -> bool:
        """Whether a column is confirmed for the group."""
        return column in confirmed_columns(self.group_looks, self.policy.confirm, 0.0)
