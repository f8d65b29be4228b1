"""What the board is and how it fares, read from /proc, /sys and the file system.

House rules: nothing of a runtime is imported to find it; `importlib.metadata` is not used, since it brings the `email`
package along, 1.5 MB for a version number that stands in a folder's name. A figure that the system does not give is
0.0, never a guess; only a missing amount of memory is an error, since offers are judged by it. Memory and disk in MiB
(2**20 bytes).
"""

import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edge_agent.contract.manifest import Runtime
from edge_agent.contract.messages import Capabilities
from edge_agent.contract.runtimes import DISTRIBUTIONS

MIB = 1024 * 1024
AGENT_DISTRIBUTION = "edgeloop"
_PROC = Path("/proc")
_SYS = Path("/sys")
GENERIC_PROFILE = "generic"
# Device-tree model texts begin with these; the longer stands first.
_BOARDS = (
    ("Raspberry Pi Zero 2", "pi-zero2w"),
    ("Raspberry Pi 5", "pi5"),
    ("Raspberry Pi 4", "pi4"),
    ("Raspberry Pi 3", "pi3"),
)


@dataclass(frozen=True, slots=True)
class Board:
    """What does not change while the agent runs."""

    profile: str
    simulated: bool
    runtimes: dict[str, str]
    agent: str


def find_board(profile: str, *, simulated: bool, offered: Iterable[Runtime]) -> Board:
    """Look once at what is installed; an empty `profile` means to detect it."""
    return Board(profile or detect_profile(), simulated, find_runtimes(offered), agent_version())


def capabilities(board: Board, state_dir: Path) -> Capabilities:
    """Return what the board is and has now.

    Raises:
        OSError: memory or disk cannot be read.
    """
    total, free = memory_mb()
    return Capabilities(
        arch=platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_mb=total,
        memory_free_mb=free,
        disk_free_mb=disk_free_mb(state_dir),
        runtimes=board.runtimes,
        python=platform.python_version(),
        agent=board.agent,
        profile=board.profile,
        simulated=board.simulated,
    )


def find_runtimes(offered: Iterable[Runtime]) -> dict[str, str]:
    """Map the name of each installed runtime of `offered` to its version, without importing it."""
    found: dict[str, str] = {}
    for runtime in offered:
        versions = (_version(name) for name in DISTRIBUTIONS[runtime])
        if (version := next((text for text in versions if text), None)) is not None:
            found[runtime.value] = version
    return found


def agent_version() -> str:
    """Return the installed version of the agent."""
    return _version(AGENT_DISTRIBUTION) or "0"


def detect_profile(model: Path = _PROC / "device-tree" / "model") -> str:
    """Return the profile of the board by its device tree, else `generic`; a 32-bit system has its own profile."""
    try:
        text = model.read_bytes().rstrip(b"\0").decode("ascii", "replace")
    except OSError:
        return GENERIC_PROFILE
    for prefix, profile in _BOARDS:
        if text.startswith(prefix):
            return "pi-32bit" if platform.machine() in ("armv6l", "armv7l") else profile
    return GENERIC_PROFILE


def memory_mb(meminfo: Path = _PROC / "meminfo") -> tuple[float, float]:
    """Return total and available memory.

    Raises:
        OSError: /proc/meminfo is not there, or lacks a line.
    """
    lines = (line.split() for line in meminfo.read_text().splitlines())
    values = {words[0].rstrip(":"): int(words[1]) / 1024 for words in lines if len(words) > 1}
    try:
        return values["MemTotal"], values["MemAvailable"]
    except KeyError as error:
        raise OSError(f"{meminfo} has no line {error}") from error


def disk_free_mb(folder: Path) -> float:
    """Return the free disk that this user may fill.

    Raises:
        OSError: the folder is not there.
    """
    return shutil.disk_usage(folder).free / MIB


def temperature_c(zone: Path = _SYS / "class" / "thermal" / "thermal_zone0" / "temp") -> float:
    """Return the processor's temperature in degrees Celsius, 0.0 where there is no sensor."""
    try:
        return int(zone.read_text()) / 1000
    except (OSError, ValueError):
        return 0.0


def uptime_s(uptime: Path = _PROC / "uptime") -> float:
    """Return how long the board has been up, infinity where that is not known."""
    try:
        return float(uptime.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return float("inf")


class CpuMeter:
    """Share of all processors in use between two readings of /proc/stat."""

    def __init__(self, stat: Path = _PROC / "stat") -> None:
        self._stat = stat
        self._last = (0, 0)

    def percent(self) -> float:
        """Return the share in percent since the last call (since boot at the first), 0.0 where it is not known."""
        try:
            words = self._stat.read_text().split("\n", 1)[0].split()[1:9]
            ticks = [int(word) for word in words]
        except (OSError, ValueError):
            return 0.0
        now = (sum(ticks), sum(ticks[3:5]))  # idle and iowait
        total, idle = now[0] - self._last[0], now[1] - self._last[1]
        self._last = now
        return round(100.0 * (total - idle) / total, 1) if total > 0 else 0.0


def resident_mb(pid: int | None = None) -> float:
    """Return a process's resident memory (this one's by default), 0.0 where it is gone."""
    folder = _PROC / ("self" if pid is None else str(pid))
    try:
        pages = int((folder / "statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def _version(distribution: str) -> str | None:
    """Return an installed distribution's version, by the name of its folder.

    Source: PyPA, "Recording installed projects": `{name}-{version}.dist-info`; Debian's packages have `.egg-info`.
    """
    normal = distribution.replace("-", "_")
    for folder in sys.path:
        try:
            names = [path.name for path in Path(folder).iterdir()]
        except OSError:
            continue
        for name in names:
            stem, _, kind = name.rpartition(".")
            found, _, version = stem.partition("-")
            if kind in ("dist-info", "egg-info") and found.lower().replace(".", "_") == normal and version:
                return version.partition("-py")[0]
    return None
