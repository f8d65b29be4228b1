"""Chunks and bundles on disk: only what was signed, complete or not at all."""

import dataclasses
import lzma
import os
from pathlib import Path

import pytest

from edge_agent.adapters.artifacts import ChunkStore, RejectedBytesError
from edge_agent.adapters.slots import Slots
from edge_agent.contract import codec
from edge_agent.contract.artifacts import CHUNK_BYTES, PackedFile, Parcel, compress, cut, sha256
from edge_agent.contract.manifest import MANIFEST_NAME, Runtime
from edge_agent.contract.states import Reason
from tests.fakes.agent import FakeBundle, make_bundle
from tests.fakes.worker import MODEL_FILE


@pytest.fixture
def store(tmp_path: Path) -> ChunkStore:
    made = ChunkStore(tmp_path / "chunks")
    made.prepare()
    return made


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    made = Slots(tmp_path / "bundles")
    made.prepare()
    return made


def put(store: ChunkStore, data: bytes, packed: bytes | None = None, chunk_bytes: int = 100) -> PackedFile:
    packed = compress(data) if packed is None else packed
    chunks = cut(packed, chunk_bytes)
    for chunk in chunks:
        store.put(sha256(chunk), chunk)
    return PackedFile("f", sha256(data), len(data), len(packed), tuple(map(sha256, chunks)))


def reason(caught: "pytest.ExceptionInfo[RejectedBytesError]") -> Reason:
    assert caught.value.detail
    return caught.value.reason


def test_a_file_comes_out_as_it_went_in(store: ChunkStore, tmp_path: Path) -> None:
    for data in (b"", b"x", os.urandom(5000), bytes(3_000_000)):
        store.assemble(put(store, data), tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == data


def test_only_the_bytes_of_a_digest_are_stored_under_it(store: ChunkStore) -> None:
    for data in (b"other", b"", os.urandom(CHUNK_BYTES + 1)):
        with pytest.raises(RejectedBytesError) as caught:
            store.put("a" * 64, data)
        assert reason(caught) is Reason.DIGEST_MISMATCH
    assert not store.has("a" * 64)


def test_a_chunk_damaged_on_disk_is_found_and_removed(store: ChunkStore, tmp_path: Path) -> None:
    file = put(store, b"hello")
    (tmp_path / "chunks" / file.chunks[0]).write_bytes(b"rot")
    with pytest.raises(RejectedBytesError):
        store.get(file.chunks[0])
    assert not store.has(file.chunks[0])


@pytest.mark.parametrize(
    "packed",
    [
        compress(bytes(1000)),  # expands beyond the listed size
        compress(b"no"),
        compress(b"data")[:-10],
        compress(b"data") + b"more",
        compress(b"data") + compress(b""),
        b"not xz at all",
        b"",
        lzma.compress(b"data", preset=9),  # needs 64 MiB to decode
        lzma.compress(b"data", format=lzma.FORMAT_ALONE),
    ],
)
def test_anything_else_is_refused(store: ChunkStore, tmp_path: Path, packed: bytes) -> None:
    file = put(store, b"data", packed)
    with pytest.raises(RejectedBytesError) as caught:
        store.assemble(file, tmp_path / "out")
    assert reason(caught) is Reason.DIGEST_MISMATCH


def test_a_bomb_is_stopped_at_its_listed_size(store: ChunkStore, tmp_path: Path) -> None:
    bomb = dataclasses.replace(put(store, bytes(50_000_000), chunk_bytes=CHUNK_BYTES), size=1000)
    with pytest.raises(RejectedBytesError):
        store.assemble(bomb, tmp_path / "out")
    assert (tmp_path / "out").stat().st_size <= 1000


def stored(store: ChunkStore, bundle: FakeBundle) -> Parcel:
    for digest, data in bundle.chunks.items():
        store.put(digest, data)
    return codec.decode(Parcel, bundle.chunks[bundle.desired.parcel])


def test_a_bundle_is_placed_whole_and_verified(store: ChunkStore, slots: Slots) -> None:
    bundle = make_bundle()
    slots.stage(bundle.desired, stored(store, bundle), store)
    slots.verify(bundle.desired)
    folder = slots.path(bundle.desired.digest)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == bundle.files
    assert slots.digests() == {bundle.desired.digest}
    assert slots.manifest(bundle.desired.digest).model == "digits"


def test_nothing_is_placed_while_a_chunk_is_missing(store: ChunkStore, slots: Slots) -> None:
    bundle = make_bundle(padding=os.urandom(5000))
    parcel = stored(store, bundle)
    store.keep_only(list(bundle.chunks)[:-3])
    with pytest.raises(RejectedBytesError):
        slots.stage(bundle.desired, parcel, store)
    assert slots.digests() == frozenset()
    assert not list((slots.path("x").parent).iterdir())


def test_a_parcel_of_other_files_than_the_manifest_names_is_refused(store: ChunkStore, slots: Slots) -> None:
    bundle = make_bundle()
    parcel = stored(store, bundle)
    for files in (parcel.files[:-1], (*parcel.files, put(store, b"extra"))):
        with pytest.raises(RejectedBytesError) as caught:
            slots.stage(bundle.desired, dataclasses.replace(parcel, files=files), store)
        assert reason(caught) is Reason.MANIFEST_MISMATCH
    swapped = dataclasses.replace(put(store, b"other"), name=parcel.files[1].name)
    files = (parcel.files[0], swapped, *parcel.files[2:])
    with pytest.raises(RejectedBytesError) as caught:
        slots.stage(bundle.desired, dataclasses.replace(parcel, files=files), store)
    assert reason(caught) is Reason.DIGEST_MISMATCH


@pytest.mark.parametrize("change", [{"model": "wine"}, {"variant": "onnx-int8"}, {"runtime": Runtime.TFLITE}])
def test_a_manifest_of_something_else_than_was_signed_is_refused(
    store: ChunkStore, slots: Slots, change: dict[str, str]
) -> None:
    bundle = make_bundle()
    with pytest.raises(RejectedBytesError) as caught:
        slots.stage(dataclasses.replace(bundle.desired, **change), stored(store, bundle), store)
    assert reason(caught) is Reason.MANIFEST_MISMATCH


def test_damage_to_a_placed_bundle_is_found(store: ChunkStore, slots: Slots) -> None:
    bundle = make_bundle()
    for name in (MODEL_FILE, MANIFEST_NAME):
        slots.stage(bundle.desired, stored(store, bundle), store)
        path = slots.path(bundle.desired.digest) / name
        path.write_bytes(path.read_bytes()[:-1] + b"]")
        with pytest.raises(RejectedBytesError):
            slots.verify(bundle.desired)
        assert not slots.has(bundle.desired.digest)  # so that it is fetched anew


def test_what_a_cut_left_is_cleared_and_what_is_kept_stays(store: ChunkStore, slots: Slots, tmp_path: Path) -> None:
    bundle = make_bundle()
    slots.stage(bundle.desired, stored(store, bundle), store)
    (tmp_path / "bundles" / ".staging-x").mkdir()
    (tmp_path / "chunks" / ".x.1.new").touch()
    slots.prepare()
    store.prepare()
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [bundle.desired.digest]
    assert {path.name for path in (tmp_path / "chunks").iterdir()} == set(bundle.chunks)
    slots.keep_only({bundle.desired.digest})
    assert slots.has(bundle.desired.digest)
    slots.keep_only(())
    assert slots.digests() == frozenset()
