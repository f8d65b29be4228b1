"""Checks a version folder before anything of it is kept: every digest, size, name and form. Fail closed."""

import ast
import hashlib
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

from edge_agent.contract import codec
from edge_agent.contract.artifacts import MAX_FILE_BYTES
from edge_agent.contract.baseline import Baseline
from edge_agent.contract.card import VERSION_NAME, VariantEntry, VersionRecord
from edge_agent.contract.manifest import MANIFEST_NAME, Manifest, bundle_digest, parse_manifest
from fleet_server.services.errors import InvalidError

_MAX_RECORD_BYTES = 4 * 1024 * 1024
_MAX_VARIANTS = 32
_BLOCK = 1 << 20
_FLOAT32 = ("<f4", "|f4", "=f4", "f4")


@dataclass(frozen=True, slots=True)
class CheckedVariant:
    """A variant whose every file is what its manifest says; or one that was not built (no manifest)."""

    entry: VariantEntry
    folder: Path | None
    manifest: Manifest | None


@dataclass(frozen=True, slots=True)
class CheckedVersion:
    """A version folder that may be kept."""

    record: VersionRecord
    variants: tuple[CheckedVariant, ...]


def check_version(folder: Path) -> CheckedVersion:
    """Check a version folder as the trainer writes it.

    Raises:
        InvalidError: something is missing, altered, too large or malformed; the message names it.
    """
    try:
        record = codec.decode(VersionRecord, _read_limited(folder / VERSION_NAME, _MAX_RECORD_BYTES))
        names = [entry.variant for entry in record.variants]
        if not names or len(names) > _MAX_VARIANTS or len(set(names)) != len(names):
            raise InvalidError(f"{VERSION_NAME}: a version has 1 to {_MAX_VARIANTS} variants of different names")
        if all(entry.digest is None for entry in record.variants):
            raise InvalidError(f"{VERSION_NAME}: no variant was built")
        failed = [gate.metric for gate in record.card.gates if not gate.passed]
        if failed:
            raise InvalidError(f"the gate on {failed[0]} did not pass: a version whose gates fail is not taken")
        return CheckedVersion(record, tuple(_check_variant(folder, record, entry) for entry in record.variants))
    except codec.MalformedError as error:
        raise InvalidError(f"the version folder is malformed: {error}") from error


def _check_variant(folder: Path, record: VersionRecord, entry: VariantEntry) -> CheckedVariant:
    if entry.digest is None:
        return CheckedVariant(entry, None, None)
    place = folder / "variants" / entry.variant
    data = _read_limited(place / MANIFEST_NAME, _MAX_RECORD_BYTES)
    if bundle_digest(data) != entry.digest:
        raise InvalidError(f"{entry.variant}/{MANIFEST_NAME} was altered: its SHA-256 is not what {VERSION_NAME} says")
    manifest = parse_manifest(data)
    said = (manifest.model, manifest.variant, manifest.runtime, manifest.precision, manifest.task)
    if said != (record.card.model, entry.variant, entry.runtime, entry.precision, record.card.task):
        raise InvalidError(f"{entry.variant}/{MANIFEST_NAME} is of another model, variant, runtime or task: {said}")
    for file in manifest.files:
        _check_file(place / file.name, file.sha256, file.size)
    _check_golden(place / manifest.golden.file, manifest)
    _check_baseline(place / manifest.baseline_file, manifest)
    return CheckedVariant(entry, place, manifest)


def _check_file(path: Path, sha: str, size: int) -> None:
    shown = f"{path.parent.name}/{path.name}"
    if not path.is_file() or path.is_symlink():
        raise InvalidError(f"{shown} is missing")
    found = path.stat().st_size
    if found != size or size > MAX_FILE_BYTES:
        raise InvalidError(f"{shown} has {found} bytes where the manifest says {size} (at most {MAX_FILE_BYTES})")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != sha:
        raise InvalidError(f"{shown} was altered: its SHA-256 is not what the manifest says")


def _check_golden(path: Path, manifest: Manifest) -> None:
    rows = manifest.golden.rows
    wanted = {"x": (rows, len(manifest.input.features)), "scores": (rows, manifest.output.columns)}
    if rows < 1:
        raise InvalidError(f"{manifest.variant}: a bundle has one golden row at least")
    try:
        with zipfile.ZipFile(path) as archive:
            for name, shape in wanted.items():
                with archive.open(f"{name}.npy") as member:
                    found = _npy_shape(member.read(4096))
                if found != shape:
                    raise InvalidError(f"{path.name}: {name} has the shape {found}, the manifest says {shape}")
    except (zipfile.BadZipFile, KeyError, OSError, NotImplementedError) as error:
        raise InvalidError(f"{manifest.variant}/{path.name} holds no arrays x and scores: {error}") from error


def _npy_shape(head: bytes) -> tuple[int, ...]:
    """Return the shape in the header of a float32 .npy file (NumPy format 1.0 to 3.0); nothing is unpickled."""
    try:
        if head[:6] != b"\x93NUMPY":
            raise InvalidError("no .npy header")
        (length,) = struct.unpack("<H", head[8:10]) if head[6] == 1 else struct.unpack("<I", head[8:12])
        start = 10 if head[6] == 1 else 12
        header = ast.literal_eval(head[start : start + length].decode("latin-1").strip())
        shape, kind = tuple(header["shape"]), header["descr"]
    except (ValueError, SyntaxError, KeyError, TypeError, struct.error, IndexError, RecursionError) as error:
        raise InvalidError(f"golden vectors: no .npy header: {error}") from error
    if kind not in _FLOAT32:
        raise InvalidError(f"golden vectors are float32, not {kind!r}")
    return shape


def _check_baseline(path: Path, manifest: Manifest) -> None:
    baseline = codec.decode(Baseline, _read_limited(path, _MAX_RECORD_BYTES))
    names = tuple(feature.name for feature in baseline.features)
    if names != tuple(feature.name for feature in manifest.input.features):
        raise InvalidError(f"{manifest.variant}/{path.name} speaks of other features than the manifest")


def _read_limited(path: Path, limit: int) -> bytes:
    shown = f"{path.parent.name}/{path.name}" if path.name != VERSION_NAME else path.name
    try:
        if path.is_symlink() or path.stat().st_size > limit:
            raise InvalidError(f"{shown} is larger than {limit} bytes, or a link")
        return path.read_bytes()
    except OSError as error:
        raise InvalidError(f"{shown} is missing") from error
