"""The shipped agent.toml: it parses, it holds every key, and its values are the defaults."""

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from edge_agent.supervisor.config import AgentConfig, ConfigError, load_config

FILE = Path(__file__).parents[2] / "firmware_configs" / "agent.toml"


def test_the_file_says_the_defaults() -> None:
    """A device with this file is as one without."""
    assert load_config(FILE) == AgentConfig()


def test_every_key_stands_in_it_and_is_explained() -> None:
    """Those that have no useful default are there as comments."""
    text = FILE.read_text()
    config = AgentConfig()
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            assert f"[{field.name}]" in text
            keys = [item.name for item in dataclasses.fields(value)]
        else:
            keys = [field.name]
        for key in keys:
            assert re.search(rf"(?m)^(# )?{key} = [^#]+# \S", text), key


def test_a_commented_key_is_a_good_example(tmp_path: Path) -> None:
    """Uncommented, the examples parse too."""
    path = tmp_path / "agent.toml"
    path.write_text(re.sub(r"(?m)^# (\w+ = )", r"\1", FILE.read_text()))
    assert tomllib.loads(path.read_text())["profile"] == "pi4"
    assert load_config(path).profile == "pi4"


def test_a_typing_error_is_named(tmp_path: Path) -> None:
    """Unknown keys are errors, and say where."""
    path = tmp_path / "agent.toml"
    path.write_text(FILE.read_text().replace("hang_s =", "hang_sec ="))
    with pytest.raises(ConfigError, match="hang_sec"):
        load_config(path)
