"""`python -m fleet_server.autosign`: signs what automatic retraining made of one model, as a process of its own.

It holds a key of its own, which release keys delegate `auto/MODEL/…` to (`trainer delegate`), so that it may sign those
names and no other, and may be taken away. Run it as another user than the server's: then a stolen server has no such
key. It knows an exchange folder and nothing else: no network, no database.

House rules: one order at a time, then it ends; it refuses whatever is not an automatic version of its model.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, TargetFile, Targets
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from edge_agent.contract import codec
from edge_agent.contract.artifacts import sha256
from edge_agent.contract.exchange import EXCHANGE_NAME, SIGNED, Awaiting, Exchange
from edge_agent.contract.manifest import parse_manifest
from edge_agent.contract.topics import check_name
from edge_agent.contract.trust import IMAGE, ReleaseNote, auto_role, note_plain
from fleet_server.store.artifacts import write_durably

_LIFETIME = timedelta(days=30)


class AutosignError(Exception):
    """It is not signed; the message says why."""


def make_key(path: Path) -> str:
    """Make a key at `path` (mode 0600, never replaced), and return its public half as JSON for `trainer delegate`.

    Raises:
        AutosignError: there is a file already, or it cannot be written.
    """
    if path.exists():
        raise AutosignError(f"{path} is there already")
    private = Ed25519PrivateKey.generate()
    try:
        write_durably(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    except OSError as error:
        raise AutosignError(f"{path} cannot be written: {error}") from error
    public = CryptoSigner(private).public_key
    return json.dumps({"keyid": public.keyid, **public.to_dict()})


def sign(model: str, key: Path, folder: Path, now: datetime) -> list[str]:
    """Sign the automatic versions of a model that wait in an exchange folder; return the names of their targets.

    Raises:
        AutosignError: nothing waits, a manifest is not what it is said to be, or the key cannot be used.
    """
    try:
        signer = CryptoSigner(load_pem_private_key(key.read_bytes(), None))
        exchange = codec.decode(Exchange, (folder / EXCHANGE_NAME).read_bytes())
        waiting = [bundle for bundle in exchange.waiting if bundle.auto and bundle.model == check_name(model)]
        targets = _held(folder, auto_role(model))
        version = 1 if targets is None else targets.version + 1
        targets = targets or Targets()
        made = [_target(folder, bundle) for bundle in waiting]
    except (OSError, ValueError, DeserializationError, RepositoryError) as error:
        raise AutosignError(str(error)) from error
    if not made:
        raise AutosignError(f"no automatic version of {model} waits for a signature")
    targets.targets |= {target.path: target for target in made}
    targets.version, targets.expires = version, (now + _LIFETIME).replace(microsecond=0)
    signed = Metadata(targets)
    signed.sign(signer)
    place = folder / SIGNED / IMAGE
    place.mkdir(parents=True, exist_ok=True)
    name = f"{targets.version}.{quote(auto_role(model), '')}.json"
    write_durably(place / name, signed.to_bytes(JSONSerializer(compact=True)))
    return [target.path for target in made]


def _held(folder: Path, role: str) -> Targets | None:
    """Return what the role lists so far, or None before its first time."""
    held = sorted((folder / IMAGE).glob(f"*.{quote(role, '')}.json"), key=lambda path: int(path.name.split(".")[0]))
    return Metadata[Targets].from_file(str(held[-1])).signed if held else None


def _target(folder: Path, bundle: Awaiting) -> TargetFile:
    data = (folder / bundle.manifest_path).read_bytes()
    manifest = parse_manifest(data)
    said = (manifest.model, manifest.variant, manifest.runtime)
    if sha256(data) != bundle.digest or said != (bundle.model, bundle.variant, bundle.runtime):
        raise AutosignError(f"{bundle.target}: its manifest is another")
    made = TargetFile.from_data(bundle.target, data, ["sha256"])
    note = ReleaseNote(bundle.model, bundle.version, bundle.variant, bundle.runtime)
    made.unrecognized_fields["custom"] = note_plain(note)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one order; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fleet_server.autosign", description=(__doc__ or "").split("\n")[0])
    orders = parser.add_subparsers(dest="order", required=True)
    make = orders.add_parser("make", help="make a key, and print its public half")
    make.add_argument("key", type=Path)
    make.add_argument("--public", type=Path, help="write the public half to this file instead")
    one = orders.add_parser("sign", help="sign the automatic versions of a model in an exchange folder")
    one.add_argument("model")
    one.add_argument("folder", type=Path)
    one.add_argument("--key", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        if given.order == "make":
            lines = [make_key(given.key)]
            if given.public is not None:
                write_durably(given.public, lines.pop().encode())
        else:
            lines = [f"signed {name}" for name in sign(given.model, given.key, given.folder, datetime.now(UTC))]
    except (AutosignError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
