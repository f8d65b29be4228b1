"""The pages about the trainer say what is so: their examples run, their tables name every key, metric and recipe."""

import dataclasses
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.contract.card import Budget
from trainer.core import recipes
from trainer.stages.metrics import METRICS
from trainer.stages.recipes import load_recipe, shipped_names

ROOT = Path(__file__).parents[2]
RECIPES = (ROOT / "docs" / "reference" / "recipes.md").read_text()
OWN_MODEL = (ROOT / "docs" / "how-to" / "bring-your-own-model.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


def test_every_key_is_explained() -> None:
    parts: dict[str, type] = {
        "data": recipes.DataSpec,
        "steps": recipes.StepSpec,
        "split": recipes.SplitSpec,
        "gates": recipes.GateSpec,
        "budget": Budget,
    }
    keys = {field.name for field in dataclasses.fields(recipes.Declaration)} - parts.keys()
    keys |= {f"{name}.{field.name}" for name, part in parts.items() for field in dataclasses.fields(part)}
    assert {key for key in keys if f"`{key}`" not in RECIPES} == set()


def test_every_recipe_and_metric_is_listed() -> None:
    names = {*shipped_names(), *(name for metrics in METRICS.values() for name in metrics)}
    assert {name for name in names if f"`{name}`" not in RECIPES} == set()


@pytest.mark.parametrize(("language", "suffix"), [("toml", ".toml"), ("python", ".py")])
def test_the_examples_are_recipes(language: str, suffix: str, tmp_path: Path) -> None:
    (text,) = blocks(RECIPES, language)
    (tmp_path / f"example{suffix}").write_text(text)
    recipe = load_recipe(str(tmp_path / f"example{suffix}"))
    assert recipe.declaration.gates


@pytest.mark.system
def test_a_user_can_follow_the_page(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    (script,) = blocks(OWN_MODEL, "python")
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    for command in blocks(OWN_MODEL, "sh")[:2]:
        words = shlex.split(command)
        assert words[0] == "trainer"
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, env=environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert "as it was" in done.stdout
