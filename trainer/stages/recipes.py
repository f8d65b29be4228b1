"""Finds recipes: those that ship with the trainer by name, the user's own by path (TOML or Python)."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge_agent.contract import codec
from trainer.core.recipes import Recipe, parse_declaration, read_declaration
from trainer.errors import ConfigurationError, UsageError
from trainer.stages.data import load_module

SHIPPED = Path(__file__).parent.parent / "recipes"
PYTHON_NAME = "RECIPE"


def shipped_names() -> tuple[str, ...]:
    """Return the names of the recipes that ship with the trainer."""
    files = [path for path in SHIPPED.iterdir() if path.suffix in (".toml", ".py") and not path.name.startswith("_")]
    return tuple(sorted(path.stem.replace("_", "-") for path in files))


def load_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Load a shipped recipe by name or any other by path, with changes `key.key=value` laid over it.

    Raises:
        UsageError: there is no such recipe.
        ConfigurationError: it is malformed; the message names the key.
    """
    path = _find(name)
    try:
        if path.suffix == ".py":
            return _load_python(path, changes)
        declaration = parse_declaration(path.read_text(encoding="utf-8"), changes)
        return Recipe(path.stem, str(path.parent), declaration)
    except ValueError as error:
        raise ConfigurationError(f"{path.name}: {error}", "docs/reference/recipes.md lists every key") from error


def _find(name: str) -> Path:
    if name in shipped_names():
        by_stem = {path.stem.replace("_", "-"): path for path in SHIPPED.iterdir()}
        return by_stem[name]
    path = Path(name)
    if path.suffix in (".toml", ".py") and path.is_file():
        return path
    raise UsageError(
        f"there is no recipe {name!r}", f"give a .toml or .py file, or one of {', '.join(shipped_names())}"
    )


def _load_python(path: Path, changes: Sequence[str]) -> Recipe:
    try:
        recipe = getattr(load_module(path.name, path.parent), PYTHON_NAME, None)
    except (ImportError, SyntaxError) as error:
        raise ConfigurationError(f"{path.name} cannot be imported: {error}") from error
    if not isinstance(recipe, Recipe):
        raise ConfigurationError(f"{path.name} defines no {PYTHON_NAME} of type trainer.core.recipes.Recipe")
    plain = json.loads(codec.encode(recipe.declaration))
    return replace(recipe, folder=str(path.parent), declaration=read_declaration(plain, changes))
