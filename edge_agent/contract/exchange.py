"""The exchange folder: what travels between the fleet server and whoever holds the release keys, who has no network.

`edgeloop release fetch` writes it, `trainer sign` and its kin add to it below `signed/`, `edgeloop release push` sends
that back. Files by their paths inside of the folder:

- `exchange.json`: an `Exchange`
- `image/`, `director/`: the metadata of both repositories that the server holds, by the names that TUF gives them
- `manifests/DIGEST.json`: the manifests of the bundles that wait for a signature
- `signed/image/`, `signed/director/`: what was signed and waits for the server

House rules: nothing in it is secret, and nothing in it is trusted: the trainer checks digests and what it built itself,
the server checks signatures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.contract import codec
from edge_agent.contract.manifest import Runtime
from edge_agent.contract.topics import check_digest, check_name
from edge_agent.contract.trust import target_name

EXCHANGE_NAME = "exchange.json"
MANIFESTS = "manifests"
SIGNED = "signed"


@dataclass(frozen=True, slots=True)
class Awaiting:
    """A bundle that no release key has signed yet; `auto` where automatic retraining made it."""

    model: str
    version: int
    variant: str
    digest: str
    runtime: Runtime
    auto: bool = False

    def __post_init__(self) -> None:
        check_name(self.model)
        check_name(self.variant)
        check_digest(self.digest)

    @property
    def target(self) -> str:
        """The name of its target."""
        return target_name(self.model, self.version, self.variant, auto=self.auto)

    @property
    def manifest_path(self) -> str:
        """Where its manifest lies inside of the folder."""
        return f"{MANIFESTS}/{self.digest}.json"


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the server says of itself: its online keys (by repository), what waits, and what devices have seen.

    A key is an object as securesystemslib writes it, with its `keyid`. `floor` is the highest version of the image
    repository's targets that a device reported: where it is above the server's own, the server was restored from a
    backup, and what is signed next has to be above it.
    """

    online: Mapping[str, codec.JsonObject] = field(default_factory=dict)
    waiting: tuple[Awaiting, ...] = ()
    floor: int = 0
