"""Bytes in, complete requests out, by httptools where it is installed and by h11 elsewhere.

House rules: both parsers give the same requests and the same refusals under every split of the bytes. After a refusal
or a request that ends the connection, further bytes are ignored. Requests that were complete before a refusal are
still answered. Only the library that is used is imported.
"""

from collections import deque
from typing import Protocol

from edge_agent.adapters.http_message import HttpError, Limits, Request


class RequestParser(Protocol):
    """An incremental parser of one connection's requests."""

    requests: deque[Request]
    error: HttpError | None

    @property
    def mid_request(self) -> bool:
        """Whether a part of a request was received."""

    @property
    def awaits_continue(self) -> bool:
        """Whether the peer waits for `100 Continue` before it sends a body."""

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes; complete requests are appended to `requests`, a refusal is left in `error`."""


def new_parser(limits: Limits) -> RequestParser:
    """Return a parser of the fastest library that is installed."""
    try:
        from edge_agent.adapters.http_httptools import HttptoolsParser
    except ImportError:  # no wheel on 32-bit boards
        from edge_agent.adapters.http_h11 import H11Parser

        return H11Parser(limits)
    return HttptoolsParser(limits)
