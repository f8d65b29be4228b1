"""Files that are replaced whole: the crash states that a power cut can leave, enumerated by their system calls."""

import os
from pathlib import Path
from typing import Any

import pytest

from edge_agent.adapters import durable


class CutError(BaseException):
    """The power goes: nothing may catch it."""


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "f"
    durable.write_file(path, b"one", mode=0o600)
    durable.write_file(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_order_of_flushes_makes_it_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, then rename, then folder: kill -9 keeps the page cache, so only the order can be tested."""
    calls: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def note_fsync(descriptor: int) -> None:
        calls.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        fsync(descriptor)

    def note_rename(self: Path, target: Path) -> Path:
        calls.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "rename", note_rename)
    durable.write_file(tmp_path / "f", b"x")
    assert calls == ["file", "rename", "folder"]
    calls.clear()
    (tmp_path / "staging").mkdir()
    durable.place_folder(tmp_path / "staging", tmp_path / "final")
    assert calls == ["folder", "rename", "folder"]


@pytest.mark.parametrize("cut_at", range(3))
def test_a_cut_at_any_call_leaves_old_or_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_at: int) -> None:
    path, calls = tmp_path / "f", 0
    path.write_bytes(b"old")
    fsync, rename = os.fsync, Path.rename

    def cut(real: Any) -> Any:
        def call(*words: Any) -> Any:
            nonlocal calls
            if calls == cut_at:
                raise CutError
            calls += 1
            return real(*words)

        return call

    monkeypatch.setattr(os, "fsync", cut(fsync))
    monkeypatch.setattr(Path, "rename", cut(rename))
    with pytest.raises(CutError):
        durable.write_file(path, b"new")
    assert path.read_bytes() in (b"old", b"new")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    aside = tmp_path / f".f.{os.getpid()}.new"
    aside.symlink_to("/dev/full")  # where the new content is written first
    with pytest.raises(OSError, match="No space"):
        durable.replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert not aside.is_symlink()
