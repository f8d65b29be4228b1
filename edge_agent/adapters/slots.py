"""Verified bundles on disk (bundles/<digest>/): staged aside, verified file by file, flushed, renamed into place.

House rules: a folder named by a digest is complete and was verified; it comes and goes as a whole, and what a cut
leaves of its making (`.staging-*`) or removal (`.gone-*`) is cleared at the next start.
Before a worker loads a bundle again after a restart, `verify` reads it once more, since cards rot.
"""

import contextlib
import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from edge_agent.adapters import durable
from edge_agent.adapters.artifacts import ChunkStore, RejectedBytesError
from edge_agent.contract import codec
from edge_agent.contract.artifacts import Parcel
from edge_agent.contract.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest, bundle_digest, parse_manifest
from edge_agent.contract.messages import DesiredBundle
from edge_agent.contract.states import Reason

_STAGING = ".staging-"
_PIECE_BYTES = 256 * 1024


class Slots:
    """The folder of bundles."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Make the folder, and remove what a cut left half staged.

        Raises:
            OSError: the folder is not writable.
        """
        durable.make_folder(self._folder)
        durable.clear_remains(self._folder, f"{_STAGING}*")

    def path(self, digest: str) -> Path:
        """Return the folder of a bundle."""
        return self._folder / digest

    def has(self, digest: str) -> bool:
        """Whether a bundle is here, complete and once verified."""
        return self.path(digest).is_dir()

    def digests(self) -> frozenset[str]:
        """Return the digests of all bundles here."""
        return frozenset(path.name for path in self._folder.iterdir() if not path.name.startswith("."))

    def stage(self, bundle: DesiredBundle, parcel: Parcel, chunks: ChunkStore) -> None:
        """Make a bundle of its chunks, verify it against the signed digest, and place it.

        Raises:
            RejectedBytesError: a file, the manifest or the parcel is not what the signed document names.
            OSError: the disk is full or failing; nothing is placed.
        """
        if self.has(bundle.digest):
            return
        staging = self._folder / f"{_STAGING}{bundle.digest}"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            for file in parcel.files:
                chunks.assemble(file, staging / file.name)
            _verify(staging, bundle)
            durable.place_folder(staging, self.path(bundle.digest))
        except (RejectedBytesError, OSError):
            shutil.rmtree(staging, ignore_errors=True)
            raise

    def verify(self, bundle: DesiredBundle) -> None:
        """Read a placed bundle again, every byte.

        Raises:
            RejectedBytesError: it is damaged; it is removed, so that it can be fetched anew.
            OSError: it cannot be read.
        """
        try:
            _verify(self.path(bundle.digest), bundle)
        except RejectedBytesError:
            self._remove(bundle.digest)
            raise

    def manifest(self, digest: str) -> Manifest:
        """Return the manifest of a placed bundle.

        Raises:
            codec.MalformedError: it is damaged.
            OSError: it cannot be read.
        """
        return parse_manifest((self.path(digest) / MANIFEST_NAME).read_bytes())

    def keep_only(self, digests: Iterable[str]) -> None:
        """Remove every other bundle; what is being staged at this moment is let be, and what resists waits."""
        kept = set(digests)
        for path in self._folder.iterdir():
            if path.name not in kept and not path.name.startswith("."):
                self._remove(path.name)

    def _remove(self, digest: str) -> None:
        with contextlib.suppress(OSError):
            durable.remove_folder(self.path(digest))


def _verify(folder: Path, bundle: DesiredBundle) -> None:
    manifest = _manifest(folder, bundle)
    listed = {file.name for file in manifest.files}
    found = {path.name for path in folder.iterdir()} - {MANIFEST_NAME}
    if found != listed:
        odd = ", ".join(sorted(found ^ listed))
        raise _mismatch(f"{bundle.model}: files and manifest differ in {odd}")
    for file in manifest.files:
        size, digest = _digest(folder / file.name)
        if (size, digest) != (file.size, file.sha256):
            raise RejectedBytesError(Reason.DIGEST_MISMATCH, f"{bundle.model}: {file.name} is not the file listed")


def _manifest(folder: Path, bundle: DesiredBundle) -> Manifest:
    try:
        with (folder / MANIFEST_NAME).open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
        manifest = parse_manifest(data)
    except FileNotFoundError as error:
        raise _mismatch(f"{bundle.model}: there is no {MANIFEST_NAME}") from error
    except codec.MalformedError as error:
        raise _mismatch(f"{bundle.model}: {error}") from error
    if bundle_digest(data) != bundle.digest:
        raise RejectedBytesError(Reason.DIGEST_MISMATCH, f"{bundle.model}: {MANIFEST_NAME} is not {bundle.digest[:12]}")
    signed = (bundle.model, bundle.variant, bundle.runtime)
    if (manifest.model, manifest.variant, manifest.runtime) != signed:
        raise _mismatch(
            f"the manifest is of {manifest.model} {manifest.variant} on {manifest.runtime}, "
            f"the signed document names {bundle.model} {bundle.variant} on {bundle.runtime}"
        )
    return manifest


def _digest(path: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()


def _mismatch(detail: str) -> RejectedBytesError:
    return RejectedBytesError(Reason.MANIFEST_MISMATCH, detail)
