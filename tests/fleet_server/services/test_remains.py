"""What a build left is deleted, however it was left, and nothing beside it."""

import os
from pathlib import Path

from fleet_server.services.remains import remove_tree

LEVELS = 3000


def test_folders_nested_deeper_than_python_recurses_and_a_path_is_long(tmp_path: Path) -> None:
    before = Path.cwd()
    (tmp_path / "left").mkdir()
    os.chdir(tmp_path / "left")
    try:
        for _ in range(LEVELS):
            Path("deep").mkdir()
            os.chdir("deep")
            Path("file").touch()
    finally:
        os.chdir(before)
    remove_tree(tmp_path / "left")
    assert list(tmp_path.iterdir()) == []


def test_what_is_closed_is_deleted_and_what_is_linked_is_not(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    left = tmp_path / "left"
    (left / "shut" / "inner").mkdir(parents=True)
    (left / "shut" / "inner" / "file").touch()
    for name, target in (("folder", kept), ("file", kept / "file"), ("nowhere", tmp_path / "absent")):
        (left / name).symlink_to(target)
    os.mkfifo(left / "pipe")
    (left / "shut" / "inner").chmod(0)
    (left / "shut").chmod(0)
    left.chmod(0)
    remove_tree(left)
    assert list(tmp_path.rglob("*")) == [kept, kept / "file"]


def test_a_link_in_its_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    remove_tree(tmp_path / "link")
    remove_tree(tmp_path / "absent")
    assert (tmp_path / "kept").is_dir()
