"""`edgeloop server`: backup and restore of this machine's server, on its data folder.

House rules: a backup holds every key of the fleet, so it is made on the server's machine alone, by the user whose files
they are, and no route of the API hands one out.
"""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getpass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from fleet_server.cli.failures import CommandError, Exit
from fleet_server.cli.output import say

app = App(name="server", help="Back this machine's server up, and restore it.")
VARIABLE = "EDGELOOP_BACKUP_PASSPHRASE"
LEAST_PASSPHRASE = 12

DataDir = Annotated[Path | None, Parameter(name=["--data-dir", "--data"])]
Flag = Annotated[bool, Parameter(negative="")]


@app.command
def backup(file: Path, /, *, data_dir: DataDir = None, verify: Flag = False, force: Flag = False) -> int:
    """Write an encrypted backup of this machine's server; it may run meanwhile.

    In it are the database, the artifacts, the keys, accounts and certificates. The passphrase is asked for, or taken
    from $EDGELOOP_BACKUP_PASSPHRASE; without it nobody can restore the backup.

    Parameters
    ----------
    file
        The file to write. It appears when it is complete, never before.
    data_dir
        Where the server keeps its state; ~/.local/share/edgeloop, or $EDGELOOP_DATA, where it is left out.
    verify
        Read the backup back afterwards, and check every byte of it.
    force
        Replace a file that is there.
    """
    from fleet_server.config import default_data_dir
    from fleet_server.services.backups import check_backup, make_backup

    if file.exists() and not force:
        raise CommandError(f"{file} is there already", "", "choose another name, or add --force", Exit.USAGE)
    passphrase = _passphrase(os.environ, new=True)
    with _explained(f"edgeloop server backup {file}"):
        made = make_backup(data_dir or default_data_dir(), file, passphrase, version("edgeloop"), say)
        say(f"{file}: {made.size} bytes of state, by Edgeloop {made.edgeloop}, schema {made.schema}")
        if verify:
            checked = check_backup(file, passphrase)
            say(f"verified: {checked.files} files, {checked.artifacts} of them artifacts")
    return Exit.DONE


@app.command
def restore(file: Path, /, *, data_dir: DataDir = None, verify: Flag = False, force: Flag = False) -> int:
    """Put a backup in the place of this machine's server, which must not run.

    All of it is checked first: it is restored as a whole or not at all. When the server starts again it hears each
    device before it sends anything to it, and goes on with numbers past all that devices have seen.

    Parameters
    ----------
    file
        The backup.
    data_dir
        Where the server is to keep its state; ~/.local/share/edgeloop, or $EDGELOOP_DATA, where it is left out.
    verify
        Check every byte of the backup, and restore nothing.
    force
        Replace a folder that holds a server's state already; the former one is kept beside it.
    """
    from fleet_server.config import default_data_dir
    from fleet_server.services.backups import check_backup, restore_backup
    from fleet_server.services.clock import iso, now_ms

    place = data_dir or default_data_dir()
    passphrase = _passphrase(os.environ, new=False)
    with _explained(f"edgeloop server restore {file} --verify"):
        if verify:
            checked = check_backup(file, passphrase)
            say(f"{file} is whole: {checked.files} files, made {checked.manifest.created}; nothing was restored")
            return Exit.DONE
        with _unused(place, force=force):
            now = now_ms()
            checked, former = restore_backup(file, place, passphrase, now, say)
    say(f"restored the backup of {checked.manifest.created} into {place} ({iso(now)})")
    if former is not None:
        say(f"what was there is in {former}: remove it when all is well, it holds keys")
    say("next: edgeloop up        # devices are heard before anything is sent to them")
    return Exit.DONE


def _passphrase(environment: "os._Environ[str]", *, new: bool) -> str:
    given = environment.get(VARIABLE)
    if given is None:
        if not sys.stdin.isatty():
            raise CommandError("no passphrase", "there is no terminal to ask on", f"set ${VARIABLE}", Exit.USAGE)
        given = getpass("Passphrase of the backup: ")
        if new and getpass("The same again: ") != given:
            raise CommandError("the two passphrases differ", "", "try again", Exit.USAGE)
    if new and len(given) < LEAST_PASSPHRASE:
        why = f"a backup holds every key of the fleet: {LEAST_PASSPHRASE} characters at least"
        raise CommandError("the passphrase is too short", why, "several random words make a good one", Exit.USAGE)
    return given


@contextmanager
def _unused(place: Path, *, force: bool) -> Iterator[None]:
    """Make sure that no server runs on a folder, and that it may be replaced."""
    if place.exists() and any(place.iterdir()) and not force:
        raise CommandError(
            f"{place} is not empty", "it may hold a server's state", "add --force, or --data-dir", Exit.USAGE
        )
    lock = place / "lock"
    if not lock.exists():
        yield
        return
    with lock.open("rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(f"a server runs on {place}", "", "stop it first") from error
        yield


@contextmanager
def _explained(hint: str) -> Iterator[None]:
    from fleet_server.store.backup_cipher import BackupError

    try:
        yield
    except BackupError as error:
        raise CommandError(str(error), "", hint) from error
    except OSError as error:
        raise CommandError("a file cannot be read or written", str(error), hint) from error
