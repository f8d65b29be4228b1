"""The documents agree with the tree: links lead somewhere, commands exist, what is made from code is up to date."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given

from edge_agent.contract import codec
from edge_agent.contract.messages import Health
from tests.fakes.words import words

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "firmware_configs").rglob("*.md")])
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"^(?:\s*|.*?/bin/|.*-- )((?:edgeloop|edge-agent|trainer) [a-z].*)$", re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as its readers make them; and those set by hand."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    made = {
        re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading)).strip().lower().replace(" ", "-") for heading in headings
    }
    return made | set(re.findall(r'id="([^"]+)"', text))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    """Every link within the repository is to a file that exists, and to a heading of it."""
    broken = []
    for link in LINK.findall(path.read_text()):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert broken == []


@cache
def help_of(words_: tuple[str, ...]) -> str | None:
    """What a command says of itself, or None where there is no such command."""
    done = subprocess.run(
        [Path(sys.executable).parent / words_[0], *words_[1:], "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"COLUMNS": "200", "PATH": "/usr/bin:/bin"},
    )
    return done.stdout if done.returncode == 0 else None


def printed_commands() -> list[tuple[str, str]]:
    """Every command line in a code block of the README and the pages written by hand."""
    found = []
    for path in DOCUMENTS:
        if path.parent.name == "reference":
            continue
        text = path.read_text()
        blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", text, re.DOTALL) + re.findall(
            r"(?:^    .+\n)+", text, re.MULTILINE
        )
        found += [(path.name, line) for block in blocks for line in COMMAND.findall(block)]
    return found


@pytest.mark.system
@pytest.mark.parametrize(("document", "line"), printed_commands())
def test_a_printed_command_exists(document: str, line: str) -> None:
    """Its nouns, verbs and options are those of the command itself."""
    plain = shlex.split(re.sub(r"\$\(.*\)", "x", line), comments=True)
    options = [word.partition("=")[0] for word in plain if word.startswith("--")]
    verbs = [word for word in plain[:4] if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")]
    said = next((text for n in (4, 3, 2, 1) if n <= len(verbs) and (text := help_of(tuple(verbs[:n])))), None)
    assert said is not None, f"{document}: {line}"
    assert [option for option in options if option not in said] == [], f"{document}: {line}\n{said}"


def reference() -> ModuleType:
    """`scripts/reference.py`, which is no package."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_made_from_code_is_up_to_date() -> None:
    """Payload tables, the machine's diagram and the schema; when this fails: python scripts/reference.py."""
    stale = [path.name for path, text in reference().written().items() if path.read_text() != text]
    assert stale == []


@given(health=words(Health))
def test_health_is_as_its_schema_says(health: Health) -> None:
    """Every health message has the schema's keys, in its order, with its types."""
    schema: dict[str, Any] = json.loads((ROOT / "docs" / "schemas" / "health.json").read_text())
    plain = json.loads(codec.encode(health))
    kinds = {"string": (str,), "integer": (int,), "number": (int, float)}
    assert list(plain) == schema["required"] == list(schema["properties"])
    assert all(isinstance(plain[name], kinds[rule["type"]]) for name, rule in schema["properties"].items())
