"""Backups of a server: made while it runs, checked, and restored as a whole or not at all.

House rules: a file under a backup's name is complete and on the disk; a folder under a server's name is complete and
on the disk. Everything in a backup is listed at its end with its SHA-256, and checked before any of it is in place.
"""

import datetime as dt
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from edge_agent.contract import codec
from fleet_server.store.artifacts import sync_folder
from fleet_server.store.backup_cipher import LOG2_COST, BackupError, SealedReader, SealedWriter
from fleet_server.store.backup_source import ARTIFACTS, DATABASE, Moment, read_moment
from fleet_server.store.recovery import is_known_schema, mark_restored, read_schema

_MANIFEST, _INDEX = "backup.json", "index.json"
_FORM = 1
_COPY_BYTES = 1024 * 1024
_MAX_MANIFEST_BYTES = 64 * 1024 * 1024

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BackupManifest:
    """What a backup is: its form, when it was begun (ISO 8601), by which release, its schema, and its bytes in all."""

    form: int
    created: str
    edgeloop: str
    schema: str
    size: int


@dataclass(frozen=True, slots=True)
class _Index:
    """The last file of a backup: the SHA-256 of every other one by name."""

    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Checked:
    """A backup of which every byte was read and found authentic; `artifacts` are how many of its `files`."""

    manifest: BackupManifest
    files: int
    artifacts: int


def make_backup(
    data_dir: Path, target: Path, passphrase: str, release: str, tell: Progress, log2_cost: int = LOG2_COST
) -> BackupManifest:
    """Write a backup of a data folder; a server may run on it. `release` is Edgeloop's version.

    Raises:
        BackupError: the folder cannot be copied as a whole.
        OSError: a file cannot be read or the backup not written; there is none under its name then.
    """
    handle, name = tempfile.mkstemp(dir=target.absolute().parent, prefix=f".{target.name}.")
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as sink, read_moment(data_dir) as moment:
            created = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
            manifest = BackupManifest(_FORM, created, release, read_schema(moment.database), moment.size)
            writer = SealedWriter(sink, passphrase, log2_cost)
            _write(writer, manifest, moment, tell)
            writer.finish()
            sink.flush()
            os.fsync(sink.fileno())
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(target.absolute().parent)
    return manifest


def check_backup(source: Path, passphrase: str) -> Checked:
    """Read all of a backup and compare it with its own list.

    Raises:
        BackupError: the passphrase is wrong, or the backup is not whole.
        OSError: the file cannot be read.
    """
    with source.open("rb") as file:
        return _read(SealedReader(file, passphrase), None)


def restore_backup(
    source: Path, data_dir: Path, passphrase: str, now: int, tell: Progress
) -> tuple[Checked, Path | None]:
    """Put a backup in the place of a data folder on which no server runs; what was there is kept beside it.

    All is written beside the folder, checked and brought to the disk first. Returns the backup's facts and where the
    former folder is now (None where it was empty or absent). `now` (epoch ms) is noted in the restored database:
    the next server that starts on it jumps over every version that devices may have seen since the backup.

    Raises:
        BackupError: the passphrase is wrong, the backup is not whole, or this release is older than it.
        OSError: it cannot be read or written; the folder is as it was.
    """
    place = data_dir.absolute()
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}.restoring-"))
    try:
        with source.open("rb") as file:
            checked = _read(SealedReader(file, passphrase), draft)
        tell(f"{checked.files} files are whole")
        if not is_known_schema(checked.manifest.schema):
            raise BackupError(
                f"the backup is of Edgeloop {checked.manifest.edgeloop}, whose tables this release does not know yet: "
                "install that release, or a newer one"
            )
        mark_restored(draft / DATABASE, now)
        _sync_tree(draft)
        former = _exchange(draft, place, now)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync_folder(place.parent)
    return checked, former


def _exchange(draft: Path, place: Path, now: int) -> Path | None:
    """Give the draft the folder's name; what was there gets another."""
    if not place.exists() or not any(place.iterdir()):
        draft.replace(place)
        return None
    former = place.with_name(f"{place.name}.before-{now}")
    place.rename(former)
    try:
        draft.rename(place)
    except OSError:
        former.rename(place)
        raise
    return former


