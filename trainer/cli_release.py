"""The commands `trainer sign`, `yank` and `delegate`: what a release key signs, without a network.

House rules: as `trainer.cli`; the work is in `trainer.stages.signing`, imported when it is needed, and none of it
imports scikit-learn: a server that is being tried out runs `trainer sign` for each version.
"""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from trainer.cli_options import Flag
from trainer.cli_output import now, print_json, print_table
from trainer.errors import EXIT_DONE, UsageError

Keys = Annotated[Path, Parameter(help="The folder of keys that `trainer keys init` made.")]
_PUSH = "next: edgeloop release push FOLDER\n"


def sign(
    exchange: Path,
    *,
    keys: Keys,
    model: str | None = None,
    version: int | None = None,
    built: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    hardware: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    renew: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Sign the bundles that wait in an exchange folder, after a check of each manifest's digest.

    Args:
        exchange: The folder that `edgeloop release fetch` wrote.
        keys: The folder of keys that `trainer keys init` made.
        model: Sign the versions of this model alone.
        version: Sign this version alone.
        built: A version folder that was built here; where it is given, nothing else is signed. Repeatable.
        hardware: A profile that may run the bundles; by default any. Repeatable.
        renew: Sign the list as it is for another year, or above what devices hold after a restore.
        json: Print the result as one JSON object.
    """
    from edge_agent.contract.codec import to_plain
    from edge_agent.contract.trust import ANY_HARDWARE
    from trainer.stages.exchange import ExchangeFolder
    from trainer.stages.release_keys import KeyFolder
    from trainer.stages.signing import Wish, built_digests, renew_targets, sign_bundles

    folder, held = ExchangeFolder(exchange), KeyFolder(keys)
    if renew:
        number = renew_targets(folder, held, now())
        sys.stdout.write(f"signed the list as it is, as its version {number}\n{_PUSH}")
        return EXIT_DONE
    wish = Wish(model, version, hardware or (ANY_HARDWARE,), built_digests(built) if built else None)
    signed = sign_bundles(folder, held, wish, now())
    if json:
        print_json({"signed": [{"target": item.target, **to_plain(item)} for item in signed]})
        return EXIT_DONE
    rows = [(item.model, str(item.version), item.variant, item.digest, ", ".join(wish.hardware)) for item in signed]
    print_table(("model", "version", "variant", "bundle (SHA-256 of its manifest)", "may run on"), rows)
    if not built:
        sys.stdout.write("digests agree with manifests; whether you built these was not checked: give --built FOLDER\n")
    sys.stdout.write(_PUSH)
    return EXIT_DONE


def yank(
    exchange: Path,
    model: str,
    version: int,
    *,
    keys: Keys,
    variant: str | None = None,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Take a version off the list: no device takes it any more, and those that run it get what they ran before.

    Args:
        exchange: The folder that `edgeloop release fetch` wrote.
        model: The model.
        version: The version's number.
        keys: The folder of keys that `trainer keys init` made.
        variant: Take this variant alone away.
        json: Print the result as one JSON object.
    """
    from trainer.stages import signing
    from trainer.stages.exchange import ExchangeFolder
    from trainer.stages.release_keys import KeyFolder

    names = signing.yank(ExchangeFolder(exchange), KeyFolder(keys), model, version, variant, now())
    if json:
        print_json({"yanked": names})
    else:
        sys.stdout.write("".join(f"yanked {name}\n" for name in names) + _PUSH)
    return EXIT_DONE


def delegate(
    exchange: Path,
    model: str,
    *,
    keys: Keys,
    key: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    revoke: Annotated[bool, Flag] = False,
) -> int:
    """Let a key sign what automatic retraining makes of one model, or take that away.

    Args:
        exchange: The folder that `edgeloop release fetch` wrote.
        model: The model; the key signs names below auto/MODEL/ and no other.
        keys: The folder of keys that `trainer keys init` made.
        key: A public key as `python -m fleet_server.autosign make` printed it, in a file. Repeatable.
        revoke: Take the delegation away.
    """
    import json

    from trainer.stages.exchange import ExchangeFolder
    from trainer.stages.release_keys import KeyFolder, public_key
    from trainer.stages.signing import change_delegation

    if bool(key) == revoke:
        raise UsageError("give either --key FILE or --revoke")
    try:
        delegates = [public_key(json.loads(path.read_bytes())) for path in key]
    except (OSError, ValueError) as error:
        raise UsageError(f"no public key: {error}") from error
    change_delegation(ExchangeFolder(exchange), KeyFolder(keys), model, delegates, now())
    what = "nobody signs automatic versions" if revoke else f"{len(delegates)} key(s) may sign automatic versions"
    sys.stdout.write(f"{what} of {model}\n{_PUSH}")
    return EXIT_DONE
