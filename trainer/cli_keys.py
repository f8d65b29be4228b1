"""The command `trainer keys`: the ceremony, other keys, and a second person's signature; without a network.

House rules: as `trainer.cli`; the work is in `trainer.stages.signing`.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App

from trainer.cli_options import Flag
from trainer.cli_output import now, print_json, print_table
from trainer.cli_release import Keys
from trainer.errors import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from trainer.stages.signing import SignedRoot

app = App(name="keys", help="Root and release keys, which never lie on a server.")


@app.command
def init(
    keys: Path,
    exchange: Path,
    *,
    no_passphrase: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Make three root keys and a release key, and the first root of both repositories for the server's online keys.

    The keys are encrypted by a passphrase: $EDGELOOP_KEY_PASSPHRASE, else it is asked for.

    Args:
        keys: The folder to write the keys to.
        exchange: The folder that `edgeloop release fetch` wrote.
        no_passphrase: Leave the keys in plain files, which is for trying out.
        json: Print the result as one JSON object.
    """
    from trainer.stages.exchange import ExchangeFolder
    from trainer.stages.release_keys import KeyFolder
    from trainer.stages.signing import start_repositories

    roots = start_repositories(ExchangeFolder(exchange), KeyFolder(keys, plain=no_passphrase), now())
    if not json:
        sys.stdout.write(
            f"root-1, root-2, root-3 and release-1 are in {keys}: give each root key to another person, with a copy of "
            "keys.json, and keep none of them on a server\n"
        )
    return _print_roots(roots, json=json)


@app.command
def show(keys: Path, *, json: Annotated[bool, Flag] = False) -> int:
    """List the keys of a folder: names, ids, and where the private halves are.

    Args:
        keys: The folder of keys.
        json: Print the result as one JSON object.
    """
    from edge_agent.contract.codec import to_plain
    from trainer.stages.release_keys import KeyFolder

    ring = KeyFolder(keys).read()
    if json:
        print_json(to_plain(ring))
    else:
        rows = [(name, str(held.public["keyid"]), held.uri) for name, held in ring.keys.items()]
        print_table(("key", "id", "private half"), rows)
    return EXIT_DONE


@app.command
def rotate(
    exchange: Path,
    *,
    keys: Keys,
    release: Annotated[bool, Flag] = False,
    online: Annotated[bool, Flag] = False,
    root: str | None = None,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Make the next root with other keys, and sign it with the root keys that are here (two must sign it in all).

    Without an option the keys stay, and the root holds for another year.

    Args:
        exchange: The folder that `edgeloop release fetch` wrote.
        keys: The folder of keys that `trainer keys init` made.
        release: Make another release key, and sign the list of bundles by it.
        online: Name the online keys that the server shows now.
        root: Make another root key in the place of this one (such as root-2).
        json: Print the result as one JSON object.
    """
    from trainer.stages import signing
    from trainer.stages.exchange import ExchangeFolder
    from trainer.stages.release_keys import KeyFolder

    wish = signing.Rotation(release, online, root)
    folder = KeyFolder(keys, plain=_are_plain(keys))
    return _print_roots(signing.rotate(ExchangeFolder(exchange), folder, wish, now()), json=json)


@app.command
def sign_root(exchange: Path, *, keys: Keys, json: Annotated[bool, Flag] = False) -> int:
    """Add the signatures of the root keys that are here to the roots that wait in an exchange folder.

    Args:
        exchange: The folder, as another holder of a root key handed it over.
        keys: The folder of the own key, with keys.json.
        json: Print the result as one JSON object.
    """
    from trainer.stages.exchange import ExchangeFolder
    from trainer.stages.release_keys import KeyFolder
    from trainer.stages.signing import cosign

    return _print_roots(cosign(ExchangeFolder(exchange), KeyFolder(keys)), json=json)


def _are_plain(keys: Path) -> bool:
    """Whether the keys of a folder have no passphrase, so that a new one among them has none either."""
    found = sorted(keys.glob("*.pem"))
    return bool(found) and all(b"ENCRYPTED" not in path.read_bytes() for path in found)


def _print_roots(roots: "list[SignedRoot]", *, json: bool) -> int:
    from edge_agent.contract.codec import to_plain

    missing = max(item.missing for item in roots)
    if json:
        print_json({"roots": to_plain(roots), "complete": missing == 0})
    else:
        for item in roots:
            sys.stdout.write(f"root {item.version} of the {item.repository} repository: {item.signatures} signatures\n")
        if missing:
            sys.stdout.write(f"{missing} more must sign: trainer keys sign-root FOLDER --keys KEYS\n")
        else:
            sys.stdout.write("next: edgeloop release push FOLDER\n")
    return EXIT_DONE if missing == 0 else EXIT_FAILED
