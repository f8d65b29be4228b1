"""What system tests share: version folders, each trained once in a session."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.fleet import train

Trained = Callable[[str, int], Path]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return a function that fits a recipe with a seed, once in a session."""
    made: dict[tuple[str, int], Path] = {}

    def get(recipe: str, seed: int) -> Path:
        if (recipe, seed) not in made:
            made[recipe, seed] = train(recipe, seed, tmp_path_factory.mktemp("versions") / f"{recipe}-{seed}")
        return made[recipe, seed]

    return get
