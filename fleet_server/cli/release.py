"""`edgeloop release`: what is signed, and the exchange folder that is carried to whoever holds the keys."""

import shutil
from pathlib import Path

from cyclopts import App

from fleet_server.cli.client import FleetClient, connect
from fleet_server.cli.failures import CommandError, Exit
from fleet_server.cli.output import (
    Column,
    Output,
    Row,
    field,
    print_fields,
    print_json,
    print_rows,
    print_table,
    say,
    show_size,
)

app = App(name="release", help="Releases: what is signed, what waits, and the folder that is carried to the keys.")

_SIGNED = "signed"
_RELEASES = (
    Column("MODEL", field("model")),
    Column("VERSION", field("version"), "number"),
    Column("RELEASE", field("state"), "state"),
    Column("SIGNED", field("signed")),
    Column("WAITING", field("waiting")),
    Column("YANKED", field("yanked")),
    Column("MAY RUN ON", field("hardware")),
    Column("AUTOMATIC", field("auto")),
)
_ROLES = (
    Column("REPOSITORY", field("repository")),
    Column("ROLE", field("role")),
    Column("VERSION", field("version"), "number"),
    Column("EXPIRES", field("expires")),
    Column("KEYS", lambda row: _keys(row)),
)


def _keys(row: Row) -> str:
    short = ", ".join(f"{key[:12]}…" for key in row["keys"]) or "delegated"
    return f"{row['threshold']} of {short}" if row["keys"] else short


@app.command(name="list")
def list_releases(*, output: Output = "table") -> None:
    """List every version: signed, unsigned or yanked."""
    with connect() as client:
        rows = client.pages("/releases")
    print_rows(rows, _RELEASES, output, empty="No versions yet. Push one: edgeloop model push DIR")


@app.command
def status(*, output: Output = "table") -> None:
    """Show both repositories: versions, expiries, and which keys sign what."""
    with connect() as client:
        found = client.get("/releases/status")
    if output == "json":
        print_json(found)
        return
    print_table(found["roles"], _ROLES)
    print_fields(
        [
            ("bundles listed", found["listed"]),
            ("pack for devices", show_size(found["pack_bytes"])),
            ("note", found["notice"] or "release keys lie elsewhere"),
        ]
    )


@app.command
def fetch(folder: Path, /) -> None:
    """Write the exchange folder: what the server holds, and what waits for a signature.

    Parameters
    ----------
    folder
        The folder to write; what was signed in it and not pushed is an error, never lost.
    """
    if any((folder / _SIGNED).rglob("*.json")):
        raise CommandError(
            f"{folder} holds signed files that were not pushed",
            "they would be lost",
            f"edgeloop release push {folder}    # or delete {folder / _SIGNED}",
        )
    with connect() as client:
        waiting = _write(client, folder)
    say(f"Wrote {folder}; {waiting} bundles wait for a signature.")
    say(f"Next, where the release key is: trainer sign {folder} --keys KEYS --built DIR")


@app.command
def push(folder: Path, /, *, output: Output = "table") -> None:
    """Send what was signed: the server takes it as a whole, or says what is wrong with it.

    Parameters
    ----------
    folder
        The exchange folder, as it came back from `trainer sign` or `trainer keys`.
    """
    place = folder / _SIGNED
    files = {str(path.relative_to(place)): path.read_text() for path in sorted(place.rglob("*.json"))}
    if not files:
        hint = f"trainer sign {folder} --keys KEYS"
        raise CommandError(f"nothing in {folder} is signed", f"{place} is empty", hint, Exit.USAGE)
    with connect() as client:
        made = client.post("/releases", {"files": files})
        shutil.rmtree(place)
        _write(client, folder)
    if output == "json":
        print_json(made)
        return
    came = "".join(f", root {root}" for root in made["roots"])
    say(f"The server took {len(files)} files{came}; {made['listed']} bundles are listed.")
    say("Next: edgeloop release list, then edgeloop rollout start MODEL VERSION --group GROUP")


def _write(client: FleetClient, folder: Path) -> int:
    """Write the exchange folder anew; return how many bundles wait."""
    files = client.get("/releases/exchange")["files"]
    for name in ("image", "director", "manifests"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for path, text in files.items():
        place = (folder / path).resolve()
        if not place.is_relative_to(folder.resolve()):
            raise CommandError(f"the server named a file outside of the folder: {path!r}", "", "edgeloop doctor")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return sum(path.startswith("manifests/") for path in files)
