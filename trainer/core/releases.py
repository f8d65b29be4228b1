"""A release of a runtime, such as `onnxruntime==1.20.1`, and what has to stand beside it."""

import re
from dataclasses import dataclass

from edge_agent.contract.manifest import Runtime
from edge_agent.contract.runtimes import DISTRIBUTIONS, runtime_of
from trainer.errors import UsageError

_TEXT = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>\d+(?:\.\d+)+)")
# Its wheels before this were built for numpy 1.
_ONNXRUNTIME_FOR_NUMPY_2 = (1, 19)


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """A version of a library that executes variants; its text is what pip takes."""

    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution}=={self.version}"

    @property
    def runtime(self) -> Runtime:
        """Return what it executes."""
        runtime = runtime_of(self.distribution)
        if runtime is None:
            raise ValueError(f"{self.distribution} is no library that executes variants")
        return runtime

    @property
    def requirements(self) -> tuple[str, ...]:
        """Return all that pip has to install for it, in pip's words; a runtime's other dependencies are never used."""
        if self.runtime is Runtime.NUMPY:
            return (str(self),)
        old = self.distribution == "onnxruntime" and _numbers(self.version) < _ONNXRUNTIME_FOR_NUMPY_2
        return str(self), "numpy<2" if old or self.distribution == "tflite-runtime" else "numpy"


def parse_release(text: str) -> Release:
    """Parse `NAME==VERSION`.

    Raises:
        UsageError: of another form, or no library that executes variants.
    """
    names = [name for names in DISTRIBUTIONS.values() for name in names]
    found = _TEXT.fullmatch(text)
    if found is None or found["name"] not in names:
        raise UsageError(f"{text!r} is no release of a runtime", f"write NAME==VERSION; names: {', '.join(names)}")
    return Release(found["name"], found["version"])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
