"""`python -m edge_agent.worker`: started by the supervisor with its end of the control socket and the listeners."""

import argparse
import logging
import os
import socket
import sys

from edge_agent.adapters.lean_import import without_openssl_hashes

with without_openssl_hashes():
    from edge_agent.adapters.http_message import Limits
    from edge_agent.adapters.marks import Marker
    from edge_agent.worker.app import Worker
    from edge_agent.worker.channel import ControlChannel
    from edge_agent.worker.memory import limit_memory


def main(arguments: list[str] | None = None) -> int:
    """Run one worker; 0 when it was drained or its supervisor ended."""
    options = _parse(arguments)
    # Also in the unit and the adapter; here it covers whatever imports the runtime first.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    logging.basicConfig(level=options.log_level.upper(), format="%(levelname)s worker %(name)s %(message)s")
    if options.memory_mb:
        limit_memory(options.memory_mb)
    channel = ControlChannel(socket.socket(fileno=options.control_fd))
    listeners = [socket.socket(fileno=fd) for fd in options.listen_fd]
    limits = Limits(body_bytes=options.max_body_kib * 1024, connections=options.max_connections)
    marker = Marker(options.marks_fd)
    clean = Worker(channel, listeners, limits=limits, threads=options.threads, marker=marker).run()
    channel.close()
    if not clean:
        # A thread sits in a runtime that does not return; an orderly end would wait for it.
        sys.stderr.flush()
        os._exit(0)
    for listener in listeners:
        listener.close()
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m edge_agent.worker")
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--listen-fd", type=int, action="append", default=[])
    parser.add_argument("--marks-fd", type=int, default=-1, help="shared memory that says which models are at work")
    parser.add_argument("--memory-mb", type=int, default=0, help="limit of the process's data in MiB; 0: none")
    parser.add_argument("--threads", type=int, default=1, help="threads of one inference")
    parser.add_argument("--max-body-kib", type=int, default=1024)
    parser.add_argument("--max-connections", type=int, default=64)
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
