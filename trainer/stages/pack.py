"""Writes bundles and version folders: content-addressed files, a manifest that names them, no code, no archive.

House rules: everything is written into a temporary folder beside the target and renamed at the end, so a version folder
is whole or absent. A version folder is never written over unless that is asked for.
"""

import csv
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edge_agent.contract import codec
from edge_agent.contract.artifacts import compress, sha256
from edge_agent.contract.card import VERSION_NAME, VersionRecord
from edge_agent.contract.manifest import (
    MANIFEST_NAME,
    Cost,
    FileSpec,
    Golden,
    InputSpec,
    Manifest,
    Parity,
    Proof,
    Requirements,
)
from trainer.core.golden import ROWS, choose_hard_rows, choose_rows, choose_tolerance
from trainer.core.histograms import baseline
from trainer.core.table import Table
from trainer.errors import UsageError
from trainer.stages.metrics import predictions
from trainer.stages.onnx_graph import INPUT_NAME
from trainer.stages.rehearsal import Rehearsal
from trainer.stages.variants import Proven, Proving

VARIANTS_NAME = "variants"
GOLDEN_NAME = "golden.npz"
BASELINE_NAME = "baseline.json"
HELDOUT_NAME = "heldout.csv"
_MIB = 2**20


@contextmanager
def new_folder(target: Path, *, force: bool) -> Iterator[Path]:
    """Give a temporary folder that becomes `target` when the block ends well, and vanishes when it does not.

    Raises:
        UsageError: `target` is there already and may not be replaced, or is no version folder.
    """
    check_target(target, force=force)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        folder.chmod(0o755)
        yield folder
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
            target.rename(old / target.name)
            folder.rename(target)
            shutil.rmtree(old)
        else:
            folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_target(target: Path, *, force: bool) -> None:
    """Check, before any work is done, that a version folder may be written here.

    Raises:
        UsageError: as `new_folder`.
    """
    if not target.exists():
        return
    is_version = target.is_dir() and ((target / VERSION_NAME).is_file() or not any(target.iterdir()))
    if not is_version:
        raise UsageError(f"{target} is there and is no version folder", "choose another folder with --out")
    if not force and any(target.iterdir()):
        raise UsageError(f"{target} holds a version already", "choose another folder with --out, or add --force")


def write_bundle(
    folder: Path, proven: Proven, proving: Proving, certificate: tuple[Proof, ...]
) -> tuple[Manifest, str]:
    """Write the files of one variant into `folder`; return its manifest and the bundle's digest."""
    plan, rehearsal = proven.plan, proving.rehearsal
    output = rehearsal.source.output
    atol, rtol = choose_tolerance(output, proven.run.scores, proven.kernel_diff)
    golden_rows = _write_golden(folder / GOLDEN_NAME, proven, proving)
    described = baseline(rehearsal.features, rehearsal.train_rows, output, proven.run.scores)
    (folder / BASELINE_NAME).write_bytes(codec.encode(described))
    (folder / plan.model_file).write_bytes(proven.data)
    files = tuple(_file_spec(folder / name) for name in (plan.model_file, GOLDEN_NAME, BASELINE_NAME))
    manifest = Manifest(
        model=rehearsal.model,
        variant=plan.variant,
        task=rehearsal.source.task,
        runtime=plan.runtime,
        precision=plan.precision,
        input=InputSpec(INPUT_NAME, rehearsal.input_features),
        output=output,
        model_file=plan.model_file,
        baseline_file=BASELINE_NAME,
        golden=Golden(GOLDEN_NAME, golden_rows, atol, rtol),
        files=files,
        requires=_requirements(folder, files, proven),
        parity=_parity(proven, rehearsal),
        cost=_cost(proven),
        runtime_options=dict(plan.options),
        form=plan.form,
        certificate=certificate,
    )
    data = codec.encode(manifest)
    (folder / MANIFEST_NAME).write_bytes(data)
    return manifest, sha256(data)


def _write_golden(path: Path, proven: Proven, proving: Proving) -> int:
    """Write the golden vectors, some of them hard rows, and return how many there are."""
    rehearsal, hard = proving.rehearsal, choose_hard_rows(proving.hard.rows)
    rows = choose_rows(rehearsal.source.output, rehearsal.x, rehearsal.reference, ROWS - len(hard))
    x = np.concatenate([rehearsal.x[rows], proving.hard.rows.x[hard]])
    scores = np.concatenate([proven.run.scores[rows], proven.hard_scores[hard]])
    np.savez(path, x=x, scores=scores.astype(np.float32))
    return len(x)


def _file_spec(path: Path) -> FileSpec:
    data = path.read_bytes()
    return FileSpec(path.name, sha256(data), len(data))


def _requirements(folder: Path, files: Sequence[FileSpec], proven: Proven) -> Requirements:
    """Memory as a fresh process gained it, with the runtime, in whole MiB; disk for the files and their chunks."""
    disk = sum(file.size + len(compress((folder / file.name).read_bytes())) for file in files)
    return Requirements(float(math.ceil(proven.run.memory_mb)), math.ceil(disk / _MIB * 10) / 10)


def _parity(proven: Proven, rehearsal: Rehearsal) -> Parity:
    return Parity(
        rows=proven.difference.rows,
        label_agreement=proven.difference.label_agreement,
        max_abs_diff=proven.difference.max_abs_diff,
        mean_abs_diff=proven.difference.mean_abs_diff,
        metric=rehearsal.metric,
        score=proven.score,
        source_score=rehearsal.score,
        runtime_version=proven.run.runtime_version,
    )


def _cost(proven: Proven) -> Cost:
    """Sizes are of the model file, without golden vectors and baseline."""
    run = proven.run
    packed = len(compress(proven.data))
    return Cost(
        size=len(proven.data),
        packed_size=packed,
        latency_p50_us=run.latency_p50_us,
        latency_p99_us=run.latency_p99_us,
        load_ms=run.load_ms,
        batch_us=run.batch_us,
        memory_peak_mb=run.memory_peak_mb,
        memory_steady_mb=run.memory_steady_mb,
    )


def write_heldout(folder: Path, heldout: Table, rehearsal: Rehearsal) -> None:
    """Write the held-out rows with their target and the source's own prediction, for streams and checks."""
    predicted = predictions(rehearsal.source.output, rehearsal.reference).reshape(heldout.rows, -1)
    target = [""] * heldout.rows if heldout.target is None else heldout.target.tolist()
    with (folder / HELDOUT_NAME).open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow([*heldout.columns, "target", "prediction"])
        for x, truth, answer in zip(heldout.x.tolist(), target, predicted.tolist(), strict=True):
            cells = ["" if math.isnan(value) else value for value in x]
            lines.writerow([*cells, truth, *answer[:1]])


def write_record(folder: Path, record: VersionRecord) -> None:
    """Write `version.json` and wait until it is on the disk."""
    path = folder / VERSION_NAME
    with path.open("wb") as file:
        file.write(codec.encode(record))
        file.flush()
        os.fsync(file.fileno())
