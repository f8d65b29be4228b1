"""What 10,000 devices of 30 features cost the embedded database: taking windows in, judging them, rolling them up.

`python benchmarks/decisions/throughput.py [--devices N] [--json FILE]`: a real SQLite file of the server's own form.
Every device first learns for as many windows as the policy asks (written to the database as the monitor would, since
what is measured is an hour of a fleet that runs), then one window of each is taken in, judged and rolled up. Judging
and rolling up are told in seconds of one core, so that another's work on the machine is not counted.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from sqlalchemy import insert  # noqa: E402 - the root comes first

from edge_agent.contract.windows import Window  # noqa: E402 - as above
from fleet_server.core.count_arrays import CountArrays  # noqa: E402 - as above
from fleet_server.core.drift_machine import DriftState  # noqa: E402 - as above
from fleet_server.core.drift_memory import learn, new_memory, pack_memory  # noqa: E402 - as above
from fleet_server.core.drift_policy import DriftPolicy  # noqa: E402 - as above
from fleet_server.core.drift_shown import unpack_shown  # noqa: E402 - as above
from fleet_server.core.packed_counts import pack_counts, unpack_counts  # noqa: E402 - as above
from fleet_server.core.yardstick import columns_of  # noqa: E402 - as above
from fleet_server.services.announcements import Announcer  # noqa: E402 - as above
from fleet_server.services.device_looks import judge_windows  # noqa: E402 - as above
from fleet_server.services.scope_looks import ScopeLooks, no_one_listens  # noqa: E402 - as above
from fleet_server.services.yardsticks import Measured  # noqa: E402 - as above
from fleet_server.store import drift, schema, window_hours, windows  # noqa: E402 - as above
from fleet_server.store.database import Database  # noqa: E402 - as above
from tests.fakes.drifting_fleet import SimulatedFleet, counts_of  # noqa: E402 - as above

ROWS, FEATURES, BATCH = 500, 30, 500
NOW = 1_800_000_000_000 - 1_800_000_000_000 % windows.HOUR_MS
DIGEST = "a" * 64
POLICY = DriftPolicy()


def add_devices(database: Database, names: list[str]) -> None:
    values = {"public_key": "ab", "profile": "p", "cohort": "p", "simulated": True, "labels": {}, "capabilities": {}}
    values |= {"enrolled": 0, "presence": "ready", "status_boot": 1, "reported_boot": -1, "reported_seq": -1}
    with database.write() as connection:
        connection.execute(insert(schema.devices), [{"id": name, **values} for name in names])


def learnt(fleet: SimulatedFleet) -> list[bytes]:
    """What each device has learnt after its learning windows."""
    memory = new_memory(fleet.yardstick, fleet.devices)
    rows = np.full(fleet.devices, float(fleet.rows))
    for _ in range(POLICY.learning_windows):
        learn(fleet.yardstick, columns_of(fleet.yardstick, fleet.windows()), rows, memory)
    return [pack_memory(memory, number, fleet.yardstick) for number in range(fleet.devices)]


def known_of(name: str) -> drift.DeviceDrift:
    """A device that has learnt, and has been looked at since."""
    return drift.DeviceDrift(name, "m", 1, DIGEST, DriftState.OK, NOW, learnt=24, looks=((), (), ()))


def take_in(database: Database, held: list[bytes], names: list[str]) -> float:
    """Save one window of each device in a transaction of its own, as the server does; return the seconds."""
    sent = [
        Window(name, 1, 1, "m", 1, DIGEST, NOW, NOW + 1000, unpack_counts(packed))
        for name, packed in zip(names, held, strict=True)
    ]
    began = time.perf_counter()
    for window in sent:
        with database.write() as connection:
            windows.save_window(connection, window, NOW + 2000)
    return time.perf_counter() - began


def judge(database: Database, measured: Measured) -> tuple[float, float]:
    """Judge all windows from their stored form, as the monitor does; return CPU seconds for devices and the model."""
    began, cursor = time.process_time(), 0
    while True:
        with database.write() as connection:
            found = windows.windows_after(connection, cursor, BATCH)
            if not found:
                break
            names = {item.device for item in found}
            known = drift.find_devices(connection, "m", 1, names), drift.find_memories(connection, "m", 1, names)
            after, memories = judge_windows(measured.yardstick, found, known, POLICY, NOW + 3000)
            drift.save_devices(connection, list(after.values()))
            drift.save_memories(connection, "m", 1, memories)
            cursor = found[-1].n
            drift.save_cursor(connection, cursor)
    devices_s = time.process_time() - began
    began = time.process_time()
    with database.write() as connection:
        judged = ScopeLooks(Announcer(), no_one_listens).judge(
            connection, measured, ("m", 1), ("", None), POLICY, NOW + 4000
        )
    if not judged:
        raise SystemExit("the model was not judged")
    return devices_s, time.process_time() - began


def run(devices: int) -> dict[str, Any]:
    """Measure one hour of a fleet."""
    names = [f"dev-{number:05d}" for number in range(devices)]
    with tempfile.TemporaryDirectory() as folder:
        database = Database.at(Path(folder) / "server.db")
        database.upgrade()
        add_devices(database, names)
        fleet = SimulatedFleet(min(devices, 500), FEATURES, ROWS, 0.0, 0.3, np.random.default_rng(1))
        memories = learnt(fleet)
        counts: CountArrays = fleet.windows()
        sent = [pack_counts(counts_of(counts, number % fleet.devices)) for number in range(devices)]
        for start in range(0, devices, BATCH):
            part = names[start : start + BATCH]
            held = dict(zip(part, memories, strict=False))
            with database.write() as connection:
                drift.save_devices(connection, [known_of(name) for name in part])
                drift.save_memories(connection, "m", 1, held)
        before = pages(database)
        ingest_s = take_in(database, sent, names)
        window_bytes = (pages(database) - before) / devices
        measured = Measured(fleet.baseline, fleet.yardstick, None)
        began = time.perf_counter()
        devices_s, scope_s = judge(database, measured)
        wall_s = time.perf_counter() - began
        with database.read() as connection:
            looks = [item.look for item in drift.find_devices(connection, "m", 1).values() if item.look]
            unpack_shown(fleet.yardstick, looks, [True] * len(looks))
        before = pages(database)
        began = time.process_time()
        with database.write() as connection:
            rolled = window_hours.roll_up(connection, NOW + windows.HOUR_MS, devices + 1)
        rolled_s = time.process_time() - began
        hour_bytes = (pages(database) - before) / devices
        database.close()
    return {
        "devices": devices,
        "features": FEATURES,
        "ingest_per_s": devices / ingest_s,
        "packed_bytes": float(np.mean([len(item) for item in sent])),
        "window_bytes_on_disk": window_bytes,
        "judge_devices_s": devices_s,
        "judge_model_s": scope_s,
        "judge_s": devices_s + scope_s,
        "judge_wall_s": wall_s,
        "roll_up_s": rolled_s,
        "rolled": rolled,
        "hour_bytes_on_disk": hour_bytes,
    }


def pages(database: Database) -> int:
    """The size of the database in bytes."""
    with database.read() as connection:
        count = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        return int(count) * int(size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    found = run(chosen.devices)
    for name, value in found.items():
        print(f"{name:>22}  {value:,.3f}" if isinstance(value, float) else f"{name:>22}  {value:,}")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
