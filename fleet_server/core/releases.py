"""The words of the rules for releases: what is registered, what is held, what was accepted, and why not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets
from tuf.api.serialization import DeserializationError

from edge_agent.contract.trust import DIRECTOR, IMAGE, target_name

REPOSITORIES = (IMAGE, DIRECTOR)
# Which roles the server's online key of a repository signs.
ONLINE_ROLES: Mapping[str, frozenset[str]] = {
    IMAGE: frozenset({"snapshot", "timestamp"}),
    DIRECTOR: frozenset({"targets", "snapshot", "timestamp"}),
}
# A forgotten key ends by itself.
LONGEST = timedelta(days=2 * 366)

_T = TypeVar("_T", Root, Targets)


class PushRefusedError(ValueError):
    """What was pushed is not taken; the message says what was wrong with it. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that is registered here: its digest, and the length of its manifest in bytes."""

    model: str
    version: int
    variant: str
    digest: str
    length: int
    runtime: str
    auto: bool = False

    @property
    def target(self) -> str:
        """The name of its target."""
        return target_name(self.model, self.version, self.variant, auto=self.auto)


@dataclass(frozen=True, slots=True)
class Listed:
    """A bundle that the image repository lists: by whose role, and for which profiles."""

    bundle: Bundle
    hardware: tuple[str, ...]
    role: str


@dataclass(frozen=True, slots=True)
class Held:
    """What the server holds: newest roots by repository, the image repository's roles, and what may be listed.

    `online` are the ids of the server's own keys by repository, `bundles` what is registered here by target name,
    `yanked` names that were listed once and never return, `floor` the highest targets version that a device reported.
    """

    online: Mapping[str, str]
    roots: Mapping[str, bytes] = field(default_factory=dict)
    roles: Mapping[str, bytes] = field(default_factory=dict)
    bundles: Mapping[str, Bundle] = field(default_factory=dict)
    yanked: frozenset[str] = frozenset()
    floor: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """What holds from now on: roots that are new, by (repository, version), the roles, and all that is listed."""

    roots: Mapping[tuple[str, int], bytes]
    roles: Mapping[str, bytes]
    listed: Mapping[str, Listed]


def parse_metadata(kind: type[_T], data: bytes, at: str) -> Metadata[_T]:
    """Return metadata of a kind.

    Raises:
        PushRefusedError: it is none; `at` says which.
    """
    try:
        found = Metadata[_T].from_bytes(data)
    except (DeserializationError, RepositoryError, ValueError, RecursionError) as error:
        raise PushRefusedError(f"{at} is no TUF metadata: {error}") from error
    if not isinstance(found.signed, kind):
        raise PushRefusedError(f"{at} is metadata of another kind ({found.signed.type})")
    if found.unrecognized_fields or found.signed.unrecognized_fields:
        raise PushRefusedError(f"{at} has fields that nothing here means")
    return found


def check_lifetime(signed: Root | Targets, now: datetime, at: str) -> None:
    """Refuse what has expired, and what would hold for longer than a forgotten key should.

    Raises:
        PushRefusedError: it does not hold now, or for too long.
    """
    if signed.is_expired(now):
        raise PushRefusedError(f"{at} has expired ({signed.expires:%Y-%m-%d}): sign it anew")
    if signed.expires - now > LONGEST:
        raise PushRefusedError(f"{at} would hold until {signed.expires:%Y-%m-%d}: {LONGEST.days} days are the most")
