"""Files and folders that are replaced whole; what a power cut leaves of them is enumerated in `tests/faults`."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.adapters import durable
from tests.fakes.disk_calls import Failing, Recorder, Removed, Renamed, Synced, watched


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "f"
    durable.write_file(path, b"one", mode=0o600)
    durable.write_file(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_names_come_after_what_is_behind_them_and_go_before_it(tmp_path: Path) -> None:
    staging, final = tmp_path / "staging", tmp_path / "final"
    staging.mkdir()
    disk = Recorder()
    with watched(tmp_path, disk):
        durable.write_pieces(staging / "f", [b"a", b"", b"b"])
        durable.place_folder(staging, final)
        durable.remove_folder(final)
    order = [change for change in disk.changes if isinstance(change, Synced | Renamed | Removed)]
    gone = tmp_path / ".gone-final"
    assert order == [
        Synced(staging / "f"),
        Synced(staging),
        Renamed(staging, final),
        Synced(tmp_path),
        Renamed(final, gone),
        Synced(tmp_path),
        Removed(gone / "f"),
        Removed(gone),
    ]


def test_a_folder_that_is_here_is_never_replaced(tmp_path: Path) -> None:
    for name in ("staging", "final"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    with pytest.raises(OSError, match="not empty"):
        durable.place_folder(tmp_path / "staging", tmp_path / "final")
    assert (tmp_path / "final" / "f").read_text() == "final"


def test_a_folder_that_is_not_surely_placed_is_not_there(tmp_path: Path) -> None:
    """Or the next try would find it, and take for durable what is in the page cache alone."""
    (tmp_path / "staging").mkdir()
    flush_of_parent = Failing(errno.EIO, frozenset({"fsync"}), first=1)
    with watched(tmp_path, flush_of_parent), pytest.raises(OSError, match="Input/output"):
        durable.place_folder(tmp_path / "staging", tmp_path / "final")
    assert not (tmp_path / "final").exists()


def test_an_absent_folder_may_be_removed_and_what_a_cut_left_is_cleared(tmp_path: Path) -> None:
    durable.remove_folder(tmp_path / "never")
    for name in (".gone-a", ".staging-b", "kept"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").touch()
    (tmp_path / ".f.1.new").touch()
    durable.clear_remains(tmp_path, ".staging-*")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    aside = tmp_path / f".f.{os.getpid()}.new"
    aside.symlink_to("/dev/full")  # where the new content is written first
    with pytest.raises(OSError, match="No space"):
        durable.replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert not aside.is_symlink()


@given(st.binary(), st.data())
def test_what_was_sealed_comes_back_and_any_change_of_it_is_found(data: bytes, chance: st.DataObject) -> None:
    sealed = durable.seal(data)
    assert durable.unseal(sealed) == data
    at = chance.draw(st.integers(0, len(sealed) - 1))
    flipped = sealed[:at] + bytes([sealed[at] ^ 1 << chance.draw(st.integers(0, 7))]) + sealed[at + 1 :]
    for damaged in (flipped, sealed[:at], sealed + b"\n"):
        with pytest.raises(durable.DamagedError):
            durable.unseal(damaged)
