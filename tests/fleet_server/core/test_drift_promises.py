"""What drift promises, simulated and seeded: false alarms and detection, for rows that resemble their neighbours too.

The full simulation, beside other rules, is `benchmarks/decisions/drift.py`. Bounds here are the promise plus three
standard errors of the reduced number of tries, or the promise itself where the full simulation is far from it.
"""

from dataclasses import replace

import numpy as np
import pytest

from fleet_server.core.count_arrays import CountArrays
from fleet_server.core.drift_machine import DriftState, Evidence, next_state
from fleet_server.core.drift_memory import deviations
from fleet_server.core.drift_policy import DriftPolicy
from fleet_server.core.drift_scopes import judge_scope
from fleet_server.core.drift_shown import shown_of
from fleet_server.core.yardstick import columns_of, measure
from tests.fakes.drift_watch import Watch
from tests.fakes.drifting_fleet import SimulatedFleet

OFFSET, FEATURES = 0.3, 30
INDEPENDENT, SERIES = (500, 0.0), (3600, 0.9)
LEARN = DriftPolicy()


def watch_of(rows: tuple[int, float], devices: int, seed: int, policy: DriftPolicy = LEARN) -> Watch:
    fleet = SimulatedFleet(devices, FEATURES, rows[0], rows[1], OFFSET, np.random.default_rng(seed))
    watch = Watch(fleet, policy)
    watch.learn()
    return watch


def shift_of(columns: range, sigma: float) -> np.ndarray:
    shift = np.zeros(FEATURES)
    shift[list(columns)] = sigma
    return shift


@pytest.mark.parametrize(("rows", "devices", "windows"), [(INDEPENDENT, 20, 40), (SERIES, 8, 25)])
def test_clean_fleets_raise_next_to_nothing(rows: tuple[int, float], devices: int, windows: int) -> None:
    watch, false, group = watch_of(rows, devices, 1), 0, 0
    for _ in range(windows):
        watch.look(watch.fleet.windows())
        false += watch.drifting()
        group += watch.group_state is DriftState.DRIFT
    assert false <= 0.01 * devices * windows
    assert group == 0


@pytest.mark.parametrize(("rows", "devices"), [(INDEPENDENT, 20), (SERIES, 8)])
def test_half_a_sigma_and_stuck_sensors_are_raised_within_two_windows(rows: tuple[int, float], devices: int) -> None:
    watch, columns = watch_of(rows, devices, 2), range(5)
    for _ in range(2):
        watch.look(watch.fleet.windows(shift=shift_of(columns, 0.5)))
    assert watch.raised(np.arange(5)).mean() >= 0.95
    watch.forget()
    for _ in range(2):
        watch.look(watch.fleet.windows(stuck=tuple(columns)))
    assert watch.raised(np.arange(5)).mean() >= 0.95


@pytest.mark.parametrize(("rows", "devices"), [(INDEPENDENT, 20), (SERIES, 12)])
def test_a_small_shift_of_the_whole_fleet_is_raised_for_the_group_alone(rows: tuple[int, float], devices: int) -> None:
    watch = watch_of(rows, devices, 3)
    for _ in range(3):
        watch.look(watch.fleet.windows(shift=shift_of(range(1), 0.15)))
    assert watch.group_raised(0)
    assert watch.drifting() <= 1


def test_a_shift_below_the_groups_effect_is_not_raised() -> None:
    watch = watch_of(INDEPENDENT, 20, 4)
    for _ in range(3):
        watch.look(watch.fleet.windows(shift=shift_of(range(1), 0.05)))
    assert not watch.group_raised(0)


def test_every_field_of_the_policy_changes_an_outcome() -> None:
    watch = watch_of(INDEPENDENT, 12, 5)
    windows = [watch.fleet.windows(shift=shift_of(range(1), 0.5)) for _ in range(2)]
    slight = [watch.fleet.windows(shift=shift_of(range(1), 0.15)) for _ in range(2)]

    def raised(held: list, **changed: float) -> tuple[float, bool]:
        watch.policy = replace(LEARN, **changed)
        watch.forget()
        for counts in held:
            watch.look(counts)
        return float(watch.raised(np.arange(1)).mean()), watch.group_raised(0)

    assert raised(windows) == (1.0, True)
    assert raised(windows, confirm=3) == (0.0, False)
    assert raised(windows, confirm=1, of=1)[0] == 1.0
    assert raised(windows, psi_floor=0.5)[0] == 0.0
    assert raised(windows, alpha=1e-12)[0] < 1.0
    assert raised(slight) == (0.0, True)
    assert not raised(slight, group_effect_sigma=0.2)[1]
    assert not raised(slight, scope_alpha=1e-12)[1]
    assert raised(slight[:1] * 3, of=2)[1]
    # Without enough devices for the group's own test, those that moved by themselves speak.
    thrice = [*windows, windows[0]]
    assert not raised(thrice, group_effect_sigma=50.0, device_share=100.0)[1]
    assert raised(thrice, group_effect_sigma=50.0)[1]
    far = [watch.fleet.windows(shift=shift_of(range(1), 0.8))] * 2
    watch.memory.windows[:] = 0  # nothing is learnt: training is all there is to hold a device against
    assert _far_from_training(watch, far[0], LEARN) == [0]
    assert _far_from_training(watch, far[0], replace(LEARN, offset_sigma=1.0)) == []


def _far_from_training(watch: Watch, counts: CountArrays, policy: DriftPolicy) -> list[int]:
    yardstick = watch.fleet.yardstick
    columns = columns_of(yardstick, counts)
    past = deviations(measure(yardstick, columns), watch.memory)
    shown = shown_of(yardstick, measure(yardstick, columns), past, np.zeros((len(counts), yardstick.columns), np.bool_))
    return [move.column for move in judge_scope(yardstick, shown, watch.scope, policy)]


def test_labels_that_change_are_raised_by_their_share() -> None:
    watch = watch_of(INDEPENDENT, 12, 6)
    answers = watch.fleet.yardstick.names.index("output")

    def raised(policy: DriftPolicy) -> bool:
        watch.policy = policy
        watch.forget()
        for _ in range(2):
            counts = watch.fleet.windows()
            counts.outputs[:] = watch.fleet.chance.multinomial(500, (0.42, 0.38, 0.2), size=12)
            watch.look(counts)
        return watch.group_raised(answers)

    assert raised(LEARN)
    assert not raised(replace(LEARN, group_effect_share=0.2))


def test_missing_values_are_raised_above_the_floor_of_rare_things() -> None:
    watch = watch_of(INDEPENDENT, 12, 7)

    def raised(policy: DriftPolicy) -> float:
        watch.policy = policy
        watch.forget()
        for _ in range(2):
            counts = watch.fleet.windows()
            counts.extras[:, 0, 2] = 25
            watch.look(counts)
        return float(watch.raised(np.arange(1)).mean())

    assert raised(LEARN) == 1.0
    assert raised(replace(LEARN, rare_floor=0.1)) == 0.0


@pytest.mark.parametrize("state", list(DriftState))
def test_every_state_knows_every_evidence(state: DriftState) -> None:
    assert {next_state(state, item) for item in Evidence} <= set(DriftState)
    assert next_state(state, Evidence.FEW) is state
    assert next_state(state, Evidence.CONFIRMED) is DriftState.DRIFT
    assert next_state(DriftState.DRIFT, Evidence.CLEAR) is DriftState.RECOVERED
    assert next_state(DriftState.DRIFT, Evidence.SUSPECT) is DriftState.DRIFT
