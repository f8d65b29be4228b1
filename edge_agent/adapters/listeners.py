"""The listening sockets of the local API, owned by the supervisor and handed to each worker.

House rules: connections queue in the kernel while a worker is replaced. After a kill the old worker may hold the port
for a moment until it sees its supervisor gone, so binding is tried again for a while.
"""

import errno
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

_BACKLOG = 128
_TRY_EVERY_S = 0.1
_SOCKET_MODE = 0o660


def listen_tcp(host: str, port: int, patience_s: float, stop: threading.Event) -> socket.socket:
    """Return a listening TCP socket; port 0 takes any free one.

    Raises:
        OSError: the address is not ours, or still in use after `patience_s` seconds.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline = time.monotonic() + patience_s
    while True:
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline or stop.wait(_TRY_EVERY_S):
                raise
        else:
            return listener


def listen_unix(path: Path) -> socket.socket:
    """Return a listening Unix socket at `path`, in place of one left behind; user and group may connect.

    Raises:
        OSError: the folder is not writable, or something that is no socket is there.
    """
    with suppress(FileNotFoundError):
        if path.is_socket():
            path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(_SOCKET_MODE)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
