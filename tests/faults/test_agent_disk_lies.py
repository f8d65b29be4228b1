"""Chunks, parcels and bundles that are not what was signed, and disks that refuse: typed reasons, and nothing left."""

import dataclasses
import errno
import os
import queue
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.adapters.artifacts import ChunkStore
from edge_agent.adapters.slots import Slots
from edge_agent.contract import codec
from edge_agent.contract.artifacts import CHUNK_BYTES, Parcel, compress, sha256
from edge_agent.contract.states import Reason
from edge_agent.supervisor.disk import ChunkRefused, ChunkStored, Disk, DiskFailed, DiskInput, Staged
from tests.fakes.agent_bundles import FakeBundle, make_bundle
from tests.fakes.disk_calls import CHANGES, Failing, watched


class Stage:
    """The disk's thread on a folder, asked one thing at a time."""

    def __init__(self, folder: Path) -> None:
        self.chunks, self.slots = ChunkStore(folder / "chunks"), Slots(folder / "bundles")
        self.chunks.prepare()
        self.slots.prepare()
        self._answers: queue.SimpleQueue[DiskInput] = queue.SimpleQueue()
        self._disk = Disk(self.chunks, self.slots, self._answers.put)
        self._disk.start()

    def store(self, digest: str, data: bytes) -> DiskInput:
        self._disk.store(digest, data)
        return self._answers.get(timeout=30)

    def stage(self, bundle: FakeBundle) -> DiskInput:
        self._disk.stage(7, (bundle.desired,), frozenset())
        return self._answers.get(timeout=30)

    def stop(self) -> None:
        self._disk.stop(30)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.stop()


BUNDLE = make_bundle(padding=os.urandom(3000))
OTHER = make_bundle(padding=b"other")
PARCEL = codec.decode(Parcel, BUNDLE.chunks[BUNDLE.desired.parcel])
_LARGEST = max(PARCEL.files, key=lambda file: len(file.chunks))
_FIRST, _SECOND, *_ = _LARGEST.chunks


