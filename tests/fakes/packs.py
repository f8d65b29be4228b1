"""A device's reading of packs: TUF's own client over an image and a director pack, and the document that follows.

House rules: `tuf.ngclient` decides; nothing of the server is imported, so that it cannot agree with itself.
"""

import datetime as dt
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Metadata, Targets
from tuf.ngclient import FetcherInterface, TargetFile, Updater

from edge_agent.contract.messages import Desired, DesiredBundle
from edge_agent.contract.trust import NOTE, DirectorNote, OrderNote, open_pack, read_note


class PackFetcher(FetcherInterface):
    """Fetches metadata from a pack that is at hand."""

    def __init__(self, pack: bytes) -> None:
        self._files = open_pack(pack)

    def _fetch(self, url: str) -> Iterator[bytes]:
        name = url.rsplit("/", 1)[1]
        if name not in self._files:
            raise DownloadHTTPError(f"{unquote(name)} is not in the pack", 404)
        yield self._files[name]


class Trusting:
    """One repository as a device holds it: begins with a root, keeps what it verified."""

    def __init__(self, folder: Path, root: bytes) -> None:
        self.folder = folder
        self._root = root

    def refresh(self, pack: bytes) -> Updater:
        """Take a newer pack as TUF's client does.

        Raises:
            tuf.api.exceptions.RepositoryError: it does not verify.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        updater = Updater(
            metadata_dir=str(self.folder),
            metadata_base_url="pack://metadata/",
            fetcher=PackFetcher(pack),
            bootstrap=self._root,
        )
        updater.refresh()
        return updater

    def targets(self) -> Targets:
        """The targets that were verified last."""
        return Metadata[Targets].from_file(str(self.folder / "targets.json")).signed


def read_order(targets: Targets) -> Desired:
    """Return the document that a director's verified targets say."""
    note = read_note(DirectorNote, targets.unrecognized_fields[NOTE])
    bundles = tuple(_bundle(target) for _, target in sorted(targets.targets.items()))
    return Desired(note.device, targets.version, note.ts, bundles, note.soak, note.settings)


def peek_order(pack: bytes) -> Desired:
    """Return what a director's pack says, unverified: for tests that speak of what is said."""
    files = open_pack(pack)
    (name,) = (name for name in files if name.endswith(".targets.json"))
    return read_order(Metadata[Targets].from_bytes(files[name]).signed)


def verified_order(pack: bytes, image: bytes | None) -> Desired:
    """Return what a director's pack says, after both packs verified from their first roots, and both agree."""
    with tempfile.TemporaryDirectory() as folder:
        director = Trusting(Path(folder) / "director", open_pack(pack)["1.root.json"])
        director.refresh(pack)
        order = director.targets()
        if order.targets:
            assert image is not None, "an order came before what release keys signed"
            updater = Trusting(Path(folder) / "image", open_pack(image)["1.root.json"]).refresh(image)
            for name, target in order.targets.items():
                listed = updater.get_targetinfo(name)
                assert listed is not None, f"{name} is ordered and not listed"
                assert (listed.length, listed.hashes) == (target.length, target.hashes)
        return read_order(order)


def _bundle(target: TargetFile) -> DesiredBundle:
    note = read_note(OrderNote, target.custom)
    return DesiredBundle(
        model=note.model,
        version=note.version,
        variant=note.variant,
        digest=target.hashes["sha256"],
        parcel=note.parcel,
        cohort=note.cohort,
        size=note.size,
        runtime=note.runtime,
        memory_mb=note.memory_mb,
        threshold=note.threshold,
    )


def now_ms() -> int:
    """The real time, which TUF's client goes by."""
    return int(dt.datetime.now(dt.UTC).timestamp() * 1000)
