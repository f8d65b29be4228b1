"""Small wheels made by hand, so that pip has something to install without a package index."""

import zipfile
from pathlib import Path

import pytest


def write_wheel(folder: Path, name: str, version: str, *, tag: str = "py3-none-any") -> None:
    """A wheel whose package says its version, and nothing else."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    files = {
        f"{module}/__init__.py": f"__version__ = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    with zipfile.ZipFile(folder / f"{module}-{version}-{tag}.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD")))


def only_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pip see the wheels of a folder and nothing else, whatever this machine's configuration says."""
    for name, value in {"CONFIG_FILE": "/dev/null", "NO_INDEX": "1", "FIND_LINKS": str(folder)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
