"""Every durable procedure of the agent as data: what is there before, what is done, and what a reader may see after it.

A procedure promises as it goes (`promise`); what was promised, a power cut must not take back. Readers are the agent's
own, opened on what a cut left, as its next start does.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path

from edge_agent.adapters import durable
from edge_agent.adapters.artifacts import ChunkStore, RejectedBytesError
from edge_agent.adapters.identity import FILE_NAME, Identity, load_identity, save_identity
from edge_agent.adapters.markers import Markers
from edge_agent.adapters.slots import Slots
from edge_agent.contract import codec
from edge_agent.contract.artifacts import Parcel, sha256
from edge_agent.contract.messages import Desired
from tests.fakes.agent_bundles import make_bundle
from tests.fakes.disk_calls import Recorder

Seen = Hashable
CHUNK = b"a chunk of bytes" * 40
BUNDLE = make_bundle(chunk_bytes=1 << 17)
SETS = [Desired("dev", seq, 0, ()) for seq in range(1, 6)]
OLD, NEW, ABSENT = "old", "new", "absent"


@dataclass(frozen=True)
class Procedure:
    """`before` makes the folder, `act` does and promises, `read` looks at what is left of it.

    `allowed[n]` is what may be seen after n promises. `spare` flushes may be forgotten without harm here, since they
    are for what an earlier process left or only bound what is left over.
    """

    before: Callable[[Path], object]
    act: Callable[[Path, Recorder], object]
    read: Callable[[Path], Seen]
    allowed: tuple[frozenset[Seen], ...]
    spare: tuple[str, ...] = ()


def identity(server_url: str) -> Identity:
    return Identity("dev", "1" * 64, server_url, "edgeloop/v1", "localhost", 1883, "secret")


def read_identity(folder: Path) -> Seen:
    if not (folder / FILE_NAME).exists():
        return ABSENT
    return load_identity(folder).server_url


def rewrite_identity(folder: Path, disk: Recorder) -> None:
    save_identity(folder, identity(NEW))
    disk.promise()


def first_identity(folder: Path, disk: Recorder) -> None:
    durable.make_folder(folder / "var" / "state")
    save_identity(folder / "var" / "state", identity(NEW))
    disk.promise()


def chunks(folder: Path) -> ChunkStore:
    store = ChunkStore(folder / "chunks")
    store.prepare()
    return store


def store_chunk(folder: Path, disk: Recorder) -> None:
    chunks(folder).put(sha256(CHUNK), CHUNK)
    disk.promise()


def read_chunk(folder: Path) -> Seen:
    """What `has` says must hold: a chunk that is here is whole, or it would not be asked for again."""
    store = chunks(folder)
    if not store.has(sha256(CHUNK)):
        return ABSENT
    return NEW if store.get(sha256(CHUNK)) == CHUNK else "other"


def drop_chunks(folder: Path, _disk: Recorder) -> None:
    chunks(folder).keep_only(())


def stocked(folder: Path) -> tuple[ChunkStore, Slots]:
    store, slots = chunks(folder), Slots(folder / "bundles")
    slots.prepare()
    for digest, data in BUNDLE.chunks.items():
        store.put(digest, data)
    return store, slots


def stage_bundle(folder: Path, disk: Recorder) -> None:
    store, slots = ChunkStore(folder / "chunks"), Slots(folder / "bundles")
    slots.prepare()
    slots.stage(BUNDLE.desired, codec.decode(Parcel, BUNDLE.chunks[BUNDLE.desired.parcel]), store)
    disk.promise()


def place_bundle(folder: Path) -> None:
    stocked(folder)
    stage_bundle(folder, Recorder())
    chunks(folder).keep_only(())


def remove_bundle(folder: Path, _disk: Recorder) -> None:
    Slots(folder / "bundles").keep_only(())


def read_bundle(folder: Path) -> Seen:
    """A folder named by a digest is complete; after the start nothing half made is left."""
    slots = Slots(folder / "bundles")
    slots.prepare()
    left = {path.name for path in (folder / "bundles").iterdir()}
    assert left <= {BUNDLE.desired.digest}, left
    if not slots.has(BUNDLE.desired.digest):
        return ABSENT
    try:
        slots.verify(BUNDLE.desired)
    except RejectedBytesError as error:
        return error.detail
    return NEW


def mark_twice(folder: Path, disk: Recorder) -> None:
    markers = Markers(folder / "good")
    markers.prepare()
    markers.see(boot=5, highest_seq=3)
    disk.promise()
    markers.mark(SETS[2], ())
    disk.promise()


def marked_once(folder: Path) -> None:
    markers = Markers(folder / "good")
    markers.prepare()
    markers.see(boot=4, highest_seq=2)
    markers.mark(SETS[0], ())
    markers.mark(SETS[1], ())


def read_markers(folder: Path) -> Seen:
    markers = Markers(folder / "good")
    markers.prepare()
    update = markers.rebuilt()
    return markers.boot, update and (update.good and update.good.seq, update.highest_seq)


def flip_before(folder: Path) -> None:
    """As a trust store keeps its metadata: a folder for each generation, and a pointer to the one that holds."""
    flip(folder, OLD)


def flip(folder: Path, name: str) -> None:
    if not (folder / name).is_dir():
        staging = folder / f".staging-{name}"
        durable.make_folder(staging)
        for file in ("root.json", "targets.json"):
            durable.write_pieces(staging / file, [name.encode()])
        durable.place_folder(staging, folder / name)
    durable.write_file(folder / "current", name.encode())


def flip_over(folder: Path, disk: Recorder) -> None:
    flip(folder, NEW)
    disk.promise()
    durable.remove_folder(folder / OLD)


def read_flipped(folder: Path) -> Seen:
    durable.clear_remains(folder, ".staging-*")
    current = folder / (folder / "current").read_text()
    return tuple((current / file).read_text() for file in ("root.json", "targets.json"))


def nothing(_folder: Path) -> None:
    pass


def seen(*values: Seen) -> frozenset[Seen]:
    return frozenset(values)


FILES: dict[str, Procedure] = {
    "the first identity": Procedure(
        nothing,
        first_identity,
        lambda folder: read_identity(folder / "var" / "state"),
        (seen(ABSENT, NEW), seen(NEW)),
        spare=("var", "var/state"),  # empty as yet
    ),
    "another identity": Procedure(
        lambda folder: save_identity(folder, identity(OLD)),
        rewrite_identity,
        read_identity,
        (seen(OLD, NEW), seen(NEW)),
    ),
    "a chunk": Procedure(nothing, store_chunk, read_chunk, (seen(ABSENT, NEW), seen(NEW)), spare=("chunks",)),
    "chunks removed": Procedure(
        lambda folder: store_chunk(folder, Recorder()),
        drop_chunks,
        read_chunk,
        (seen(NEW, ABSENT),),
        spare=("chunks", "."),  # of the start; one that comes back is removed again
    ),
    "a bundle": Procedure(
        stocked,
        stage_bundle,
        read_bundle,
        (seen(ABSENT, NEW), seen(NEW)),
        spare=("bundles", "."),  # of the start
    ),
    "a bundle removed": Procedure(place_bundle, remove_bundle, read_bundle, (seen(NEW, ABSENT),)),
    "markers": Procedure(
        marked_once,
        mark_twice,
        read_markers,
        (
            seen((4, (2, 2)), (5, (2, 2))),
            seen((5, (2, 2)), (5, (3, 3))),
            seen((5, (3, 3))),
        ),
        spare=("good", "."),  # of the start
    ),
    "a flip of folders": Procedure(
        flip_before,
        flip_over,
        read_flipped,
        (seen((OLD, OLD), (NEW, NEW)), seen((NEW, NEW))),
        spare=(".staging-new", ".", "."),  # empty as yet; of the removal, which this reader does not look at
    ),
}
