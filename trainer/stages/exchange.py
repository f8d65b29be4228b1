"""The exchange folder on disk: what the server shows, and what was signed for it (`edge_agent.contract.exchange`).

House rules: what is signed but not pushed yet is changed further, not numbered anew, so that a push is always one step.
"""

import re
from pathlib import Path
from typing import TypeVar

from securesystemslib.signer import Key
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from edge_agent.contract import codec
from edge_agent.contract.artifacts import sha256
from edge_agent.contract.exchange import EXCHANGE_NAME, SIGNED, Awaiting, Exchange
from edge_agent.contract.manifest import Manifest, parse_manifest
from edge_agent.contract.trust import IMAGE
from trainer.errors import ConfigurationError, RejectedError, UsageError
from trainer.stages.release_keys import public_key, replace_file

T = TypeVar("T", Root, Targets)
_FETCH = "edgeloop release fetch FOLDER"


class ExchangeFolder:
    """One exchange folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self) -> Exchange:
        """Return what the server says.

        Raises:
            UsageError: this is no exchange folder.
        """
        try:
            return codec.decode(Exchange, (self._root / EXCHANGE_NAME).read_bytes())
        except OSError as error:
            raise UsageError(f"{self._root} is no exchange folder: {error}", f"make one: {_FETCH}") from error
        except codec.MalformedError as error:
            raise ConfigurationError(f"{self._root / EXCHANGE_NAME}: {error}", f"make it anew: {_FETCH}") from error

    def online_key(self, repository: str) -> Key:
        """Return the server's online key of a repository.

        Raises:
            ConfigurationError: the server shows none.
        """
        found = self.read().online.get(repository)
        if found is None:
            raise ConfigurationError(f"the server shows no online key of {repository}", f"fetch again: {_FETCH}")
        return public_key(found)

    def manifest(self, bundle: Awaiting) -> tuple[bytes, Manifest]:
        """Return a waiting bundle's manifest, as bytes and as read.

        Raises:
            RejectedError: it is not the one that is named.
        """
        try:
            data = (self._root / bundle.manifest_path).read_bytes()
            manifest = parse_manifest(data)
        except (OSError, codec.MalformedError) as error:
            raise RejectedError(f"{bundle.target}: {error}", f"fetch again: {_FETCH}") from error
        if sha256(data) != bundle.digest:
            raise RejectedError(f"{bundle.target}: {bundle.manifest_path} has another digest", f"fetch again: {_FETCH}")
        if (manifest.model, manifest.variant, manifest.runtime) != (bundle.model, bundle.variant, bundle.runtime):
            raise RejectedError(f"{bundle.target}: its manifest is of {manifest.model} {manifest.variant}")
        return data, manifest

    def root(self, repository: str) -> Metadata[Root]:
        """Return the newest root of a repository, signed and waiting or held by the server.

        Raises:
            UsageError: there is none yet.
        """
        found = self._newest(repository, "root", Root)
        if found is None:
            raise UsageError(f"the {repository} repository has no root yet", "trainer keys init KEYS EXCHANGE")
        return found

    def held_root(self, repository: str) -> Metadata[Root] | None:
        """Return the newest root of a repository that the server holds, or None."""
        return self._read_newest(self._root / repository, "root", Root)

    def targets(self) -> Metadata[Targets]:
        """Return the newest targets of the image repository, signed and waiting or held by the server.

        Raises:
            UsageError: there are none yet.
        """
        found = self._newest(IMAGE, "targets", Targets)
        if found is None:
            raise UsageError("the image repository has no targets yet", "trainer keys init KEYS EXCHANGE")
        return found

    def next_version(self, repository: str, role: str) -> int:
        """Return the number that changed metadata gets: one above what the server and devices hold."""
        if role == "root":
            root = self.held_root(repository)
            return 1 if root is None else root.signed.version + 1
        held = self._read_newest(self._root / repository, role, Targets)
        return 1 + max(0 if held is None else held.signed.version, self.read().floor)

    def write(self, repository: str, role: str, metadata: Metadata[Root] | Metadata[Targets]) -> Path:
        """Put signed metadata where `edgeloop release push` finds it; return its path."""
        folder = self._root / SIGNED / repository
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"*.{role}.json"):
            old.unlink()
        path = folder / f"{metadata.signed.version}.{role}.json"
        replace_file(path, metadata.to_bytes(JSONSerializer(compact=True)))
        return path

    def _newest(self, repository: str, role: str, kind: type[T]) -> Metadata[T] | None:
        waiting = self._read_newest(self._root / SIGNED / repository, role, kind)
        return waiting or self._read_newest(self._root / repository, role, kind)

    def _read_newest(self, folder: Path, role: str, kind: type[T]) -> Metadata[T] | None:
        names = [match for path in folder.glob(f"*.{role}.json") if (match := re.fullmatch(r"(\d+)\..*", path.name))]
        if not names:
            return None
        path = folder / max(names, key=lambda match: int(match[1]))[0]
        try:
            found = Metadata[T].from_bytes(path.read_bytes())
        except (DeserializationError, RepositoryError, OSError) as error:
            raise ConfigurationError(f"{path}: {error}", f"fetch again: {_FETCH}") from error
        if not isinstance(found.signed, kind):
            raise ConfigurationError(f"{path} is no metadata of the role {role}", f"fetch again: {_FETCH}")
        return found
