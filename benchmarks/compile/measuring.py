"""How the routes are measured against each other: in turns, within one process, on the same rows.

House rules: on a shared machine only ratios of what ran side by side are to be trusted. Each round gives every route a
short burst; a ratio is the median over rounds of that round's own ratios. Routes are opened anew a few times, since
where their arrays come to lie in memory makes some a tenth faster or slower.
"""

import itertools
import json
import lzma
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
SITTINGS = 5
BURST_S = 0.0008
LONGEST_BURST, SHORTEST_BURST = 60, 3
DIFFERENT_ROWS = 32
MANY_ROWS = 1000
# A route that takes so long for the many rows is asked once only.
PATIENCE_S = 0.5
Run = Callable[[Any], Any]


def measure_rows(
    routes: Mapping[str, Callable[[], Run]], rows: Mapping[str, Any], rounds: int
) -> dict[str, list[float]]:
    """Return for each route the µs of one row, one median a round; `rows` are those that each route takes."""
    bursts: dict[str, list[float]] = {name: [] for name in routes}
    for _ in range(SITTINGS):
        runs = {name: opened() for name, opened in routes.items()}
        singles = {name: itertools.cycle(_singles(rows[name])) for name in routes}
        counts = {name: _burst_size(run, singles[name]) for name, run in runs.items()}
        for _ in range(max(1, rounds // SITTINGS)):
            for name, run in runs.items():
                bursts[name].append(_burst(run, singles[name], counts[name]))
    return bursts


def _singles(x: Any) -> list[Any]:
    return [np.ascontiguousarray(x[index % len(x)][None]) for index in range(DIFFERENT_ROWS)]


def _burst_size(run: Run, rows: "itertools.cycle[Any]") -> int:
    took = []
    for _ in range(SHORTEST_BURST):
        began = time.perf_counter()
        run(next(rows))
        took.append(time.perf_counter() - began)
    return max(SHORTEST_BURST, min(LONGEST_BURST, int(BURST_S / min(took))))


def _burst(run: Run, rows: "itertools.cycle[Any]", count: int) -> float:
    taken = []
    for _ in range(count):
        row = next(rows)
        began = time.perf_counter_ns()
        run(row)
        taken.append(time.perf_counter_ns() - began)
    return statistics.median(taken) / 1e3


def measure_many(routes: Mapping[str, Run], rows: Mapping[str, Any], rounds: int) -> dict[str, float]:
    """Return for each route the least time in ms for a thousand rows at once."""
    many = {name: np.ascontiguousarray(np.resize(x, (MANY_ROWS, x.shape[1]))) for name, x in rows.items()}
    least: dict[str, float] = {}
    for index in range(1 + rounds):
        for name, run in routes.items():
            if index and least[name] > PATIENCE_S * 1e3:
                continue
            began = time.perf_counter()
            run(many[name])
            took = (time.perf_counter() - began) * 1e3
            least[name] = min(took, least.get(name, took))
    return least


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """Return how many times as long they took as we did, by rounds."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


def measure_file(path: Path) -> dict[str, int]:
    """Return the bytes of a file, raw and by xz."""
    data = path.read_bytes()
    return {"size_bytes": len(data), "xz_bytes": len(lzma.compress(data, preset=6))}


def measure_child(runtime: str, path: Path, x: Any, folder: Path) -> dict[str, float]:
    """Return what a process of its own takes to load the file (ms, imports apart) and its memory after one row."""
    row, job = folder / "row.npy", folder / "job.json"
    np.save(row, x[:1])
    job.write_text(json.dumps({"runtime": runtime, "file": str(path), "row": str(row), "root": str(ROOT)}))
    command = [sys.executable, str(Path(__file__).with_name("child.py")), str(job)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(f"{path.name}: {done.stderr.strip()[-400:]}")
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer
