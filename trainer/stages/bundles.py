"""A bundle as devices run it, asked for the labels or values of rows: which file, on which runtime."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.contract.artifacts import sha256
from edge_agent.contract.card import VERSION_NAME, VariantEntry
from edge_agent.contract.manifest import MANIFEST_NAME, Manifest, Precision, Runtime, parse_manifest
from trainer.core.arrays import Column, as_singles
from trainer.core.table import Table
from trainer.errors import UsageError
from trainer.stages.children import run_model
from trainer.stages.metrics import predictions
from trainer.stages.pack import VARIANTS_NAME
from trainer.stages.verify import read_record

_PREFERRED = (Runtime.ONNX, Runtime.NUMPY, Runtime.TFLITE)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle's folder, its manifest and its digest."""

    folder: Path
    manifest: Manifest
    digest: str


def find_bundle(folder: Path) -> Bundle:
    """Return the bundle in a folder, or of a version folder the one that is most like its source.

    Raises:
        UsageError: there is none, or its files are not those that its manifest names.
    """
    if (folder / MANIFEST_NAME).is_file():
        return read_bundle(folder)
    if not (folder / VERSION_NAME).is_file():
        raise UsageError(f"{folder} is no bundle and no version folder", "give what trainer fit wrote")
    built = [entry for entry in read_record(folder).variants if entry.digest is not None]
    if not built:
        raise UsageError(f"{folder} has no variant that was built")
    return read_bundle(folder / VARIANTS_NAME / min(built, key=_rank).variant)


def find_variant(folder: Path, variant: str) -> Bundle:
    """Return the bundle of a version folder with this variant's name, else as `find_bundle`."""
    place = folder / VARIANTS_NAME / variant
    return read_bundle(place) if (place / MANIFEST_NAME).is_file() else find_bundle(folder)


def _rank(entry: VariantEntry) -> tuple[bool, int]:
    return entry.precision is not Precision.FP32, _PREFERRED.index(entry.runtime)


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle and check its files.

    Raises:
        UsageError: it is malformed, or a file is not the one that the manifest names.
    """
    try:
        data = (folder / MANIFEST_NAME).read_bytes()
        manifest = parse_manifest(data)
        for file in manifest.files:
            if sha256((folder / file.name).read_bytes()) != file.sha256:
                raise UsageError(f"{folder}: {file.name} is not the file that the manifest names")
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} is no bundle: {error}") from error
    return Bundle(folder, manifest, sha256(data))


def ask_bundle(bundle: Bundle, rows: Table) -> Column:
    """Return a bundle's answers: label texts, or values.

    Raises:
        UsageError: the rows lack a column that it takes.
        ChildError: its runtime refused it, or it crashed.
    """
    manifest = bundle.manifest
    names = [feature.name for feature in manifest.input.features]
    if missing := [name for name in names if name not in rows.columns]:
        raise UsageError(f"the running version takes the column {missing[0]!r}, which the recipe's data lack")
    x = as_singles(rows.x[:, [rows.columns.index(name) for name in names]])
    options = {key: str(value) for key, value in manifest.runtime_options.items()}
    run = run_model(bundle.folder / manifest.model_file, manifest.runtime, np.ascontiguousarray(x), options)
    return predictions(manifest.output, run.scores)
