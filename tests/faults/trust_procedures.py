"""The durable procedures of trust: pinned roots, packs, metadata and floors; see `durable_procedures`."""

from pathlib import Path

from edge_agent.adapters.trust_floors import FILE_NAME, Floors, RoleVersion
from edge_agent.adapters.trust_state import HISTORY, DistrustedError, TrustState, install_roots
from edge_agent.contract.trust import DIRECTOR, IMAGE
from tests.fakes.disk_calls import Recorder
from tests.faults.durable_procedures import ABSENT, NEW, OLD, Procedure, Seen, nothing, seen

_KEYS = frozenset({"key"})
_FILES = ("timestamp.json", f"{HISTORY}/1.root.json")


def pin(folder: Path, disk: Recorder) -> None:
    install_roots(folder, NEW, NEW)
    disk.promise()


def read_pinned(folder: Path) -> Seen:
    found = []
    for repository in (IMAGE, DIRECTOR):
        try:
            found.append(TrustState(folder).pinned(repository).decode())
        except DistrustedError:
            found.append(ABSENT)
    return tuple(found)


def keep_pack(folder: Path, disk: Recorder) -> None:
    TrustState(folder).keep_pack(IMAGE, NEW.encode())
    disk.promise()


def read_pack(folder: Path) -> Seen:
    return (TrustState(folder).pack(IMAGE) or b"").decode()


def verified(folder: Path, name: str) -> Path:
    """Metadata as a verification leaves it in its workspace."""
    for file in _FILES:
        path = folder / f"verified-{name}" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder / f"verified-{name}"


def held_metadata(folder: Path) -> None:
    TrustState(folder).keep(IMAGE, verified(folder, OLD))
    verified(folder, NEW)


def keep_metadata(folder: Path, disk: Recorder) -> None:
    TrustState(folder).keep(IMAGE, folder / f"verified-{NEW}")
    disk.promise()


def keep_after_a_cut(folder: Path) -> None:
    """A flip that was cut between its renames: the old is gone, the next not yet in its place."""
    held_metadata(folder)
    (folder / "trust" / IMAGE).rename(folder / "trust" / f".next-{IMAGE}")


def read_metadata(folder: Path) -> Seen:
    return frozenset((name, data.decode()) for name, data in TrustState(folder).cached(IMAGE).items())


def whole(content: str) -> Seen:
    """All files of one verification."""
    return frozenset((Path(file).name, content) for file in _FILES)


def raise_floor(folder: Path, version: int) -> None:
    with Floors.open(folder / FILE_NAME) as floors:
        role = RoleVersion("targets", version, _KEYS, 1, f"content {version}")
        floors.raise_to(IMAGE, [role], [role])


def raise_over(folder: Path, disk: Recorder) -> None:
    raise_floor(folder, 2)
    disk.promise()


def read_floor(folder: Path) -> Seen:
    with Floors.open(folder / FILE_NAME) as floors:
        floor = floors.in_force(IMAGE, RoleVersion("targets", 0, _KEYS, 1))
        return floors.held(IMAGE, "targets"), floor and (floor.version, floor.digest)


TRUST: dict[str, Procedure] = {
    "pinned roots": Procedure(
        nothing,
        pin,
        read_pinned,
        (seen((ABSENT, ABSENT), (NEW, ABSENT), (NEW, NEW)), seen((NEW, NEW))),
    ),
    "a pack": Procedure(
        lambda folder: TrustState(folder).keep_pack(IMAGE, OLD.encode()),
        keep_pack,
        read_pack,
        (seen(OLD, NEW), seen(NEW)),
    ),
    "trust metadata": Procedure(
        held_metadata,
        keep_metadata,
        read_metadata,
        (seen(whole(OLD), whole(NEW)), seen(whole(NEW))),
        spare=("trust/.next-image", "trust"),  # flushed as it came; a reader finds it there, too
    ),
    "trust metadata after a cut": Procedure(
        keep_after_a_cut,
        keep_metadata,
        read_metadata,
        (seen(whole(OLD), whole(NEW)), seen(whole(NEW))),
        spare=("trust/.next-image", "trust", "trust/.next-image", "trust"),  # as above, for the old ones too
    ),
    "floors": Procedure(
        lambda folder: raise_floor(folder, 1),
        raise_over,
        read_floor,
        (seen((1, (1, "content 1")), (2, (2, "content 2"))), seen((2, (2, "content 2")))),
        spare=(".", "trust.db-journal"),  # of the start; SQLite flushes its journal again after counting the records
    ),
}
