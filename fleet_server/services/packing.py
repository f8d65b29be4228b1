"""Packs bundles for their way: each file compressed, cut in chunks, listed by a parcel; all kept as artifacts."""

import lzma
from pathlib import Path

from edge_agent.contract import codec
from edge_agent.contract.artifacts import PackedFile, Parcel, compress, cut, parse_parcel
from edge_agent.contract.manifest import MANIFEST_NAME, Manifest
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.errors import NotFoundError
from fleet_server.store.models import StoredParcel


def pack_bundle(
    folder: Path, digest: str, manifest: Manifest, artifacts: ArtifactFolder, chunk_bytes: int
) -> StoredParcel:
    """Pack a verified bundle in `folder`; everything is kept durably when this returns.

    Raises:
        OSError: a file cannot be read.
        fleet_server.store.errors.UnavailableError: the disk does not take it.
    """
    names = [(MANIFEST_NAME, digest)] + [(file.name, file.sha256) for file in manifest.files]
    files = tuple(_pack_file(folder / name, sha, artifacts, chunk_bytes) for name, sha in names)
    return _keep(Parcel(digest, chunk_bytes, files), artifacts)


def cut_again(stored: StoredParcel, artifacts: ArtifactFolder, chunk_bytes: int) -> StoredParcel:
    """Return a packed bundle in chunks of another size, without compressing it again."""
    parcel = parse_parcel(artifacts.read(stored.digest))
    files = []
    for file in parcel.files:
        packed = b"".join(artifacts.read(chunk) for chunk in file.chunks)
        chunks = tuple(artifacts.put(chunk) for chunk in cut(packed, chunk_bytes))
        files.append(PackedFile(file.name, file.sha256, file.size, file.packed_size, chunks))
    return _keep(Parcel(parcel.bundle, chunk_bytes, tuple(files)), artifacts)


def _pack_file(path: Path, sha: str, artifacts: ArtifactFolder, chunk_bytes: int) -> PackedFile:
    plain = path.read_bytes()
    packed = compress(plain)
    chunks = tuple(artifacts.put(chunk) for chunk in cut(packed, chunk_bytes))
    return PackedFile(path.name, sha, len(plain), len(packed), chunks)


def _keep(parcel: Parcel, artifacts: ArtifactFolder) -> StoredParcel:
    digest = artifacts.put(codec.encode(parcel))
    return StoredParcel(parcel.bundle, parcel.chunk_bytes, digest, parcel.packed_size, parcel.chunks)


def unpack_file(parcel: Parcel, name: str, artifacts: ArtifactFolder) -> bytes:
    """Return the content of one file of a packed bundle.

    Raises:
        fleet_server.store.errors.NotFoundError: the parcel has no such file, or a chunk is not kept.
    """
    for file in parcel.files:
        if file.name == name:
            return lzma.decompress(b"".join(artifacts.read(chunk) for chunk in file.chunks))
    raise NotFoundError(f"the bundle {parcel.bundle} has no file {name!r}")
