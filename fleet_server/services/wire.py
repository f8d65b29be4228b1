"""What services need of the broker, and no more; `fleet_server.app` joins it to `fleet_server.broker`.

House rules: every call may be repeated; a call that returns has the broker's acknowledgement; `OSError` means that the
broker cannot be reached now.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edge_agent.contract.messages import Get


@dataclass(frozen=True, slots=True)
class Contact:
    """How devices reach the fleet: what an enrolment tells them. `ca_pem` is absent where there is no TLS."""

    host: str
    port: int
    topic_root: str
    ca_pem: str | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """Counters of the server's connection since it began; `passed_over` counts by reason what did not count."""

    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    chunk_bytes_out: int = 0
    passed_over: Mapping[str, int] = field(default_factory=dict)


class Wire(Protocol):
    """The server's end of the broker."""

    @property
    def connected(self) -> bool:
        """Whether the broker is there now."""
        ...

    @property
    def generation(self) -> int:
        """How many times the broker was connected: a new number may be a broker that has lost everything."""
        ...

    def forget(self, device: str) -> None:
        """Accept any order of a removed device's messages again: it may be enrolled anew."""
        ...

    def traffic(self) -> Traffic:
        """Return the counters."""
        ...

    def ship(self, cohort: str, parcel: bytes, read: Callable[[str], bytes]) -> None:
        """Publish a parcel and its chunks for a cohort; what the broker already holds is not sent again."""
        ...

    def take_down(self, cohort: str, digests: Collection[str]) -> None:
        """Clear chunks that no device of the cohort needs any more."""
        ...

    def publish(self, device: str, pack: bytes) -> None:
        """Publish a device's director pack, retained."""
        ...

    def publish_trust(self, repository: str, pack: bytes) -> None:
        """Publish the pack of a repository that all devices read, retained."""
        ...

    def clear(self, device: str) -> None:
        """Clear what is retained for and from a removed device."""
        ...

    def answer(self, device: str, get: Get, allowed: Collection[str], read: Callable[[str], bytes]) -> int:
        """Send a device the chunks that it asks for, of those allowed; return how many."""
        ...


class Accounts(Protocol):
    """The broker's accounts of devices."""

    @property
    def certificates(self) -> bool:
        """Whether the broker knows devices by the fleet's certificates; else by passwords."""
        ...

    def add(self, device: str, password: str | None, cohort: str) -> None:
        """Let a device in, or give it another password; it works when this returns."""
        ...

    def remove(self, device: str) -> None:
        """Lock a device out: when this returns its session may read and write nothing."""
        ...

    def end_session(self, device: str) -> None:
        """Have the list of revoked certificates read, and end the session of a device that is locked out."""
        ...

    def devices(self) -> frozenset[str]:
        """Return the devices that are let in."""
        ...

    def denied(self) -> frozenset[str]:
        """Return the devices that are locked out."""
        ...

    def forget(self, devices: Collection[str]) -> None:
        """Keep no record of these locked-out devices: no certificate of theirs is valid any more."""
        ...

    def reload(self) -> None:
        """Have the broker read the list of revoked certificates again."""
        ...
