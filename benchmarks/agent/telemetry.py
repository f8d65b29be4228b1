"""What telemetry costs: a prediction's time with and without counting, and the bytes of a window of 30 features.

    python benchmarks/agent/telemetry.py [VERSION_FOLDER] [--blocks N] [--variant onnx-fp32] [--json FILE]

The version folder is one that `trainer fit digits-mlp --out DIR` leaves; without one it is made. Predictions are calls
of one row in process, in blocks that hold whole folds, counted and uncounted ones in turns, in CPU time of the thread;
the cost is the median over pairs of blocks. Windows are of 30 columns in 20 bins (normal, skewed, in steps, with gaps),
packed and signed as the agent does it. Bars: counting costs 15 % of a prediction at most; a window takes 1,200 bytes
before its signature and 1,800 with it.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
from numpy.typing import NDArray

from edge_agent.adapters.trust import DeviceKey
from edge_agent.contract.baseline import Baseline, OutputBaseline
from edge_agent.contract.envelope import PayloadType
from edge_agent.contract.messages import AgentSettings
from edge_agent.contract.window_packing import pack_window
from edge_agent.contract.windows import Window, latency_bucket
from edge_agent.core import telemetry
from edge_agent.worker.engine import open_model
from edge_agent.worker.loading import CLOCK
from edge_agent.worker.meter import NOTED_ROWS_MAX
from edge_agent.worker.serving import ServedModel
from trainer.core.histograms import feature_baselines

COST_BAR = 0.15
PACKED_BAR, SEALED_BAR = 1200, 1800
FEATURES, TRAINING_ROWS = 30, 5000
BLOCK_CALLS = 2 * NOTED_ROWS_MAX
Matrix = NDArray[np.float32]


def main() -> int:
    options = _parse()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or _fit(Path(scratch) / "version")
        bundle = folder / "variants" / options.variant if (folder / "variants").exists() else folder
        counted, uncounted, cost = measure_cost(bundle, options.blocks)
    print(f"one row in process: {uncounted:.2f} µs uncounted, {counted:.2f} µs counted; telemetry costs {cost:.1%}")
    sizes = {(name, rows): window_sizes(name, rows) for name in SHAPES for rows in (1_000, 10_000)}
    print(f"{'window of 30 features':24} {'rows':>7} {'packed B':>9} {'signed B':>9}")
    for (name, rows), (packed, sealed) in sizes.items():
        print(f"{name:24} {rows:7} {packed:9} {sealed:9}")
    largest = tuple(max(size[place] for size in sizes.values()) for place in (0, 1))
    print(f"bars: cost {cost:.1%} of {COST_BAR:.0%}, window {largest[0]} of {PACKED_BAR} B")
    print(f"      signed window {largest[1]} of {SEALED_BAR} B")
    if options.json:
        figures = {f"{name}, {rows} rows": list(size) for (name, rows), size in sizes.items()}
        options.json.write_text(json.dumps({"cost": cost, "uncounted_us": uncounted, "counted_us": counted} | figures))
    return 0 if cost <= COST_BAR and largest[0] <= PACKED_BAR and largest[1] <= SEALED_BAR else 1


class _Uncounted:
    """A meter that counts nothing, to see what counting costs."""

    def record(self, *_counted: object) -> None:
        return


def measure_cost(bundle: Path, blocks: int) -> tuple[float, float, float]:
    """Return µs a row counted and uncounted, and the cost of counting as a share of an uncounted prediction."""
    model = open_model(bundle)
    golden = np.load(bundle / model.manifest.golden.file)["x"].astype(np.float32)
    rows = [golden[index : index + 1].copy() for index in range(len(golden))]
    served = {name: ServedModel(model, 1, AgentSettings(), CLOCK, lambda _: None) for name in ("counted", "uncounted")}
    served["uncounted"].meter = _Uncounted()  # type: ignore[assignment]  # only `record` is called here
    for one in served.values():
        _block(one, rows)
    gc.collect()
    gc.freeze()  # as the worker does it
    pairs = []
    for turn in range(blocks):
        order = ("counted", "uncounted") if turn % 2 else ("uncounted", "counted")
        times = {name: _block(served[name], rows) for name in order}
        pairs.append((times["counted"], times["uncounted"]))
    cost = statistics.median(a / b - 1 for a, b in pairs)
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), cost


def _block(served: ServedModel, rows: list[Matrix]) -> float:
    predict, count = served.predict, len(rows)
    begin = time.thread_time_ns()
    for call in range(BLOCK_CALLS):
        predict(rows[call % count])
    return (time.thread_time_ns() - begin) / BLOCK_CALLS / 1000


def _normal(chance: np.random.Generator, rows: int) -> Matrix:
    return chance.standard_normal((rows, FEATURES)).astype(np.float32)


def _mixed(chance: np.random.Generator, rows: int) -> Matrix:
    """Ten columns each: skewed, in steps of a sensor with values outside of training, with missing values."""
    x = chance.standard_normal((rows, FEATURES))
    x[:, :10] = np.exp(x[:, :10])
    x[:, 10:20] = np.round(x[:, 10:20] * 50) / 10
    x[:, 20:][chance.random((rows, 10)) < 0.03] = np.nan
    return x.astype(np.float32)


def _shifted(chance: np.random.Generator, rows: int) -> Matrix:
    return (_mixed(chance, rows) + np.float32(0.5)).astype(np.float32)


SHAPES = {"normal": _normal, "mixed": _mixed, "mixed, all shifted": _shifted}


def window_sizes(shape: str, rows: int) -> tuple[int, int]:
    """Return the bytes of one window of a shape, packed and signed."""
    chance = np.random.default_rng(11)
    train = (_normal if shape == "normal" else _mixed)(chance, TRAINING_ROWS)
    features = feature_baselines(tuple(f"f{index}" for index in range(FEATURES)), train)
    baseline = Baseline(TRAINING_ROWS, features, OutputBaseline((), (1, 1, 1), (1,) * 10))
    tally = telemetry.new_tally(telemetry.table_of(baseline, labels=3))
    telemetry.fold_inputs(tally, SHAPES[shape](chance, rows))
    telemetry.fold_labels(tally, chance.integers(0, 3, rows), chance.beta(6, 1, rows).astype(np.float32))
    tally.rows, tally.rejected, tally.memory_mb = rows, 3, 41.3
    for microseconds in chance.lognormal(5.5, 0.4, rows):
        tally.latency[latency_bucket(microseconds)] += 1
    counts = telemetry.counts_of(tally)
    times = 1_763_800_000_123, 1_763_803_600_456
    window = Window("pi-4-workshop", 17, 4711, "breast-cancer", 3, os.urandom(32).hex(), *times, counts)
    packed = pack_window(window)
    return len(packed), len(DeviceKey(bytes(32)).sign(PayloadType.PACKED_WINDOW, packed))


def _fit(out: Path) -> Path:
    command = [sys.executable, "-m", "trainer", "fit", "digits-mlp", "--out", str(out)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return out


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", help="version folder, or a bundle's own folder")
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--variant", default="onnx-fp32")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
