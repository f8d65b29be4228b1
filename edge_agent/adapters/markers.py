"""What is known to be good, beside the journal (good/): a lost or damaged agent.db is rebuilt from it.

`<seq>.json` is written durably before document `seq` is committed in the journal; `seen.json` at each start and with
each document taken in. House rules: each file is sealed by its SHA-256 and replaced whole; one that is damaged is
passed over. A marker is only ever of a set that was proven and soaked here, so a rebuilt journal serves nothing that
was not committed.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edge_agent.adapters import durable
from edge_agent.contract import codec
from edge_agent.contract.messages import Desired, Proof
from edge_agent.core.update_machine import Update, recovered

_SEEN = "seen.json"
# One more than the newest, for the day on which the card has lost that one.
_KEPT = 2
_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Marker:
    """A committed set with its proofs."""

    good: Desired
    proofs: tuple[Proof, ...]
    boot: int


@dataclass(frozen=True, slots=True)
class Seen:
    """The greatest numbers seen of boots and documents."""

    boot: int = 0
    highest_seq: int = 0


class Markers:
    """The folder of markers. One writer: the main loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = Seen()

    @property
    def boot(self) -> int:
        """The greatest boot seen, 0 before the first."""
        return self._seen.boot

    def prepare(self) -> None:
        """Make the folder, clear what a cut left, and read what has been seen.

        Raises:
            OSError: the folder is not writable.
        """
        durable.make_folder(self._folder)
        durable.clear_remains(self._folder)
        seen = self._read(self._folder / _SEEN, Seen) or Seen()
        markers = self._markers()
        self._seen = Seen(
            max((seen.boot, *(marker.boot for marker in markers))),
            max((seen.highest_seq, *(marker.good.seq for marker in markers))),
        )

    def rebuilt(self) -> Update | None:
        """Return the update of a journal that was lost; `None` where there was nothing to lose."""
        newest = max(self._markers(), key=lambda marker: marker.good.seq, default=None)
        if newest is None and self._seen.highest_seq == 0:
            return None
        good, proofs = (newest.good, newest.proofs) if newest is not None else (None, ())
        return recovered(good, proofs, self._seen.highest_seq)

    def see(self, *, boot: int = 0, highest_seq: int = 0) -> None:
        """Remember numbers durably, as far as they are greater than all before.

        Raises:
            OSError: the disk is full or failing.
        """
        seen = Seen(max(self._seen.boot, boot), max(self._seen.highest_seq, highest_seq))
        if seen != self._seen:
            durable.write_file(self._folder / _SEEN, durable.seal(codec.encode(seen)))
            self._seen = seen

    def mark(self, good: Desired, proofs: tuple[Proof, ...]) -> None:
        """Write the marker of a set that is about to be committed, durably; older ones go, but one.

        Raises:
            OSError: the disk is full or failing.
        """
        data = durable.seal(codec.encode(Marker(good, proofs, self._seen.boot)))
        durable.write_file(self._folder / f"{good.seq}.json", data)
        for path in sorted(self._paths(), key=_seq)[:-_KEPT]:
            path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Forget all sets and documents, since another server counts its own; boots go on being counted.

        Raises:
            OSError: the disk is full or failing.
        """
        self.prepare()
        for path in self._paths():
            path.unlink(missing_ok=True)
        seen = Seen(self._seen.boot)
        durable.write_file(self._folder / _SEEN, durable.seal(codec.encode(seen)))
        self._seen = seen

    def _paths(self) -> list[Path]:
        return [path for path in self._folder.glob("*.json") if path.stem.isdecimal()]

    def _markers(self) -> list[Marker]:
        read = (self._read(path, Marker) for path in self._paths())
        return [marker for marker in read if marker is not None]

    def _read(self, path: Path, cls: type[T]) -> T | None:
        try:
            return codec.decode(cls, durable.unseal(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, durable.DamagedError, codec.MalformedError) as error:
            _log.error("marker_damaged file=%s detail=%r", path.name, str(error))
            return None


def _seq(path: Path) -> int:
    return int(path.stem)
