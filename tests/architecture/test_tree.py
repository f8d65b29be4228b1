"""The tree as it is handed on: it names no machine, no person's folder and no package host."""

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SKIPPED = {
    ".git",
    ".venv",
    ".cache",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".import_linter_cache",
    ".hypothesis",
    "__pycache__",
    "dist",
    "build",
    "node_modules",
}
# Written in two parts, so that this file does not hold what it looks for.
MACHINE_PATHS = re.compile(
    "|".join(["/" + "work/", "/" + r"home/(?!pi\b)[a-z]", r"(?<![\w.])/" + "root/", "/" + "Users/", "/tmp/" + "brief"])
)
HOSTS = re.compile(r"(pypi|pythonhosted|npmjs|debian|ubuntu|docker|crates|ghcr)\.(" + "org|com|io)")
# The lock names the files that it locks; that is what it is for.
LOCKS = {"uv.lock"}


def texts() -> list[tuple[str, str]]:
    """Every text file of the tree, by its path."""
    found = []
    for folder, below, names in os.walk(ROOT):
        below[:] = [name for name in below if name not in SKIPPED and not name.endswith(".egg-info")]
        for name in names:
            path = Path(folder, name)
            try:
                found.append((path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")))
            except UnicodeDecodeError:
                continue  # an image or a model
    return found


def test_no_path_of_one_machine() -> None:
    """Nothing depends on where somebody's checkout or home was."""
    assert [(path, hit.group()) for path, text in texts() if (hit := MACHINE_PATHS.search(text))] == []


def test_no_package_host() -> None:
    """Packages are named, never the hosts that they come from, so that a mirror works without an edit."""
    hits = [(path, hit.group()) for path, text in texts() if path not in LOCKS and (hit := HOSTS.search(text))]
    assert hits == []
