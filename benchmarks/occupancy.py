"""Real sensors: train on one week of an office, compile, and score every variant on two other weeks.

    python benchmarks/occupancy.py FOLDER

FOLDER holds datatraining.csv, datatest.csv and datatest2.csv of UCI's data set 357 (L. M. Candanedo, V. Feldheim:
Accurate occupancy detection of an office room, Energy and Buildings 112, 2016). The door was mostly closed in datatest
and mostly open in datatest2. Every variant is built and proven against datatest2, then compared with its estimator on
datatest too.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from rich.console import Console
from rich.table import Table as Printed
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from trainer.core.arrays import as_singles
from trainer.core.labels import label_indices
from trainer.core.parity import compare
from trainer.core.table import Table
from trainer.pipeline import Built, Order, compile_version
from trainer.stages.children import run_model
from trainer.stages.data import read_file
from trainer.stages.requests import CompileRequest
from trainer.stages.signature import read_signature

TARGET, DROP = "Occupancy", ("date",)
MODELS = {
    "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "forest": lambda: RandomForestClassifier(100, random_state=0),
    "boosting": lambda: HistGradientBoostingClassifier(random_state=0),
    "perceptron": lambda: make_pipeline(StandardScaler(), MLPClassifier((64, 32), max_iter=60, random_state=0)),
    "svm": lambda: make_pipeline(StandardScaler(), SVC(random_state=0)),
}


@dataclass(frozen=True)
class Row:
    """One variant: accuracy by file, of the variant and of its estimator; the largest difference on datatest."""

    model: str
    variant: str
    form: str
    size: int
    latency_p50_us: float
    closed: float
    closed_source: float
    opened: float
    opened_source: float
    excess: float


def rows_of(path: Path) -> Table:
    """The rows of one of the files."""
    return read_file(path, TARGET, DROP)


def build(name: str, folder: Path, work: Path) -> tuple[Any, Built]:
    """Fit one of the models and build its version, proven on datatest2."""
    train = rows_of(folder / "datatraining.csv")
    model = MODELS[name]().fit(train.x, train.target)
    skops.io.dump(model, work / f"{name}.skops")
    request = CompileRequest(work / f"{name}.skops", folder / "datatest2.csv", name, TARGET, drop=DROP)
    order = Order(work / name, "2026-01-01T00:00:00+00:00", force=True)
    return model, compile_version(
        request, order, lambda stage, detail, _: print(f"{name}: {stage} {detail}", file=sys.stderr)
    )


def measure(name: str, folder: Path, work: Path) -> Iterator[Row]:
    """Score every variant of one model on both files."""
    model, built = build(name, folder, work)
    closed = rows_of(folder / "datatest.csv")
    x, signature = as_singles(closed.x), read_signature(model)
    reference = signature.scores(x.astype(np.float64))
    truth = np.asarray(closed.target).astype(int)
    for variant, manifest in built.manifests.items():
        options = {key: str(value) for key, value in manifest.runtime_options.items()}
        path = built.folder / "variants" / variant / manifest.model_file
        scores = run_model(path, manifest.runtime, x, options).scores
        difference = compare(signature.output, reference, scores, trees=signature.trees)
        hits = [float((label_indices(signature.output, item) == truth).mean()) for item in (scores, reference)]
        parity, cost = manifest.parity, manifest.cost
        yield Row(
            name, variant, manifest.form, cost.size, cost.latency_p50_us, hits[0], hits[1], parity.score,
            parity.source_score, difference.worst_excess,
        )  # fmt: skip


def show(rows: list[Row]) -> None:
    """Print the table."""
    table = Printed(title="Occupancy: accuracy with the door closed (datatest) and open (datatest2)")
    for name in ("model", "variant", "kB", "p50 µs", "closed", "open", "form"):
        table.add_column(name, justify="left" if name in ("model", "variant", "form") else "right")
    for row in rows:
        closed, opened = f"{row.closed:.4f}", f"{row.opened:.4f}"
        table.add_row(
            row.model, row.variant, f"{row.size / 1000:.1f}", f"{row.latency_p50_us:.1f}", closed, opened, row.form
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def main() -> None:
    """Measure, print, and write JSON where that is asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", action="append", choices=list(MODELS))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = [row for model in given.model or MODELS for row in measure(model, given.folder, Path(name))]
    show(rows)
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
