"""Where a device keeps what its trust rests on: pinned roots, verified metadata, and the newest packs it was shown.

    trust/pinned/{image,director}.json   the roots of the enrolment, written once
    trust/{image,director}/              metadata as it was verified last: names without versions, and `root_history/`
    trust/.next-{image,director}/        the same, in the instant in which it takes its place
    trust/packs/{image,director}.pack    the newest packs, unverified
    trust.db                             floors (see `trust_floors`)

House rules: nothing here imports python-tuf, so that enrolment and supervisor may use it. What is written is durable.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_agent.adapters import durable
from edge_agent.adapters.trust_floors import FILE_NAME as FLOORS_NAME
from edge_agent.contract.states import Reason
from edge_agent.contract.trust import DIRECTOR, IMAGE, MAX_PACK_BYTES

REPOSITORIES = (IMAGE, DIRECTOR)
HISTORY = "root_history"
_NEXT = ".next-"
_MAX_FILE_BYTES = 8 * 1024 * 1024


class DistrustedError(Exception):
    """Something is not to be acted upon; `reason` says why."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def install_roots(state_dir: Path, image_root: str, director_root: str) -> None:
    """Pin the roots of an enrolment, durably, and forget all that another server's roots stood for.

    Raises:
        OSError: the folder is not writable.
    """
    shutil.rmtree(state_dir / "trust", ignore_errors=True)
    for leftover in ("", "-journal", ".damaged"):
        (state_dir / f"{FLOORS_NAME}{leftover}").unlink(missing_ok=True)
    pinned = state_dir / "trust" / "pinned"
    pinned.mkdir(parents=True)
    for name, root in zip(REPOSITORIES, (image_root, director_root), strict=True):
        durable.write_file(pinned / f"{name}.json", root.encode())
    for folder in (pinned.parent, state_dir):
        durable.sync_folder(folder)


class TrustState:
    """The files of one state folder."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "trust"
        self.floors = state_dir / FLOORS_NAME

    def pinned(self, repository: str) -> bytes:
        """Return the root that the enrolment pinned.

        Raises:
            DistrustedError: it is not here, so nothing of the repository can be believed.
        """
        path = self._folder / "pinned" / f"{repository}.json"
        try:
            return path.read_bytes()
        except OSError as error:
            detail = f"{repository}: no root is pinned here ({path}: {error.strerror}); enrol this device again"
            raise DistrustedError(Reason.BAD_SIGNATURE, detail) from error

    def keep_pack(self, repository: str, data: bytes) -> None:
        """Keep the newest pack, durably.

        Raises:
            OSError: the disk is full or not writable.
        """
        folder = self._folder / "packs"
        folder.mkdir(parents=True, exist_ok=True)
        durable.write_file(folder / f"{repository}.pack", data)

    def pack(self, repository: str) -> bytes | None:
        """Return the newest pack, cut just over what is allowed; nothing where none came yet."""
        try:
            with (self._folder / "packs" / f"{repository}.pack").open("rb") as file:
                return file.read(MAX_PACK_BYTES + 1)
        except OSError:
            return None

    @contextmanager
    def workspace(self, repository: str) -> Iterator[Path]:
        """Give a folder for one verification, with the roots of the last one; it is removed after.

        Raises:
            OSError: the disk is full or not writable.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.glob(f".work-{repository}-*"):  # of a verification that was killed
            shutil.rmtree(old, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=f".work-{repository}-", dir=self._folder) as made:
            folder = Path(made)
            with suppress(OSError):  # damaged or absent: the pack holds every root too
                shutil.copytree(self._metadata(repository) / HISTORY, folder / HISTORY)
            yield folder

    def cached(self, repository: str) -> Mapping[str, bytes]:
        """Return the metadata verified last, by plain names and roots by number; what cannot be read is left out."""
        folder = self._metadata(repository)
        found = {}
        for path in [*folder.glob("*.json"), *(folder / HISTORY).glob("*.root.json")]:
            with suppress(OSError):
                if path.stat().st_size <= _MAX_FILE_BYTES:
                    found[path.name] = path.read_bytes()
        return found

    def keep(self, repository: str, verified: Path) -> None:
        """Put verified metadata in the place of what was kept, flushed and at once; the same again is only flushed.

        Raises:
            OSError: the disk is full or not writable.
        """
        files = {path.relative_to(verified): path.read_bytes() for path in verified.rglob("*.json") if path.is_file()}
        now, same = self._metadata(repository), False
        with suppress(OSError):
            same = files == {path.relative_to(now): path.read_bytes() for path in now.rglob("*.json")}
        if same:
            durable.sync_folder(self._folder)  # the flip that put it here may have failed at its last flush
            return
        staging = self._folder / f".staging-{repository}"
        shutil.rmtree(staging, ignore_errors=True)
        (staging / HISTORY).mkdir(parents=True)
        for name, data in files.items():
            durable.write_pieces(staging / name, (data,))
        durable.sync_folder(staging / HISTORY)
        self._flip(repository, staging)

    def _flip(self, repository: str, staging: Path) -> None:
        """Old, old and next, next, new: at every instant `_metadata` finds one that is whole."""
        final, following = self._folder / repository, self._folder / f"{_NEXT}{repository}"
        if following.is_dir():  # of a flip that was cut
            durable.remove_folder(following) if final.is_dir() else durable.place_folder(following, final)
        durable.place_folder(staging, following)
        durable.remove_folder(final)
        durable.place_folder(following, final)

    def _metadata(self, repository: str) -> Path:
        """The folder of what was verified last."""
        final = self._folder / repository
        return final if final.is_dir() else self._folder / f"{_NEXT}{repository}"
