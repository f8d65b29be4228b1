"""Conventions that the tools do not know: sizes, docstrings, reasons for exceptions, topics in one place."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("edge_agent", "fleet_server", "trainer", "firmware_configs")
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 50

# What may be longer, and why. Tables of data and generated migrations are candidates; logic is not.
LONGER_FILES: dict[str, str] = {
    "fleet_server/store/schema.py": "data: every table of the database, which refer to each other",
    "fleet_server/store/migrations/versions/0001_the_first_tables.py": "generated, and never changed once released",
}
LONGER_FUNCTIONS: dict[str, str] = {
    "fleet_server/store/migrations/versions/0001_the_first_tables.py:upgrade": "as its file",
}

PROJECT = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
ALL = PROJECT + TESTS + sorted((ROOT / "benchmarks").rglob("*.py"))


def shown(path: Path) -> str:
    """The path as a reader of the repository names it."""
    return path.relative_to(ROOT).as_posix()


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def docstrings(tree: ast.Module) -> set[int]:
    """Identities of the nodes that are docstrings."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = (node.body for node in ast.walk(tree) if isinstance(node, owners) and node.body)
    return {id(body[0].value) for body in bodies if isinstance(body[0], ast.Expr)}


def test_files_are_short() -> None:
    """One subject a file: under 300 lines."""
    long = {shown(path): n for path in ALL if (n := path.read_text().count("\n")) >= MAX_FILE_LINES}
    assert long.keys() == LONGER_FILES.keys(), long


def test_functions_are_short() -> None:
    """One thing a function: under 50 lines, its docstring included."""
    long = {
        f"{shown(path)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in PROJECT
        for node in functions(ast.parse(path.read_text()))
        if (node.end_lineno or 0) - node.lineno + 1 >= MAX_FUNCTION_LINES
    }
    assert long.keys() == LONGER_FUNCTIONS.keys(), long


def test_every_module_says_what_it_is_for() -> None:
    """Packages and modules, those of the tests included, open with a docstring."""
    silent = [shown(path) for path in ALL if not (ast.get_docstring(ast.parse(path.read_text())) or "").strip()]
    assert silent == []


@pytest.mark.parametrize("word", ["utils", "helpers", "common", "manager", "misc"])
def test_no_module_has_a_name_for_anything(word: str) -> None:
    """Modules are nouns of this project."""
    vague = [shown(path) for path in PROJECT if word in path.stem.split("_") or word in path.parent.name.split("_")]
    assert vague == []


SUPPRESSION = re.compile(r"#\s*(?:noqa|type:\s*ignore)(?P<rest>.*)")
REASONED = re.compile(r"(?:: [A-Z]+\d+(?:, ?[A-Z]+\d+)*|\[[a-z-]+(?:, ?[a-z-]+)*\])\s*(?:#|-|–|:)\s*\S+")


def test_a_suppressed_finding_carries_its_code_and_reason() -> None:
    """`# noqa: BLE001 - why` and `# type: ignore[code]  # why`, never bare."""
    bare = [
        f"{shown(path)}:{number}: {line.strip()}"
        for path in PROJECT
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if (found := SUPPRESSION.search(line)) and not REASONED.match(found["rest"])
    ]
    assert bare == []


TOPIC = re.compile(
    r"edgeloop/v\d|\$share/|/(?:up|dn)/(?:#|status|reported|health|window|event|get|desired|block)|^/?d/\+/"
)


def test_topics_stand_in_one_place() -> None:
    """Outside of `edge_agent.contract.topics` no string is a topic or a part of one."""
    found = []
    for path in PROJECT:
        if shown(path) == "edge_agent/contract/topics.py":
            continue
        tree = ast.parse(path.read_text())
        prose = docstrings(tree)
        found += [
            f"{shown(path)}:{node.lineno}: {node.value!r}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in prose
            and TOPIC.search(node.value)
        ]
    assert found == []


def test_nothing_is_put_off() -> None:
    """No marker of unfinished work, and no function whose whole body is `...` or NotImplementedError."""
    marks = [shown(path) for path in PROJECT if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text())]
    stubs = [
        f"{shown(path)}:{node.name}"
        for path in PROJECT
        for node in functions(ast.parse(path.read_text()))
        if isinstance(node.body[-1], ast.Raise) and "NotImplementedError" in ast.dump(node.body[-1])
    ]
    assert marks + stubs == []
