"""False alarms and detection of drift, beside the rules that other systems use, on the same simulated fleets.

`python benchmarks/decisions/drift.py` runs for some minutes, prints the tables, writes `drift.json` beside itself and
draws `docs/images/drift.svg`. What is simulated: devices of 30 standard normal columns and three labels; each device
stands off training by 0.3 σ (normal, for good) in each column; rows are independent, or an AR(1) series of correlation
0.9 within the device. Each device learns for 24 windows; then clean windows, then windows with a change.

`--groups` measures groups of more devices alone: 0.15 σ of all of them, raised within three looks. It writes
`drift_groups.json`.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import drift_plot
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from fleet_server.core.drift_devices import full_psi  # noqa: E402
from fleet_server.core.drift_machine import DriftState  # noqa: E402
from fleet_server.core.yardstick import columns_of  # noqa: E402
from tests.fakes.drift_watch import Watch  # noqa: E402
from tests.fakes.drifting_fleet import SimulatedFleet  # noqa: E402

FEATURES, OFFSET, MOVED = 30, 0.3, 5
OURS = "Edgeloop"
RULES = (OURS, "PSI > 0.1", "PSI > 0.2", "KS p < 0.05", "KS p < 0.05/30", "χ² p < 0.05/30")
# Name, rows a window, correlation of neighbouring rows, devices, fleets, clean windows of each device.
SETTINGS: tuple[tuple[str, int, float, int, int, int], ...] = (
    ("independent, 500 rows", 500, 0.0, 20, 10, 110),
    ("AR(1) 0.9, 3,600 rows", 3600, 0.9, 10, 10, 110),
    ("AR(1) 0.9, 1,000 rows", 1000, 0.9, 10, 8, 60),
)
# Devices, rows a window, correlation of neighbouring rows, fleets.
GROUPS: tuple[tuple[int, int, float, int], ...] = ((25, 3600, 0.9, 2), (50, 3600, 0.9, 2))
Flags = NDArray[np.bool_]


def other_rules(watch: Watch, counts: Any) -> dict[str, Flags]:
    """Which columns the rules of others flag, (devices, features): each window against training, by itself."""
    columns = columns_of(watch.fleet.yardstick, counts)
    bins, known = columns.bins[:, :FEATURES], watch.fleet.yardstick.training[None, :FEATURES]
    known = np.broadcast_to(known, bins.shape)
    n, m = bins.sum(axis=2), known.sum(axis=2)
    p, q = np.maximum(bins / n[:, :, None], 1e-4), np.maximum(known / m[:, :, None], 1e-4)
    psi = ((p - q) * np.log(p / q)).sum(axis=2)
    distance = np.abs(np.cumsum(bins, axis=2) / n[:, :, None] - np.cumsum(known, axis=2) / m[:, :, None]).max(axis=2)
    ks_p = 2 * np.exp(-2 * distance**2 * n * m / (n + m))
    both = bins + known
    statistic = ((bins * m[:, :, None] - known * n[:, :, None]) ** 2 / np.maximum(both, 1)).sum(axis=2) / (n * m)
    # 42.2 is exceeded with probability 0.05/30 at 19 degrees of freedom.
    return {
        "PSI > 0.1": psi > 0.1,
        "PSI > 0.2": psi > 0.2,
        "KS p < 0.05": ks_p < 0.05,
        "KS p < 0.05/30": ks_p < 0.05 / 30,
        "χ² p < 0.05/30": statistic > 42.2,
    }


def measure(name: str, rows: int, correlation: float, devices: int, fleets: int, windows: int) -> dict[str, Any]:
    """Simulate one setting and return its figures."""
    false = dict.fromkeys(RULES, 0)
    half = {rule: [0, 0] for rule in RULES}
    stuck, group, spread, looks, alarms = [0, 0], [0, 0], [], 0, 0
    for number in range(fleets):
        fleet = SimulatedFleet(devices, FEATURES, rows, correlation, OFFSET, np.random.default_rng([7, rows, number]))
        watch = Watch(fleet)
        watch.learn()
        for _ in range(windows):
            counts, before = fleet.windows(), watch.group_state
            watch.look(counts)
            columns, memory = columns_of(fleet.yardstick, counts), watch.memory
            psi = full_psi(columns.bins, columns.extras, memory.bins, memory.extras)
            spread.append(float(np.quantile(psi, 0.99)))
            false[OURS] += watch.drifting()
            for rule, flags in other_rules(watch, counts).items():
                false[rule] += int(flags.any(axis=1).sum())
            looks += 1
            alarms += watch.group_state is DriftState.DRIFT and before is not DriftState.DRIFT
        for start in range(0, FEATURES, MOVED):
            columns = np.arange(start, start + MOVED)
            add_detection(watch, columns, half)
            watch.forget()
            for _ in range(2):
                watch.look(fleet.windows(stuck=tuple(columns)))
            raised = watch.raised(columns)
            stuck = [stuck[0] + int(raised.sum()), stuck[1] + raised.size]
            watch.forget()
            shift = np.zeros(FEATURES)
            shift[start] = 0.15
            for _ in range(3):
                watch.look(fleet.windows(shift=shift))
            group = [group[0] + watch.group_raised(start), group[1] + 1]
        print(f"  {name}: fleet {number + 1} of {fleets}", file=sys.stderr, flush=True)
    total = fleets * windows * devices
    return {
        "setting": name,
        "rows": rows,
        "correlation": correlation,
        "devices": devices,
        "fleets": fleets,
        "device_windows": total,
        "group_looks": looks,
        "false_alarms": {rule: false[rule] / total for rule in RULES},
        "half_sigma_in_two_windows": {rule: half[rule][0] / half[rule][1] for rule in RULES},
        "half_sigma_tries": half[OURS][1],
        "stuck_in_two_windows": stuck[0] / stuck[1],
        "group_alarms": alarms,
        "group_015_sigma_in_three_looks": group[0] / group[1],
        "group_tries": group[1],
        "psi_99_percent": float(np.mean(spread)),
    }


def add_detection(watch: Watch, columns: NDArray[np.intp], half: dict[str, list[int]]) -> None:
    """Shift these columns by 0.5 σ for two windows, and add which rules raised them (others: in either window)."""
    watch.forget()
    shift = np.zeros(FEATURES)
    shift[columns] = 0.5
    seen: dict[str, Flags] = {}
    for _ in range(2):
        counts = watch.fleet.windows(shift=shift)
        watch.look(counts)
        for rule, flags in other_rules(watch, counts).items():
            seen[rule] = seen.get(rule, np.zeros_like(flags)) | flags
    found = {OURS: watch.raised(columns)} | {rule: flags[:, columns] for rule, flags in seen.items()}
    for rule, flags in found.items():
        half[rule][0] += int(flags.sum())
        half[rule][1] += flags.size


def measure_group(devices: int, rows: int, correlation: float, fleets: int) -> dict[str, Any]:
    """Simulate groups of which all devices shift by 0.15 σ in one column; every column is tried once in a fleet."""
    raised = alarms = looks = 0
    for number in range(fleets):
        fleet = SimulatedFleet(
            devices, FEATURES, rows, correlation, OFFSET, np.random.default_rng([9, devices, number])
        )
        watch = Watch(fleet)
        watch.learn()
        for column in range(FEATURES):
            shift = np.zeros(FEATURES)
            shift[column] = 0.15
            watch.forget()
            for _ in range(3):
                watch.look(fleet.windows(shift=shift))
            raised += watch.group_raised(column)
            watch.forget()
            watch.look(fleet.windows())
            alarms, looks = alarms + bool(watch.group_looks[-1]), looks + 1
        print(f"  {devices} devices: fleet {number + 1} of {fleets}", file=sys.stderr, flush=True)
    tries = fleets * FEATURES
    told = {"devices": devices, "rows": rows, "correlation": correlation, "fleets": fleets, "tries": tries}
    return told | {"raised_in_three_looks": raised / tries, "clean_looks": looks, "clean_looks_that_moved": alarms}


def main_groups() -> None:
    """Measure the larger groups."""
    figures = [measure_group(*setting) for setting in GROUPS]
    for item in figures:
        print(
            f"{item['devices']} devices, {item['rows']} rows of correlation {item['correlation']}: 0.15 σ of all "
            f"raised in three looks: {item['raised_in_three_looks']:.1%} of {item['tries']}; clean looks in which "
            f"a column moved: {item['clean_looks_that_moved']} of {item['clean_looks']}"
        )
    Path(__file__).with_name("drift_groups.json").write_text(json.dumps(figures, indent=2) + "\n")


def show(figures: list[dict[str, Any]]) -> None:
    """Print the tables."""
    for item in figures:
        print(
            f"\n{item['setting']}: {item['device_windows']:,} clean device-windows, {item['devices']} devices a fleet"
        )
        print(f"  {'rule':<16} {'false alarms':>13} {'0.5 σ found':>12}")
        for rule in RULES:
            false, found = item["false_alarms"][rule], item["half_sigma_in_two_windows"][rule]
            print(f"  {rule:<16} {false:>12.2%} {found:>12.1%}")
        print(f"  stuck sensor raised in two windows: {item['stuck_in_two_windows']:.1%}")
        print(f"  false group alarms: {item['group_alarms']} in {item['group_looks']:,} looks")
        print(
            f"  0.15 σ of the whole fleet raised in three looks: {item['group_015_sigma_in_three_looks']:.1%} "
            f"of {item['group_tries']}"
        )


def main() -> None:
    """Run all settings."""
    began, figures = time.perf_counter(), []
    for setting in SETTINGS:
        figures.append(measure(*setting))
        show(figures[-1:])
        document = json.dumps({"features": FEATURES, "offset_sigma": OFFSET, "settings": figures}, indent=2)
        Path(__file__).with_name("drift.json").write_text(document + "\n")
    (ROOT / "docs" / "images" / "drift.svg").write_text(drift_plot.draw(figures, RULES), encoding="utf-8")
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main_groups() if "--groups" in sys.argv else main()
