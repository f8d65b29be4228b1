"""Releases of the libraries that execute variants, and which of them are denied, with the reason.

The list is data, `firmware_configs/runtimes.toml`: the trainer proves nothing on a denied release, the server offers a
device no variant for one, the device's doctor names it.

House rules: a device reports a runtime and a version but not the library's name, so a denial of any library of that
runtime holds for it. Boards are spared by name: one that nobody knows may crash as those did that are known.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge_agent.contract import codec
from edge_agent.contract.manifest import Runtime

DENIALS_NAME = "runtimes.toml"
# By the names under which package indexes have them; the first that is installed is used.
DISTRIBUTIONS: Mapping[Runtime, tuple[str, ...]] = {
    Runtime.ONNX: ("onnxruntime",),
    Runtime.TFLITE: ("ai-edge-litert", "tflite-runtime"),
    Runtime.NUMPY: ("numpy",),
}
LAST_TFLITE_RUNTIME = "2.14.0"
_VERSIONS = re.compile(r"\d+(\.\d+)*(\.\*)?")


@dataclass(frozen=True, slots=True)
class Denial:
    """Releases that are not to be used, or with `feature` those in which that alone does not work.

    `versions` are whole ones or end in `.*`. `machines` are those of uname(2), none means all; `spared` are profiles of
    boards on which the release works nevertheless.
    """

    distribution: str
    versions: tuple[str, ...]
    why: str
    source: str
    feature: str = ""
    machines: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if runtime_of(self.distribution) is None:
            raise ValueError(f"{self.distribution!r} is no library that executes variants")
        if not self.versions or not all(_VERSIONS.fullmatch(item) for item in self.versions):
            raise ValueError("versions are one or more of the form 1.21.0 or 1.26.*")
        if not self.why or not self.source:
            raise ValueError("a denial says why, and from where that is known")

    def covers(self, version: str) -> bool:
        """Whether a version is among those denied."""
        return any(version == item or (item.endswith(".*") and version.startswith(item[:-1])) for item in self.versions)


@dataclass(frozen=True, slots=True)
class DenyList:
    """The whole list, as it is written in its file."""

    denials: tuple[Denial, ...]


def parse_denials(text: str) -> tuple[Denial, ...]:
    """Parse the text of `runtimes.toml`.

    Raises:
        codec.MalformedError: not TOML, a wrong entry, or a key that is not known.
    """
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise codec.MalformedError(f"{DENIALS_NAME}: {error}") from error
    return codec.from_plain(DenyList, plain, unknown="refuse", at=DENIALS_NAME).denials


def runtime_of(distribution: str) -> Runtime | None:
    """Return what a library executes, or None for one that is no runtime."""
    return next((runtime for runtime, names in DISTRIBUTIONS.items() if distribution in names), None)


def name_release(runtime: str, version: str) -> str | None:
    """Return the release, as NAME==VERSION, that a device means by a runtime and a version; None for an unknown one.

    A device does not report the library's name: tflite-runtime ended with 2.14.0, which its successor never was.
    """
    if runtime not in tuple(Runtime) or not re.fullmatch(r"\d+(\.\d+)+", version):
        return None
    names = DISTRIBUTIONS[Runtime(runtime)]
    return f"{names[-1] if version == LAST_TFLITE_RUNTIME else names[0]}=={version}"


def judge_release(denials: Iterable[Denial], distribution: str, version: str) -> str | None:
    """Return why a library's release is denied on some board at least, or None."""
    for denial in denials:
        if not denial.feature and denial.distribution == distribution and denial.covers(version):
            return _reason(denial, version)
    return None


def judge_board(denials: Iterable[Denial], runtime: str, version: str, machine: str, profile: str) -> str | None:
    """Return why the release that a board reports of a runtime is denied there, or None."""
    for denial in denials:
        here = not denial.machines or machine in denial.machines
        known = not denial.feature and runtime_of(denial.distribution) == runtime
        if known and here and profile not in denial.spared and denial.covers(version):
            return _reason(denial, version)
    return None


def _reason(denial: Denial, version: str) -> str:
    return f"{denial.distribution} {version} is denied: {denial.why}"
