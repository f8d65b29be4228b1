"""Limits itself, then becomes a command: `python -m fleet_server.builds.launch MEMORY_MB CPU_S FILE_MB COMMAND...`.

House rules: standard library only; it runs in a process of its own, between the server and the sandbox.
"""

import os
import resource
import sys

_MIB = 2**20
_OPEN_FILES = 1024


def main(arguments: list[str]) -> None:
    """Limit this process and replace it by the command."""
    memory_mb, cpu_s, file_mb = (int(text) for text in arguments[:3])
    for kind, value in (
        (resource.RLIMIT_DATA, memory_mb * _MIB),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, file_mb * _MIB),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (limit, limit))
    os.execvp(arguments[3], arguments[3:])  # noqa: S606 - the command is the server's own list


if __name__ == "__main__":
    main(sys.argv[1:])
