"""This process's memory as Linux states it, in MiB (2**20 bytes)."""

import resource
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident and anonymous memory now; the peak of anonymous memory; data memory, which is what RLIMIT_DATA counts.

    Linux keeps a peak of resident memory alone (VmHWM), so the file-backed part of now is taken off it.
    """

    resident_mb: float
    anonymous_mb: float
    anonymous_peak_mb: float
    data_mb: float


def read_memory() -> Memory:
    """Read /proc/self/status."""
    kib = {
        name: int(rest.split()[0])
        for name, _, rest in (line.partition(":") for line in _STATUS.read_text().splitlines())
        if name in ("VmRSS", "VmHWM", "RssAnon", "RssFile", "RssShmem", "VmData")
    }
    peak = max(kib["RssAnon"], kib["VmHWM"] - kib["RssFile"] - kib["RssShmem"])
    return Memory(kib["VmRSS"] / 1024, kib["RssAnon"] / 1024, peak / 1024, kib["VmData"] / 1024)


def limit_memory(megabytes: int) -> None:
    """Bound the data of this process (RLIMIT_DATA), so that a greedy model meets a clean failure to allocate.

    The stock kernel of Raspberry Pi OS has no memory cgroup, so a unit's MemoryMax does nothing there.
    """
    _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = megabytes * 2**20
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
