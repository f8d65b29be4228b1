"""How often somebody may try: moving windows in memory, for each process by itself.

House rules: a limit ends by itself, so nobody is locked out for ever; who is over it learns when to come again; what is
counted is a name, a key or an address, and an IPv6 address by its /64, which one household owns.
"""

import ipaddress
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from fleet_server.services.errors import ServiceError


class ThrottledError(ServiceError):
    """Too many requests; it may be asked again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` within any `window_s` seconds."""

    count: int
    window_s: int


class Kind(StrEnum):
    """What is counted: of each key or user `requests`; of each name `wrong passwords`; of each address the others."""

    ASKER = "requests"
    OPEN = "requests without a key"
    ENROL = "enrolments"
    SIGNIN = "attempts to sign in"
    REFUSED = "refused secrets"
    PASSWORD = "wrong passwords"  # noqa: S105 - words, no password


# A fleet of thousands may enrol from one address in a row, and a program may poll: these stop floods, not work.
RATES: Mapping[Kind, Rate] = {
    Kind.ASKER: Rate(12_000, 60),
    Kind.OPEN: Rate(1200, 60),
    Kind.ENROL: Rate(6000, 60),
    Kind.SIGNIN: Rate(30, 60),
    Kind.REFUSED: Rate(600, 60),
    Kind.PASSWORD: Rate(10, 300),
}


class Throttle:
    """Counts; one for the whole process."""

    def __init__(self, rates: Mapping[Kind, Rate] = RATES) -> None:
        self._items = {kind: RateLimitItemPerSecond(rate.count, rate.window_s) for kind, rate in rates.items()}
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def count(self, kind: Kind, who: str) -> None:
        """Count one of `kind` for `who`.

        Raises:
            ThrottledError: there were too many; this one is not counted.
        """
        item = self._items[kind]
        if not self._limiter.hit(item, kind, who):
            # The library's windows are on the wall clock.
            left = math.ceil(self._limiter.get_window_stats(item, kind, who).reset_time - time.time())
            left = min(item.get_expiry(), max(1, left))
            raise ThrottledError(
                f"too many {kind}: {item.amount} within {item.get_expiry()} s are allowed; try again in {left} s", left
            )

    def forgive(self, kind: Kind, who: str) -> None:
        """Forget what was counted of `kind` for `who`."""
        self._limiter.clear(self._items[kind], kind, who)


def name_address(host: str | None) -> str:
    """Return what an address is counted by: itself, or its /64 for IPv6."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return host or "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
