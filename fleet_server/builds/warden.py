"""Stands outside of the box and watches it: `python -m fleet_server.builds.warden LIMITS FOLDER COMMAND...`.

The command and all that descend from it may together use so much memory, so many processes, and so much disk in their
folder; over it, or when the server asks (SIGTERM) or dies, every one of them is killed. What a limit of the kernel
holds for one process alone, this holds for all; where root is exempt from such a limit, this is the only one.

House rules: standard library only; the last line that it prints says why it ended the command.
"""

import ctypes
import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

_MIB = 2**20
_POLL_S = 0.1
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_WATCHED = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_DEEPEST = 32


@dataclass(frozen=True, slots=True)
class Allowance:
    """What all processes of a build may use together; sizes in MiB. `reserve_mb` stays free on the disk."""

    parent: int
    memory_mb: int
    disk_mb: int
    files: int
    processes: int
    reserve_mb: int

    def write(self) -> str:
        """Return it as one argument of a command."""
        return json.dumps(asdict(self))


def main(arguments: list[str]) -> int:
    """Run the command to its end; return its status, a signal as 128 and its number."""
    allowance, folder, command = Allowance(**json.loads(arguments[0])), arguments[1], arguments[2:]
    libc = ctypes.CDLL(None)
    # Orphans of the command become this one's children, and stay in sight: prctl(2).
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    if os.getppid() != allowance.parent:
        return 1  # the server died before the line above
    try:
        child = os.posix_spawnp(command[0], command, os.environ, setpgroup=0, setsigmask=[])
    except OSError as error:
        return _say(f"the build could not be started: {error}")
    try:
        return _watch(child, folder, allowance)
    finally:
        _end_all(child)


def _watch(child: int, folder: str, allowance: Allowance) -> int:
    while True:
        caught = signal.sigtimedwait(_WATCHED, _POLL_S)
        if caught is not None and caught.si_signo != signal.SIGCHLD:
            return 128 + caught.si_signo
        status = _reap(child)
        if status is not None:
            return status
        if reason := judge_processes(os.getpid(), allowance) or judge_disk(folder, allowance):
            _end_all(child)
            return _say(reason)


def _say(reason: str) -> int:
    with suppress(OSError):  # nobody listens any more
        sys.stdout.write("\n" + json.dumps({"error": reason}) + "\n")
        sys.stdout.flush()
    return 1


def _reap(child: int) -> int | None:
    """Take note of all that ended; return the command's own status once it has."""
    found = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
                found = code if code >= 0 else 128 - code
    return found


def _end_all(child: int) -> None:
    """Kill the command's group at one stroke, then whatever left it, until nothing is there."""
    while True:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        for process in descendants(os.getpid(), 4096):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        signal.sigtimedwait({signal.SIGCHLD}, _POLL_S)


def descendants(process: int, most: int) -> list[int]:
    """Return what descends from a process, the nearest first, and not many more than `most`: proc_pid_task(5)."""
    found: list[int] = []
    waiting = [process]
    while waiting and len(found) <= most:
        parent = waiting.pop(0)
        with suppress(OSError):  # it has ended
            for task in Path(f"/proc/{parent}/task").iterdir():
                children = (task / "children").read_text(encoding="ascii").split()
                found += map(int, children)
                waiting += map(int, children)
    return found


def judge_processes(process: int, allowance: Allowance) -> str | None:
    """Return why the descendants of a process must end, or None: they are too many, or hold too much memory."""
    found = descendants(process, allowance.processes)
    if len(found) > allowance.processes:
        return f"the build started more than {allowance.processes} processes and was ended"
    if sum(map(_memory, found)) > allowance.memory_mb * _MIB:
        return f"the build took more than {allowance.memory_mb} MiB of memory and was ended"
    return None


def _memory(process: int) -> int:
    """Return the bytes of a process's resident memory that no file backs (proc_pid_status(5))."""
    size = 0
    with suppress(OSError), Path(f"/proc/{process}/status").open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith(("RssAnon:", "RssShmem:")):
                size += int(line.split()[1]) * 1024
    return size


def judge_disk(folder: str, allowance: Allowance) -> str | None:
    """Return why what is in a folder is too much, or None; links are not followed."""
    size = files = 0
    waiting = [(folder, 0)]
    while waiting:
        place, depth = waiting.pop()
        if depth > _DEEPEST:
            return f"the build nested folders more than {_DEEPEST} deep and was ended"
        with suppress(OSError), os.scandir(place) as entries:  # it is gone again, or closed to us
            for entry in entries:
                files += 1
                if files > allowance.files:
                    return f"the build made more than {allowance.files} files and was ended"
                with suppress(OSError):
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, depth + 1))
    if size > allowance.disk_mb * _MIB:
        return f"the build wrote more than {allowance.disk_mb} MiB and was ended"
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < allowance.reserve_mb * _MIB:
        return f"the build was ended: less than {allowance.reserve_mb} MiB are free on the server's disk"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
