"""The runtime matrix: one model file on several releases of its runtime, each in an environment of its own.

House rules: a release that cannot be had here, or is denied, proves nothing and stops nothing; its reason is kept. A
model that a release refuses, or on which it dies, has failed there.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from edge_agent.contract.manifest import Runtime
from edge_agent.contract.runtimes import DENIALS_NAME, Denial, judge_release, parse_denials
from trainer.core.arrays import Singles
from trainer.core.releases import Release
from trainer.errors import ChildError, RuntimeUnavailableError
from trainer.stages.children import Run, run_model
from trainer.stages.environments import Environment, make_environment


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What a release gave: a run, or why nothing could be proven on it, or how the model failed there."""

    release: Release
    run: Run | None = None
    unproven: str = ""
    failure: str = ""


def load_denials() -> tuple[Denial, ...]:
    """Return the list of denied releases as this distribution ships it.

    Raises:
        codec.MalformedError: the file is malformed.
    """
    return parse_denials(resources.files("firmware_configs").joinpath(DENIALS_NAME).read_text(encoding="utf-8"))


def replay(
    path: Path,
    runtime: Runtime,
    x: Singles,
    options: Mapping[str, str],
    releases: Iterable[Release],
    *,
    make: Callable[[Release], Environment] = make_environment,
) -> Iterator[Replay]:
    """Run a model file over the rows on each of the releases that execute its runtime, in their order."""
    denials = load_denials()
    for release in releases:
        if release.runtime is runtime:
            denied = judge_release(denials, release.distribution, release.version)
            if denied is not None:
                yield Replay(release, unproven=denied)
            else:
                yield _replay(path, x, options, release, make)


def _replay(
    path: Path, x: Singles, options: Mapping[str, str], release: Release, make: Callable[[Release], Environment]
) -> Replay:
    try:
        environment = make(release)
    except RuntimeUnavailableError as error:
        return Replay(release, unproven=str(error))
    try:
        return Replay(release, run_model(path, release.runtime, x, options, environment=environment))
    except ChildError as error:
        return Replay(release, failure=str(error))
