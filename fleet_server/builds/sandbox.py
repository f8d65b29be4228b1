"""The box in which foreign models are parsed: bubblewrap where it works, and limits in any case.

House rules: inside there is no network, none of the server's files or keys, and one folder to write; where bubblewrap
does not work that is said, never passed over.
"""

import functools
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/lib32", "/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime")
_PACKAGES = ("trainer", "edge_agent")
_PROBE_S = 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a build may use."""

    memory_mb: int
    timeout_s: float
    file_mb: int = 2048


@dataclass(frozen=True, slots=True)
class Sandbox:
    """How commands are boxed: by `bwrap` at this path, or by limits alone; `notice` says it in words."""

    bwrap: str | None
    notice: str

    def wrap(self, command: Sequence[str], folder: Path, limits: Limits) -> list[str]:
        """Return the command that runs `command` in the box, where it may write to `folder` alone."""
        boxed = list(command) if self.bwrap is None else [*_box(self.bwrap, folder), *command]
        numbers = [str(limits.memory_mb), str(int(limits.timeout_s) + 1), str(limits.file_mb)]
        return [sys.executable, "-m", "fleet_server.builds.launch", *numbers, *boxed]


@functools.cache
def find_sandbox() -> Sandbox:
    """Return the best box that works on this machine; it is tried once."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return Sandbox(None, "bubblewrap is not installed: builds run with limits, but see this machine's files")
    probe = [*_box(bwrap, Path("/tmp")), sys.executable, "-c", "pass"]  # noqa: S108 - bound into the box for the probe
    try:
        done = subprocess.run(probe, capture_output=True, timeout=_PROBE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Sandbox(None, f"bubblewrap does not work here ({error}): builds run with limits alone")
    if done.returncode != 0:
        why = done.stderr.decode(errors="replace").strip()[:200]
        return Sandbox(None, f"bubblewrap does not work here ({why}): builds run with limits alone")
    return Sandbox(bwrap, "builds run in bubblewrap: no network, no files but their own")


def _box(bwrap: str, folder: Path) -> list[str]:
    box = [bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--proc", "/proc", "--dev", "/dev"]
    box += ["--tmpfs", "/tmp"]  # noqa: S108 - a private one inside of the box
    for path in dict.fromkeys((*_SYSTEM, sys.base_prefix, sys.prefix, *_package_folders())):
        box += ["--ro-bind-try", path, path]
    return [*box, "--bind", str(folder), str(folder), "--chdir", str(folder)]


def _package_folders() -> tuple[str, ...]:
    found = []
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            found.append(str(Path(spec.submodule_search_locations[0]).resolve()))
    return tuple(found)
