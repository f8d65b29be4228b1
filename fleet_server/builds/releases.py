"""Which releases of the runtimes a build is proven on: those that devices report, as far as they are here.

A build has no network, so an operator brings a release in beforehand, with `trainer runtimes add`, into the folder
`runtimes` of the server's data. What is not there is said in the operation, with the command.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from edge_agent.contract.runtimes import name_release

# What the trainer reads; see `trainer.stages.environments`.
VARIABLE = "EDGELOOP_RUNTIMES"


@dataclass(frozen=True, slots=True)
class Releases:
    """The folder of releases, and what the fleet's devices report: (runtime, version), repeats allowed."""

    folder: Path
    reported: Callable[[], Iterable[tuple[str, str]]]

    def here(self) -> tuple[str, ...]:
        """Return the reported releases that a build can be proven on."""
        return tuple(name for name in self._names() if any(self.folder.glob(f"*/{name}")))

    def absent(self) -> tuple[str, ...]:
        """Return the reported releases that are neither here nor what the build itself runs on."""
        return tuple(name for name in self._names() if not any(self.folder.glob(f"*/{name}")) and not _is_own(name))

    def notes(self) -> tuple[str, ...]:
        """Return what an operator should know of a build that is about to begin."""
        return tuple(
            f"not proven on {name}, which devices have: bring it in with "
            f"{VARIABLE}={self.folder} trainer runtimes add {name}"
            for name in self.absent()
        )

    def environment(self) -> dict[str, str]:
        """Return what a build's environment needs to find the releases; nothing where there are none."""
        return {VARIABLE: str(self.folder)} if self.here() else {}

    def options(self) -> list[str]:
        """Return the trainer's options; without a release that is here it is told that there is none."""
        return [word for name in self.here() or ("none",) for word in ("--prove-on", name)]

    def _names(self) -> tuple[str, ...]:
        return tuple(sorted({name for item in self.reported() if (name := name_release(*item)) is not None}))


def _is_own(name: str) -> bool:
    distribution, _, version = name.partition("==")
    try:
        return metadata.version(distribution) == version
    except metadata.PackageNotFoundError:
        return False
