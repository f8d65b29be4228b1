"""The online keys of the trust chain: one for the image repository's snapshot and timestamp, one for the director.

House rules: the release key is not here and never was; a stolen online key can withhold and order, and nothing that it
orders runs unless a release key has signed it. Files of mode 0600, encrypted where a passphrase is configured.
"""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner

from edge_agent.contract.trust import DIRECTOR, IMAGE
from fleet_server.store.artifacts import write_durably


@dataclass(frozen=True, slots=True)
class OnlineKeys:
    """The signers by repository, and which of them were made now."""

    image: CryptoSigner
    director: CryptoSigner
    made: tuple[str, ...] = ()

    @property
    def keyids(self) -> dict[str, str]:
        """The ids by repository."""
        return {IMAGE: self.image.public_key.keyid, DIRECTOR: self.director.public_key.keyid}

    @property
    def public(self) -> dict[str, dict[str, object]]:
        """The public halves by repository, as securesystemslib writes them, with their `keyid`."""
        return {
            name: {"keyid": signer.public_key.keyid, **signer.public_key.to_dict()}
            for name, signer in ((IMAGE, self.image), (DIRECTOR, self.director))
        }


def load_online_keys(folder: Path, passphrase: str | None) -> OnlineKeys:
    """Return the online keys in `folder`, made there on the first call.

    Raises:
        OSError: the folder cannot be read or written.
        ValueError: a file there is no Ed25519 key, or the passphrase is another.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = tuple(name for name in (IMAGE, DIRECTOR) if not _path(folder, name).exists())
    for name in made:
        encryption: KeySerializationEncryption = NoEncryption()
        if passphrase is not None:
            encryption = BestAvailableEncryption(passphrase.encode())
        private = Ed25519PrivateKey.generate()
        write_durably(_path(folder, name), private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return OnlineKeys(_load(_path(folder, IMAGE), passphrase), _load(_path(folder, DIRECTOR), passphrase), made)


def _path(folder: Path, repository: str) -> Path:
    return folder / f"online-{repository}.pem"


def _load(path: Path, passphrase: str | None) -> CryptoSigner:
    data = path.read_bytes()
    sealed = b"ENCRYPTED" in data
    if sealed and passphrase is None:
        raise ValueError(f"{path} is encrypted: set $EDGELOOP_SERVER_KEY_PASSPHRASE")
    password = passphrase.encode() if sealed and passphrase is not None else None
    try:
        return CryptoSigner(load_pem_private_key(data, password))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be used: {error}") from error
