"""The worker's end of the control socket: whole lines in, whole lines out."""

import socket

from edge_agent.core.control import (
    MAX_LINE_BYTES,
    Answer,
    Command,
    Configure,
    Drain,
    Load,
    Serve,
    read_line,
    write_line,
)

_SEND_TIMEOUT_S = 30.0
_RECEIVE_BYTES = 64 * 1024


class SupervisorGoneError(Exception):
    """The supervisor closed its end, or does not read."""


class ControlChannel:
    """Messages over the socket pair; used by the worker's main thread alone."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sock.settimeout(_SEND_TIMEOUT_S)
        self._buffer = bytearray()

    def fileno(self) -> int:
        """Return the socket's descriptor, for polling."""
        return self._sock.fileno()

    def send(self, message: Answer) -> None:
        """Send one message.

        Raises:
            SupervisorGoneError: nobody reads.
        """
        try:
            self._sock.sendall(write_line(message))
        except OSError as error:
            raise SupervisorGoneError(str(error)) from error

    def receive(self) -> list[Command]:
        """Read once from a readable socket and return the commands that are complete.

        Raises:
            SupervisorGoneError: the supervisor closed its end.
            MalformedError: no message of the protocol; a line over its limit counts as one.
        """
        try:
            data = self._sock.recv(_RECEIVE_BYTES)
        except OSError as error:
            raise SupervisorGoneError(str(error)) from error
        if not data:
            raise SupervisorGoneError("the control socket was closed")
        self._buffer += data
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        if len(rest) > MAX_LINE_BYTES:
            raise SupervisorGoneError("a line of the control socket has no end")
        commands: list[Command] = []
        for line in lines:
            message = read_line(line)
            if isinstance(message, (Load, Serve, Configure, Drain)):
                commands.append(message)
        return commands

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()
