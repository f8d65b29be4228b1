"""What a look at a rollout's devices costs the embedded database: the windows of 24 looks before, then look by look.

`python benchmarks/decisions/observer.py [--devices N] [--json FILE]`: a real SQLite file of the server's own form,
windows of 30 features. Half of the devices have the new version, the others wait. Told in seconds of one core and in
what the process grew by at its peak; a restarted server pays the first look again.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from sqlalchemy import insert  # noqa: E402 - the root comes first
from throughput import DIGEST, FEATURES, NOW, ROWS, add_devices  # noqa: E402 - as above

from fleet_server.core.packed_counts import pack_counts  # noqa: E402 - as above
from fleet_server.core.policies import Amount, Policy  # noqa: E402 - as above
from fleet_server.core.rollouts import DeviceState, Rollout, RolloutDevice, RolloutView  # noqa: E402 - as above
from fleet_server.services.canary import Observer  # noqa: E402 - as above
from fleet_server.store import schema_monitoring, windows  # noqa: E402 - as above
from fleet_server.store.database import Database  # noqa: E402 - as above
from tests.fakes.drifting_fleet import SimulatedFleet, counts_of  # noqa: E402 - as above

BEFORE, SINCE, KINDS = 24, 3, 200
POLICY = Policy((Amount(50, percent=True), Amount(100, percent=True)), stable=Amount(50, percent=True))


def fill(database: Database, names: list[str], hours: range, packed: list[bytes], canary: int) -> None:
    """Save one window of each device for each hour after `NOW`; the first `canary` devices run version 2 from 0 on."""
    for hour in hours:
        at = NOW + (hour + 1) * windows.HOUR_MS - 1
        common = {"model": "m", "boot": 1, "number": hour + BEFORE, "digest": DIGEST, "hour": at - at % windows.HOUR_MS}
        common |= {"started": at - windows.HOUR_MS + 2, "ended": at, "received": at, "rolled": False}
        rows = [
            common
            | {"device": name, "version": 2 if hour >= 0 and number < canary else 1,
               "counts": packed[(number + hour) % len(packed)]}
            for number, name in enumerate(names)
        ]  # fmt: skip
        with database.write() as connection:
            connection.execute(insert(schema_monitoring.windows), rows)


def rollout_of(names: list[str], canary: int) -> RolloutView:
    members = tuple(
        RolloutDevice(name, 0, variant="v", digest=DIGEST, state=DeviceState.SUCCEEDED, offered_at=NOW / 1000)
        if number < canary
        else RolloutDevice(name, 1, variant="v", digest=DIGEST, from_version=1, from_digest=DIGEST)
        for number, name in enumerate(names)
    )
    return RolloutView(Rollout("ro", "m", 2, "all", POLICY, phase_started=NOW / 1000), members)


def run(devices: int) -> dict[str, Any]:
    """Measure the first looks of a rollout."""
    names = [f"dev-{number:05d}" for number in range(devices)]
    fleet = SimulatedFleet(KINDS, FEATURES, ROWS, 0.0, 0.3, np.random.default_rng(1))
    counts = fleet.windows()
    packed = [pack_counts(counts_of(counts, number)) for number in range(KINDS)]
    view, found = rollout_of(names, devices // 2), {"devices": devices, "features": FEATURES, "windows_before": BEFORE}
    with tempfile.TemporaryDirectory() as folder:
        database = Database.at(Path(folder) / "server.db")
        database.upgrade()
        add_devices(database, names)
        fill(database, names, range(-BEFORE, 0), packed, devices // 2)
        observer, before_kib = Observer(), peak_kib()
        for look in range(1, SINCE + 1):
            fill(database, names, range(look - 1, look), packed, devices // 2)
            began = time.process_time()
            with database.read() as connection:
                observed = observer.observe(connection, view, NOW / 1000 + look * POLICY.look_s)
            found[f"look_{look}_s"] = time.process_time() - began
            if observed.look != look or not observed.differences:
                raise SystemExit("nothing was seen")
        found["peak_mib"] = (peak_kib() - before_kib) / 1024
        database.close()
    return found


def peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    found = run(chosen.devices)
    for name, value in found.items():
        print(f"{name:>16}  {value:,.3f}" if isinstance(value, float) else f"{name:>16}  {value:,}")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
