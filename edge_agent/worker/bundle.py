"""A bundle's folder, read and checked: manifest, digests of every file, baseline, golden vectors.

House rules: content decides. A file that is missing, of another size or another digest refuses the whole bundle
before a runtime sees a byte of it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_agent.contract import codec
from edge_agent.contract.baseline import Baseline
from edge_agent.contract.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    Manifest,
    bundle_digest,
    parse_manifest,
)
from edge_agent.contract.states import Reason

Matrix = NDArray[np.float32]


class BundleError(Exception):
    """A bundle cannot be used; `reason` is the contract's word for why."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle on disk."""

    folder: Path
    digest: str
    manifest: Manifest
    baseline: Baseline


def read_bundle(folder: Path, *, digest: str | None = None) -> Bundle:
    """Read the folder of a bundle and verify every file that its manifest names.

    Raises:
        BundleError: DIGEST_MISMATCH where content is missing or not what was named (by `digest`, or by the manifest),
            MANIFEST_MISMATCH where the manifest or baseline is malformed or they contradict each other.
    """
    data = _read_manifest(folder)
    found = bundle_digest(data)
    if digest is not None and digest != found:
        raise BundleError(Reason.DIGEST_MISMATCH, f"{folder / MANIFEST_NAME} has the digest {found}, not {digest}")
    try:
        manifest = parse_manifest(data)
        _verify_files(folder, manifest)
        baseline = codec.decode(Baseline, (folder / manifest.baseline_file).read_bytes())
    except codec.MalformedError as error:
        raise BundleError(Reason.MANIFEST_MISMATCH, str(error)) from error
    names = tuple(feature.name for feature in baseline.features)
    if names != tuple(feature.name for feature in manifest.input.features):
        raise BundleError(Reason.MANIFEST_MISMATCH, "the baseline's features are not those of the manifest's input")
    return Bundle(folder, found, manifest, baseline)


def read_golden(bundle: Bundle) -> tuple[Matrix, Matrix]:
    """Return the golden inputs (rows, features) and the scores (rows, columns) expected of them.

    Raises:
        BundleError: MANIFEST_MISMATCH: not such a file, or not of the manifest's shape.
    """
    golden, manifest = bundle.manifest.golden, bundle.manifest
    try:
        with np.load(bundle.folder / golden.file, allow_pickle=False) as arrays:
            x, scores = arrays["x"], arrays["scores"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise BundleError(Reason.MANIFEST_MISMATCH, f"{golden.file} holds no golden vectors: {error}") from error
    wanted = ((golden.rows, len(manifest.input.features)), (golden.rows, manifest.output.columns))
    if (x.shape, scores.shape) != wanted or x.dtype != np.float32 or scores.dtype != np.float32 or not golden.rows:
        raise BundleError(
            Reason.MANIFEST_MISMATCH,
            f"golden vectors are {x.dtype} {x.shape} and {scores.dtype} {scores.shape}; the manifest states float32 "
            f"{wanted[0]} and {wanted[1]}",
        )
    return np.ascontiguousarray(x), scores


def _read_manifest(folder: Path) -> bytes:
    path = folder / MANIFEST_NAME
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(Reason.MANIFEST_MISMATCH, f"{path} is over the limit of {MAX_MANIFEST_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(Reason.DIGEST_MISMATCH, f"{path} cannot be read: {error.strerror}") from error


def _verify_files(folder: Path, manifest: Manifest) -> None:
    for file in manifest.files:
        path = folder / file.name
        try:
            size = path.stat().st_size
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise BundleError(Reason.DIGEST_MISMATCH, f"{path} cannot be read: {error.strerror}") from error
        if (size, found) != (file.size, file.sha256):
            raise BundleError(
                Reason.DIGEST_MISMATCH,
                f"{path} has {size} bytes of SHA-256 {found}; the manifest names {file.size} bytes of {file.sha256}",
            )