def repacked(change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> FakeBundle:
    """The bundle under a parcel that lies about the chunks of its largest file."""
    lying = dataclasses.replace(_LARGEST, chunks=change(_LARGEST.chunks))
    files = tuple(lying if file is _LARGEST else file for file in PARCEL.files)
    return with_parcel(codec.encode(dataclasses.replace(PARCEL, files=files)))


def with_parcel(parcel: bytes, *more: bytes) -> FakeBundle:
    chunks = BUNDLE.chunks | {sha256(data): data for data in (parcel, *more)}
    return dataclasses.replace(
        BUNDLE, desired=dataclasses.replace(BUNDLE.desired, parcel=sha256(parcel)), chunks=chunks
    )


def bomb() -> FakeBundle:
    """A file that says it is small and unpacks to 8 MiB."""
    packed = compress(bytes(8 << 20))[:CHUNK_BYTES]
    lying = dataclasses.replace(_LARGEST, chunks=(sha256(packed),), packed_size=len(packed))
    files = tuple(lying if file is _LARGEST else file for file in PARCEL.files)
    return with_parcel(codec.encode(dataclasses.replace(PARCEL, files=files)), packed)


LIES: dict[str, tuple[Callable[[], FakeBundle], Reason]] = {
    "a chunk twice": (lambda: repacked(lambda names: (_FIRST, *names)), Reason.DIGEST_MISMATCH),
    "chunks in another order": (
        lambda: repacked(lambda names: (names[1], names[0], *names[2:])),
        Reason.DIGEST_MISMATCH,
    ),
    "a chunk too few": (lambda: repacked(lambda names: names[:-1]), Reason.DIGEST_MISMATCH),
    "a chunk of another file": (
        lambda: repacked(lambda names: (*names[:-1], PARCEL.files[0].chunks[0])),
        Reason.DIGEST_MISMATCH,
    ),
    "a chunk that nobody has": (lambda: repacked(lambda names: (*names[:-1], "a" * 64)), Reason.DIGEST_MISMATCH),
    "no parcel": (
        lambda: dataclasses.replace(BUNDLE, desired=dataclasses.replace(BUNDLE.desired, parcel="b" * 64)),
        Reason.DIGEST_MISMATCH,
    ),
    "a parcel that is none": (lambda: with_parcel(b"{}"), Reason.MANIFEST_MISMATCH),
    "a parcel of another bundle": (lambda: with_parcel(OTHER.chunks[OTHER.desired.parcel]), Reason.MANIFEST_MISMATCH),
    "a file left out": (
        lambda: with_parcel(codec.encode(dataclasses.replace(PARCEL, files=PARCEL.files[:-1]))),
        Reason.MANIFEST_MISMATCH,
    ),
    "a bomb": (bomb, Reason.DIGEST_MISMATCH),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_is_not_what_was_signed_ends_in_its_reason_and_leaves_nothing(stage: Stage, lie: str) -> None:
    make, reason = LIES[lie]
    bundle = make()
    for digest, data in bundle.chunks.items():
        assert stage.store(digest, data) == ChunkStored(digest)
    failed = stage.stage(bundle)
    assert isinstance(failed, DiskFailed), failed
    assert (failed.reason, failed.model, failed.seq) == (reason, "digits", 7)
    assert failed.detail
    assert stage.slots.digests() == frozenset()
    assert stage.stage(BUNDLE) == Staged(7), "the true bundle is staged as if nothing had been"


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda _: b"", bytes.swapcase])
def test_a_chunk_that_is_not_it_is_refused_and_may_come_again(stage: Stage, change: Callable[[bytes], bytes]) -> None:
    digest, data = next(item for item in BUNDLE.chunks.items() if bytes.swapcase(item[1]) != item[1])
    assert isinstance(stage.store(digest, change(data)), ChunkRefused)
    assert not stage.chunks.has(digest)
    assert stage.store(digest, data) == ChunkStored(digest)
    assert stage.store(digest, data) == ChunkStored(digest)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.ENOSPC, Reason.DISK_FULL), (errno.EROFS, Reason.INTERRUPTED), (errno.EIO, Reason.INTERRUPTED)],
)
def test_a_disk_that_refuses_ends_in_its_reason_and_recovers(
    stage: Stage, tmp_path: Path, number: int, reason: Reason
) -> None:
    digest, data = next(iter(BUNDLE.chunks.items()))
    with watched(tmp_path, Failing(number, CHANGES)):
        failed = stage.store(digest, data)
    assert isinstance(failed, DiskFailed)
    assert failed.reason is reason
    for each, content in BUNDLE.chunks.items():
        stage.store(each, content)
    with watched(tmp_path, Failing(number, CHANGES, first=3)):
        failed = stage.stage(BUNDLE)
    assert isinstance(failed, DiskFailed)
    assert failed.reason is reason
    assert stage.stage(BUNDLE) == Staged(7)
    stage.slots.verify(BUNDLE.desired)


def test_a_chunk_that_does_not_read_fails_the_update_only(stage: Stage) -> None:
    for digest, data in BUNDLE.chunks.items():
        stage.store(digest, data)
    path = stage.slots.path("x").parents[1] / "chunks" / _SECOND
    path.unlink()
    path.symlink_to("/proc/self/mem")  # reads fail with EIO, as from a bad sector
    failed = stage.stage(BUNDLE)
    assert isinstance(failed, DiskFailed)
    assert failed.reason is Reason.INTERRUPTED
    assert stage.slots.digests() == frozenset()
    path.unlink()
    stage.store(_SECOND, BUNDLE.chunks[_SECOND])
    assert stage.stage(BUNDLE) == Staged(7)


def test_a_rotten_bundle_is_found_when_it_is_wanted_again_and_fetched_anew(stage: Stage) -> None:
    for digest, data in BUNDLE.chunks.items():
        stage.store(digest, data)
    assert stage.stage(BUNDLE) == Staged(7)
    folder = stage.slots.path(BUNDLE.desired.digest)
    for rot in (lambda: next(folder.glob("*.npz")).unlink(), lambda: (folder / "more").write_bytes(b"?")):
        rot()
        failed = stage.stage(BUNDLE)
        assert isinstance(failed, DiskFailed)
        assert failed.reason is Reason.MANIFEST_MISMATCH
        assert not stage.slots.has(BUNDLE.desired.digest)
        assert stage.stage(BUNDLE) == Staged(7)
