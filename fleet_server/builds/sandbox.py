"""The box in which foreign models are parsed: bubblewrap, and limits around and inside of it.

House rules: inside there is no network, none of the server's files or keys, and one folder to write; where bubblewrap
does not work, a server that may be reached from elsewhere builds nothing, and any other says what is missing.
"""

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet_server.builds.warden import Allowance

_SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/lib32", "/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime")
_PACKAGES = ("trainer", "edge_agent", "firmware_configs")
_LAUNCH = str(Path(__file__).with_name("launch.py").resolve())
_PROBE_S = 20.0
INSTALL = "apt-get install bubblewrap"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a build may use: all of its processes together, but `file_mb` and `tasks` (threads count).

    Sizes in MiB; `files` counts entries of its folder.
    """

    memory_mb: int
    timeout_s: float
    file_mb: int = 2048
    disk_mb: int = 4096
    files: int = 10_000
    processes: int = 64
    tasks: int = 256
    reserve_mb: int = 256
    output_bytes: int = 16 * 1024 * 1024
    output_lines: int = 20_000


@dataclass(frozen=True, slots=True)
class Sandbox:
    """How commands are boxed: by `bwrap` at this path, or by limits alone; `notice` says it in words.

    `hidden` is a folder that is empty in the box, whatever lies around it. `refusal` says why nothing may be built.
    """

    bwrap: str | None
    notice: str
    hidden: Path | None = None
    refusal: str | None = None
    # Files of the server's that a build may read.
    shown: tuple[Path, ...] = ()

    def wrap(self, command: Sequence[str], folder: Path, limits: Limits) -> list[str]:
        """Return the command that runs `command` in the box, where it may write to `folder` alone."""
        numbers = (limits.memory_mb, int(limits.timeout_s) + 1, limits.file_mb, limits.tasks)
        limited = [sys.executable, "-I", "-S", _LAUNCH, *map(str, numbers), *command]
        boxed = limited if self.bwrap is None else [*_box(self.bwrap, folder, self.hidden, self.shown), *limited]
        allowance = Allowance(
            os.getpid(), limits.memory_mb, limits.disk_mb, limits.files, limits.processes, limits.reserve_mb
        )
        return [sys.executable, "-m", "fleet_server.builds.warden", allowance.write(), str(folder), *boxed]


def choose_sandbox(data_dir: Path, *, required: bool, shown: tuple[Path, ...] = ()) -> Sandbox:
    """Return the best box that works on this machine, in which `data_dir` is not seen.

    Where none works and one is `required`, it refuses everything and says what to install.
    """
    bwrap, why = find_bubblewrap()
    hidden = data_dir.resolve()
    if bwrap is not None:
        return Sandbox(bwrap, "builds run in bubblewrap: no network, no files but their own", hidden, None, shown)
    if required:
        refusal = f"this server builds nothing that is uploaded: {why}; {INSTALL}, then start the server again"
        return Sandbox(None, refusal, hidden, refusal)
    notice = f"{why}: builds run with limits alone, and see this machine's files and network; {INSTALL}"
    return Sandbox(None, notice, hidden)


@functools.cache
def find_bubblewrap() -> tuple[str | None, str]:
    """Return the path of a bubblewrap that works here, or None and why; it is tried once.

    It is `$EDGELOOP_BWRAP`, or `bwrap` on the PATH.
    """
    bwrap = shutil.which(os.environ.get("EDGELOOP_BWRAP") or "bwrap")
    if bwrap is None:
        return None, "bubblewrap is not installed"
    probe = [*_box(bwrap, Path("/tmp"), None), sys.executable, "-I", "-S", "-c", "pass"]  # noqa: S108 - seen by the probe
    try:
        done = subprocess.run(probe, capture_output=True, timeout=_PROBE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"bubblewrap does not work here ({error})"
    if done.returncode != 0:
        told = done.stderr.decode(errors="replace").strip()[:200]
        return None, f"bubblewrap does not work here ({told}; user namespaces must be allowed)"
    return bwrap, ""


def _box(bwrap: str, folder: Path, hidden: Path | None, shown: tuple[Path, ...] = ()) -> list[str]:
    """Return the command of the box.

    Root keeps its capabilities in a namespace of its own, and the kernel's settings (/proc/sys) know only its number:
    so it loses them all, and everything but the one folder is mounted to be read.
    """
    box = [bwrap, "--unshare-all", "--unshare-user", "--cap-drop", "ALL", "--die-with-parent", "--new-session"]
    if _knows(bwrap, "--disable-userns"):
        box += ["--disable-userns"]
    box += ["--proc", "/proc", "--dev", "/dev"]
    seen = dict.fromkeys((*_SYSTEM, sys.base_prefix, sys.prefix, *_package_folders(), _LAUNCH, *map(str, shown)))
    around = [path for path in seen if hidden is not None and hidden.is_relative_to(path)]
    for path in around:
        box += ["--ro-bind-try", path, path]
    if hidden is not None:
        box += ["--tmpfs", str(hidden)]
    for path in seen:
        if path not in around:
            box += ["--ro-bind-try", path, path]
    box += ["--bind", str(folder), str(folder), "--chdir", str(folder)]
    if hidden is not None:
        box += ["--remount-ro", str(hidden)]
    return [*box, "--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/"]


@functools.cache
def _knows(bwrap: str, option: str) -> bool:
    try:
        told = subprocess.run([bwrap, "--help"], capture_output=True, timeout=_PROBE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return option.encode() in told.stdout + told.stderr


def _package_folders() -> tuple[str, ...]:
    found = []
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            found.append(str(Path(spec.submodule_search_locations[0]).resolve()))
    return tuple(found)
