"""Limits itself, then becomes a command: `python launch.py MEMORY_MB CPU_S FILE_MB TASKS COMMAND...`.

House rules: standard library only, and nothing of this project: inside of the box there is only this file. It sets its
limits there, since the kernel counts a user's tasks by user namespace.
"""

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

_MIB = 2**20
_OPEN_FILES = 1024
# Between the soft limit, which ends with a name (SIGXCPU), and the hard one.
_CPU_GRACE_S = 5
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Limit this process and replace it by the command."""
    memory_mb, cpu_s, file_mb, tasks = (int(text) for text in arguments[:4])
    # Whoever started this outlives it, or takes it along: prctl(2).
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    all_tasks = tasks + _own_tasks()
    for kind, soft, hard in (
        (resource.RLIMIT_DATA, memory_mb * _MIB, memory_mb * _MIB),
        (resource.RLIMIT_CPU, cpu_s, cpu_s + _CPU_GRACE_S),
        (resource.RLIMIT_FSIZE, file_mb * _MIB, file_mb * _MIB),
        (resource.RLIMIT_NOFILE, _OPEN_FILES, _OPEN_FILES),
        # Root is exempt from it: the warden counts as well.
        (resource.RLIMIT_NPROC, all_tasks, all_tasks),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        most = resource.getrlimit(kind)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(kind, (soft, hard))
    os.execvp(arguments[4], arguments[4:])  # noqa: S606 - the command is the server's own list


def _own_tasks() -> int:
    """Return how many tasks of this user are seen from here: in the box those in it, else all of the machine's."""
    count = 0
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):  # it has ended
                if process.stat().st_uid == os.getuid():
                    count += sum(1 for _ in (process / "task").iterdir())
    return count


if __name__ == "__main__":
    main(sys.argv[1:])
