"""Artifacts: files go through xz, chunks and parcels and come back; nothing else is taken for one."""

import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract import codec
from edge_agent.contract.artifacts import (
    CHUNK_BYTES,
    DECODER_MEMORY_BYTES,
    MAX_FILE_BYTES,
    PackedFile,
    Parcel,
    compress,
    cut,
    parse_parcel,
    sha256,
)
from edge_agent.contract.codec import MalformedError
from tests.fakes.words import words

A, B = "a" * 64, "b" * 64


@given(data=st.binary(max_size=2000), chunk_bytes=st.integers(1, 300))
def test_a_file_comes_back_from_its_chunks(data: bytes, chunk_bytes: int) -> None:
    """Chunks in order are the compressed file, all but the last of full size; expansion fits the bounded decoder."""
    packed = compress(data)
    chunks = cut(packed, chunk_bytes)
    assert b"".join(chunks) == packed
    assert {len(chunk) for chunk in chunks[:-1]} <= {chunk_bytes}
    assert lzma.LZMADecompressor(memlimit=DECODER_MEMORY_BYTES).decompress(b"".join(chunks)) == data


def test_the_same_file_makes_the_same_chunks() -> None:
    """Chunks are named by content, so packing twice costs nothing on the wire."""
    data = bytes(range(256)) * 2000
    assert [sha256(chunk) for chunk in cut(compress(data))] == [sha256(chunk) for chunk in cut(compress(data))]


def test_a_digest_is_sha256() -> None:
    """The well-known digest of nothing."""
    assert sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@given(parcel=words(Parcel))
def test_a_parcel_comes_back(parcel: Parcel) -> None:
    """Round trip, and each chunk once in the order of the files."""
    assert parse_parcel(codec.encode(parcel)) == parcel
    named = [chunk for file in parcel.files for chunk in file.chunks]
    assert sorted(parcel.chunks, key=named.index) == list(parcel.chunks)
    assert set(parcel.chunks) == set(named)
    assert parcel.packed_size == sum(file.packed_size for file in parcel.files)


def test_a_parcel_begins_with_its_manifest() -> None:
    """The bundle's digest is the manifest's, and the manifest comes first."""
    manifest = PackedFile("manifest.json", A, 1, 1, ())
    model = PackedFile("model.onnx", B, 1, 1, ())
    assert Parcel(A, 1024, (manifest, model)).bundle == A
    with pytest.raises(ValueError, match="first file of a parcel"):
        Parcel(A, 1024, (model, manifest))
    with pytest.raises(ValueError, match="first file of a parcel"):
        Parcel(A, 1024, ())


@pytest.mark.parametrize("size", [-1, MAX_FILE_BYTES + 1])
def test_a_size_out_of_range_is_refused(size: int) -> None:
    """No file larger than the limit is promised to a board."""
    with pytest.raises(ValueError, match="out of range"):
        PackedFile("model.onnx", A, size, 1, ())


@pytest.mark.parametrize("name", ["../etc/passwd", "/etc/passwd", "a/b", "..", ".hidden", "", "A", "a\x00b"])
def test_a_file_cannot_leave_its_folder(name: str) -> None:
    """Names are one plain level."""
    with pytest.raises(ValueError, match="a name is"):
        PackedFile(name, A, 1, 1, ())


@pytest.mark.parametrize("chunk_bytes", [0, -1, CHUNK_BYTES + 1])
def test_chunks_have_a_range(chunk_bytes: int) -> None:
    """A chunk fits the broker's message limit."""
    with pytest.raises(ValueError, match="out of range"):
        Parcel(A, chunk_bytes, (PackedFile("manifest.json", A, 1, 1, ()),))


def test_a_parcel_larger_than_a_chunk_is_refused() -> None:
    """It travels as one chunk."""
    with pytest.raises(MalformedError, match="over the limit"):
        parse_parcel(b" " * (CHUNK_BYTES + 1))