def _write(writer: SealedWriter, manifest: BackupManifest, moment: Moment, tell: Progress) -> None:
    digests: dict[str, str] = {}
    with tarfile.open(fileobj=_Sink(writer), mode="w|", format=tarfile.PAX_FORMAT, bufsize=_COPY_BYTES) as archive:
        _add_bytes(archive, digests, _MANIFEST, codec.encode(manifest))
        with moment.database.open("rb") as file:
            _add(archive, digests, DATABASE, file, moment.database.stat().st_size)
        tell(f"database: {moment.database.stat().st_size} bytes")
        for name, (mode, data) in moment.files.items():
            _add_bytes(archive, digests, name, data, mode)
        tell(f"keys and other small files: {len(moment.files)}")
        for number, path in enumerate(moment.artifacts, start=1):
            with path.open("rb") as file:
                _add(archive, digests, f"{ARTIFACTS}/{path.name[:2]}/{path.name}", file, path.stat().st_size)
            if digests[f"{ARTIFACTS}/{path.name[:2]}/{path.name}"] != path.name:
                raise BackupError(f"the artifact {path} is damaged: its content is not what its name says")
            if number % 100 == 0 or number == len(moment.artifacts):
                tell(f"artifacts: {number} of {len(moment.artifacts)}")
        _add_bytes(archive, {}, _INDEX, codec.encode(_Index(digests)))


def _add_bytes(archive: tarfile.TarFile, digests: dict[str, str], name: str, data: bytes, mode: int = 0o600) -> None:
    _add(archive, digests, name, io.BytesIO(data), len(data), mode)


def _add(
    archive: tarfile.TarFile, digests: dict[str, str], name: str, source: BinaryIO, size: int, mode: int = 0o600
) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, mode
    hashing = _Hashing(source)
    archive.addfile(info, hashing)
    digests[name] = hashing.hexdigest()


def _read(reader: SealedReader, folder: Path | None) -> Checked:
    """Read all of a backup, write its files into `folder` where there is one, and compare them with its list."""
    found: dict[str, str] = {}
    manifest: BackupManifest | None = None
    listed: _Index | None = None
    try:
        with tarfile.open(fileobj=_Source(reader), mode="r|", bufsize=_COPY_BYTES) as archive:
            for info in archive:
                content = archive.extractfile(info) if info.isreg() and _is_inside(info.name) else None
                if content is None or listed is not None:
                    raise BackupError(f"the backup holds something that is no file of a server: {info.name[:200]!r}")
                if info.name == _INDEX:
                    listed = codec.decode(_Index, content.read(_MAX_MANIFEST_BYTES))
                elif info.name == _MANIFEST:
                    data = content.read(_MAX_MANIFEST_BYTES)
                    manifest, found[_MANIFEST] = codec.decode(BackupManifest, data), hashlib.sha256(data).hexdigest()
                else:
                    found[info.name] = _take(content, folder, info)
        while reader.read(_COPY_BYTES):  # to the last piece, which says that nothing is missing
            pass
    except (tarfile.TarError, codec.MalformedError) as error:
        raise BackupError(f"the backup is not whole: {error}") from error
    if manifest is None or listed is None or listed.files != found or DATABASE not in found:
        raise BackupError("the backup is not whole: its files are not those of its list")
    if manifest.form != _FORM:
        raise BackupError(f"the backup has form {manifest.form}; this release reads form {_FORM}")
    return Checked(manifest, len(found), sum(name.startswith(f"{ARTIFACTS}/") for name in found))


def _take(content: IO[bytes], folder: Path | None, info: tarfile.TarInfo) -> str:
    digest = hashlib.sha256()
    if folder is None:
        while data := content.read(_COPY_BYTES):
            digest.update(data)
        return digest.hexdigest()
    place = folder / info.name
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, info.mode & 0o700 or 0o600)
    with os.fdopen(handle, "wb") as file:
        while data := content.read(_COPY_BYTES):
            digest.update(data)
            file.write(data)
        os.fchmod(file.fileno(), info.mode & 0o755)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts


def _sync_tree(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            sync_folder(path)


class _Hashing(io.RawIOBase):
    """A file whose bytes are hashed as they are read."""

    def __init__(self, source: BinaryIO) -> None:
        super().__init__()
        self._source = source
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._digest.update(data)
        return data

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


class _Sink(io.RawIOBase):
    """The writer as a file for `tarfile`."""

    def __init__(self, writer: SealedWriter) -> None:
        super().__init__()
        self._writer = writer

    def write(self, data: bytes) -> int:  # type: ignore[override]  # `tarfile` writes bytes alone
        return self._writer.write(data)


class _Source(io.RawIOBase):
    """The reader as a file for `tarfile`."""

    def __init__(self, reader: SealedReader) -> None:
        super().__init__()
        self._reader = reader

    def read(self, size: int = -1) -> bytes:
        return self._reader.read(size)
