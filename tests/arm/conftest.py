"""Emulated boards, and that their tests run only where they are asked for: `make test-arm`."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.contract.manifest import Runtime
from edge_agent.contract.runtimes import DISTRIBUTIONS
from trainer.core.releases import Release
from trainer.stages.environments import Environment

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
Boards = Callable[[str, Runtime], Environment]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A marker's expression of another kind (`-m system`) does not bring them along."""
    mine = [item for item in items if HERE in item.path.parents]
    for item in mine:
        item.add_marker(pytest.mark.arm)
    if mine and "arm" not in config.option.markexpr.split():
        items[:] = [item for item in items if item not in mine]
        config.hook.pytest_deselected(items=mine)


def make_board(machine: str, *release: str) -> Path:
    """The folder that `scripts/arm` makes or has made."""
    done = subprocess.run([ROOT / "scripts" / "arm", machine, *release], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def boards() -> Boards:
    """The environment of a runtime on a board, by the board's machine."""

    def find(machine: str, runtime: Runtime) -> Environment:
        folder = make_board(machine)
        packages = folder / "packages"
        for name in DISTRIBUTIONS[runtime]:
            for info in packages.glob(f"{name.replace('-', '_')}-*.dist-info"):
                version = info.name.removesuffix(".dist-info").rpartition("-")[2]
                return Environment(Release(name, version), packages, (str(folder / "python"),))
        # Debian's numpy has no folder of this kind.
        return Environment(Release("numpy", "1.24.2"), packages, (str(folder / "python"),))

    return find
