"""The reference in the documentation is the command's own help."""

from pathlib import Path

from fleet_server.cli.reference import render

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"


def test_the_reference_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "python -m fleet_server.cli.reference > docs/reference/cli.md"
