"""SECURITY.md names the tests that show its rows; each exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(?P<path>(?:tests|benchmarks)/[\w/.]+?\.py)(?:::(?P<name>\w+))?`")


def test_every_named_test_exists() -> None:
    found = list(NAMED.finditer((ROOT / "SECURITY.md").read_text()))
    assert found
    for match in found:
        path = ROOT / match["path"]
        assert path.is_file(), match[0]
        tree = ast.parse(path.read_text())
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert match["name"] is None or match["name"] in names, match[0]


def test_every_threat_has_its_test() -> None:
    """A row of the table without a test is a promise that nobody has seen."""
    text = (ROOT / "SECURITY.md").read_text()
    table = text.partition("## Threats")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| Threat")]
    assert len(rows) >= 30
    assert [row for row in rows if not NAMED.search(row)] == []
