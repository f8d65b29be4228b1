"""Proves a version folder again, as it lies there: digests, golden vectors, held-out rows, on the runtimes here."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.contract import codec
from edge_agent.contract.artifacts import sha256
from edge_agent.contract.baseline import Baseline
from edge_agent.contract.card import VERSION_NAME, VariantEntry, VersionRecord
from edge_agent.contract.manifest import MANIFEST_NAME, Manifest, ScoreKind, parse_manifest
from trainer.core.arrays import Floats, Singles
from trainer.core.golden import is_within
from trainer.errors import ChildError, UsageError
from trainer.stages.children import run_model
from trainer.stages.environments import Environment
from trainer.stages.pack import VARIANTS_NAME


@dataclass(frozen=True, slots=True)
class Verdict:
    """One variant: how far its answers are from the golden ones, or what is wrong with it."""

    variant: str
    digest: str
    rows: int = 0
    max_abs_diff: float = 0.0
    runtime_version: str = ""
    problem: str | None = None


def read_record(folder: Path) -> VersionRecord:
    """Read `version.json` of a version folder.

    Raises:
        UsageError: there is none, or it is malformed.
    """
    path = folder / VERSION_NAME
    if not path.is_file():
        raise UsageError(f"{folder} is no version folder: there is no {VERSION_NAME}", "give what trainer fit wrote")
    try:
        return codec.decode(VersionRecord, path.read_bytes())
    except codec.MalformedError as error:
        raise UsageError(f"{path}: {error}") from error


def verify_variant(
    folder: Path, record: VersionRecord, entry: VariantEntry, environment: Environment | None = None
) -> Verdict:
    """Check one built variant: files against digests, then the golden vectors on the runtime here, or a given one."""
    place, digest = folder / VARIANTS_NAME / entry.variant, str(entry.digest)
    try:
        manifest = _read_manifest(place, digest)
        _check_identity(manifest, record, entry)
        _check_files(place, manifest)
        x, expected = _read_golden(place, manifest)
        options = {key: str(value) for key, value in manifest.runtime_options.items()}
        run = run_model(place / manifest.model_file, manifest.runtime, x, options, environment=environment)
    except (ValueError, OSError, KeyError, ChildError) as error:
        return Verdict(entry.variant, digest, problem=str(error))
    diff = float(np.abs(run.scores - expected).max()) if run.scores.shape == expected.shape else float("inf")
    golden = manifest.golden
    problem = None
    if not np.isfinite(diff) or not is_within(run.scores, expected, golden.atol, golden.rtol):
        problem = f"golden vectors: answers differ by up to {diff:.3g}, tolerated is {golden.atol:.3g} (absolute)"
    return Verdict(entry.variant, digest, len(x), diff, run.runtime_version, problem)


def _read_manifest(place: Path, digest: str) -> Manifest:
    data = (place / MANIFEST_NAME).read_bytes()
    if sha256(data) != digest:
        raise ValueError(f"{MANIFEST_NAME} is not the one that {VERSION_NAME} names")
    return parse_manifest(data)


def _check_identity(manifest: Manifest, record: VersionRecord, entry: VariantEntry) -> None:
    if (manifest.model, manifest.variant, manifest.task) != (record.card.model, entry.variant, record.card.task):
        raise ValueError(f"{MANIFEST_NAME} is of {manifest.model} {manifest.variant}, not of this version")
    if (manifest.runtime, manifest.precision) != (entry.runtime, entry.precision):
        raise ValueError(f"{MANIFEST_NAME} is for another runtime or precision than {VERSION_NAME} says")


def _check_files(place: Path, manifest: Manifest) -> None:
    for file in manifest.files:
        data = (place / file.name).read_bytes()
        if len(data) != file.size or sha256(data) != file.sha256:
            raise ValueError(f"{file.name} is not the file that the manifest names")
    known = {file.name for file in manifest.files} | {MANIFEST_NAME}
    if extra := sorted(path.name for path in place.iterdir() if path.name not in known):
        raise ValueError(f"{extra[0]} is not named by the manifest")
    described = codec.decode(Baseline, (place / manifest.baseline_file).read_bytes())
    if [item.name for item in described.features] != [item.name for item in manifest.input.features]:
        raise ValueError(f"{manifest.baseline_file} describes other columns than the manifest")


def _read_golden(place: Path, manifest: Manifest) -> tuple[Singles, Floats]:
    with np.load(place / manifest.golden.file, allow_pickle=False) as arrays:
        x, scores = arrays["x"], arrays["scores"]
    if x.dtype != np.float32 or x.shape != (manifest.golden.rows, len(manifest.input.features)):
        raise ValueError(f"{manifest.golden.file}: rows of shape {x.shape} are not what the manifest says")
    if scores.shape != (manifest.golden.rows, manifest.output.columns) or not np.isfinite(scores).all():
        raise ValueError(f"{manifest.golden.file}: scores of shape {scores.shape} are not what the manifest says")
    if manifest.output.kind is ScoreKind.PROBABILITY and not (np.abs(scores.sum(axis=1) - 1) < 1e-2).all():
        raise ValueError(f"{manifest.golden.file}: probabilities do not sum to 1")
    return x, scores.astype(np.float64)
