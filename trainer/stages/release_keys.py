"""The keys of people: root and release keys in a folder, each an encrypted PEM file named by a URI.

`keys.json` says for each key its URI and its public half; the private halves may lie elsewhere, or in a token that
securesystemslib's signers know (`hsm:…`). A holder keeps a copy of `keys.json` and the own key alone.

House rules: private keys are files of mode 0600, never replaced; a passphrase comes from the environment or a prompt,
never from the command line. Foreign exceptions end here.
"""

import getpass
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.exceptions import Error as SecureSystemsError
from securesystemslib.signer import CryptoSigner, Key, Signer, SSlibKey

from edge_agent.contract import codec
from trainer.errors import ConfigurationError, UsageError

KEYS_NAME = "keys.json"
PASSPHRASE = "EDGELOOP_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable, not a passphrase
_LEAST_PASSPHRASE = 12
_FILE = "file2:"


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key: where its private half is, and its public half as securesystemslib writes it, with the `keyid`."""

    uri: str
    public: codec.JsonObject

    def key(self) -> Key:
        """The public half."""
        return public_key(self.public)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """What `keys.json` says, by name (`root-1`, `release-1`)."""

    keys: Mapping[str, HeldKey] = field(default_factory=dict)


@dataclass
class KeyFolder:
    """A folder of keys; with `plain` new ones are written without a passphrase, which is for trying out."""

    root: Path
    plain: bool = False
    _passphrase: bytes | None = None

    def read(self) -> KeyRing:
        """Return what the folder holds.

        Raises:
            UsageError: it holds no keys.
        """
        path = self.root / KEYS_NAME
        try:
            return codec.decode(KeyRing, path.read_bytes())
        except OSError as error:
            raise UsageError(
                f"{self.root} holds no keys: {error}", "make some: trainer keys init KEYS EXCHANGE"
            ) from error
        except codec.MalformedError as error:
            raise ConfigurationError(f"{path}: {error}") from error

    def make(self, kind: str) -> tuple[str, Signer]:
        """Make a key of a kind (`root`, `release`), and return its name and signer."""
        ring = self.read() if (self.root / KEYS_NAME).exists() else KeyRing()
        number = 1 + sum(name.startswith(f"{kind}-") for name in ring.keys)
        name, private = f"{kind}-{number}", Ed25519PrivateKey.generate()
        encryption = NoEncryption() if self.plain else BestAvailableEncryption(self._ask(name, new=True))
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_new(self.root / f"{name}.pem", private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        signer = CryptoSigner(private)
        held = HeldKey(f"{_FILE}{name}.pem", plain_key(signer.public_key))
        made = KeyRing({**ring.keys, name: held})
        replace_file(self.root / KEYS_NAME, codec.encode(made))
        return name, signer

    def signers(self, keyids: frozenset[str]) -> dict[str, Signer]:
        """Return the signers, by name, of those of these keys whose private halves are here.

        Raises:
            ConfigurationError: a private key is there and cannot be used.
        """
        found = {}
        for name, held in self.read().keys.items():
            if held.public.get("keyid") in keyids and (signer := self._open(name, held)) is not None:
                found[name] = signer
        return found

    def _open(self, name: str, held: HeldKey) -> Signer | None:
        try:
            if not held.uri.startswith(_FILE):
                return Signer.from_priv_key_uri(held.uri, held.key(), self._secret)
            path = self.root / held.uri.removeprefix(_FILE)
            if not path.exists():
                return None
            data = path.read_bytes()
            password = self._ask(name, new=False) if b"ENCRYPTED" in data else None
            public = held.key()
            if not isinstance(public, SSlibKey):
                raise ConfigurationError(f"{name} is of a kind that no file holds")
            return CryptoSigner(load_pem_private_key(data, password), public)
        except (OSError, ValueError, TypeError, SecureSystemsError) as error:
            raise ConfigurationError(f"the key {name} cannot be used: {error}", f"is ${PASSPHRASE} right?") from error

    def _secret(self, what: str) -> str:
        return getpass.getpass(f"{what}: ")

    def _ask(self, name: str, *, new: bool) -> bytes:
        if self._passphrase is None:
            given = os.environ.get(PASSPHRASE)
            if given is None:
                if not sys.stdin.isatty():
                    raise UsageError(
                        f"the key {name} needs a passphrase", f"set ${PASSPHRASE}, or run this in a terminal"
                    )
                given = getpass.getpass("Passphrase of the keys: ")
                if new and getpass.getpass("The same once more: ") != given:
                    raise UsageError("the passphrases differ")
            if new and len(given) < _LEAST_PASSPHRASE:
                raise UsageError(f"a passphrase has {_LEAST_PASSPHRASE} characters at least")
            self._passphrase = given.encode()
        return self._passphrase


def plain_key(key: Key) -> dict[str, object]:
    """Return a public key as it is written: securesystemslib's object, with its `keyid`."""
    return {"keyid": key.keyid, **key.to_dict()}


def public_key(plain: codec.JsonObject) -> Key:
    """Return a written public key.

    Raises:
        ConfigurationError: it is none.
    """
    rest = dict(plain)
    try:
        return Key.from_dict(str(rest.pop("keyid")), rest)
    except (KeyError, ValueError, TypeError) as error:
        raise ConfigurationError(f"this is no public key: {error!r}") from error


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    fresh = path.with_name(f".new-{path.name}")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _write_new(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
