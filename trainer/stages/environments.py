"""Isolated environments, each of one release of a runtime, for proofs on what a fleet's devices have installed.

House rules: an environment is a folder that pip filled, whole or absent, and a child that runs in one sees the standard
library and that folder alone, never the trainer's own packages. Folders are kept in the user's cache and used again.
What cannot be made here has a reason that goes into the build's record.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.core.releases import Release, parse_release
from trainer.errors import RuntimeUnavailableError, UsageError

FOLDER_VARIABLE = "EDGELOOP_RUNTIMES"
INSTALL_TIMEOUT_S = 600.0
# What pip says where it could not ask an index, in which case its own conclusion is wrong.
_UNREACHED = ("Retrying (", "Could not fetch URL", "Connection", "ReadTimeout", "ProxyError")


@dataclass(frozen=True, slots=True)
class Environment:
    """One release of a runtime with what it needs, apart from everything else.

    `python` is the command that starts its interpreter: this one, or one under emulation.
    """

    release: Release
    packages: Path
    python: tuple[str, ...] = (sys.executable,)


def environments_folder() -> Path:
    """Return where environments of this Python are kept: below $EDGELOOP_RUNTIMES, else in the user's cache."""
    named = os.environ.get(FOLDER_VARIABLE)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = Path(named) if named else cache / "edgeloop" / "runtimes"
    return root / f"{sys.implementation.cache_tag}-{platform.machine()}"


def list_environments() -> tuple[Environment, ...]:
    """Return the environments that are here, by name and version."""
    folder = environments_folder()
    names = [path.name for path in folder.iterdir() if "==" in path.name] if folder.is_dir() else []
    return tuple(_environment(release) for release in sorted(map(parse_release, names)))


def choose_releases(names: Sequence[str] | None) -> tuple[Release, ...]:
    """Return the releases of these names; without names all that are here, and none for "none".

    Raises:
        UsageError: a name is no release of a runtime.
    """
    if names is None:
        return tuple(environment.release for environment in list_environments())
    return () if list(names) == ["none"] else tuple(map(parse_release, names))


def make_environment(release: Release) -> Environment:
    """Return the environment of a release, made first where it is not here.

    Raises:
        RuntimeUnavailableError: pip could not install it; the message says why.
    """
    made = _environment(release)
    if made.packages.is_dir():
        return made
    try:
        made.packages.parent.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=made.packages.parent))
    except OSError as error:
        raise RuntimeUnavailableError(
            f"{made.packages.parent} cannot be written: {error.strerror}", f"name another folder in {FOLDER_VARIABLE}"
        ) from error
    try:
        _install(release, new)
        _put(new, made.packages)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return made


def remove_environment(release: Release) -> None:
    """Delete the environment of a release.

    Raises:
        UsageError: there is none.
    """
    made = _environment(release)
    if not made.packages.is_dir():
        raise UsageError(f"{release} is not here", "see: trainer runtimes list")
    # Out of the way at once: a folder half deleted would be taken for a whole one.
    old = Path(tempfile.mkdtemp(prefix=".old-", dir=made.packages.parent))
    made.packages.rename(old / made.packages.name)
    shutil.rmtree(old)


def _environment(release: Release) -> Environment:
    return Environment(release, environments_folder() / str(release))


def _put(new: Path, packages: Path) -> None:
    try:
        new.rename(packages)
    except OSError:
        if not packages.is_dir():
            raise  # otherwise another process was faster, and what it made is the same


def _install(release: Release, folder: Path) -> None:
    """Let pip fill a folder with wheels; its configuration (index, proxy, certificates) is the machine's."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-deps"]
    try:
        done = subprocess.run(
            [*command, "--only-binary=:all:", "--retries=2", "--target", str(folder), *release.requirements],
            env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0"},
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeUnavailableError(f"pip did not install {release} within {INSTALL_TIMEOUT_S:.0f} s") from error
    if done.returncode:
        raise RuntimeUnavailableError(*_why(release, done.stderr))


def _why(release: Release, told: str) -> tuple[str, str]:
    """Return what went wrong in pip, and what to do."""
    lines = [line.removeprefix("ERROR: ") for line in told.splitlines() if line.startswith("ERROR: ")]
    last = (lines or told.strip().splitlines() or ["no reason given"])[-1][:300]
    here = f"Python {sys.version_info.major}.{sys.version_info.minor} on {platform.machine()}"
    if any(sign in told for sign in _UNREACHED):
        return f"{release} cannot be fetched: pip reaches no package index ({last})", "see: pip config debug"
    if "No matching distribution" in last:
        return f"{release} has no wheel for {here}", "run the trainer with a Python that has one"
    return f"{release} cannot be installed for {here}: {last}", "see: pip config debug"
