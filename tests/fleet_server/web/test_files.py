"""The page's files: nothing from elsewhere, nothing inline, every reference there."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fleet_server.web import STATIC

FILES = sorted(path for path in STATIC.iterdir() if path.is_file())
OUTSIDE = re.compile(r"""(?:https?:|wss?:|ftp:)?//[\w.-]+\.\w+|@import|url\(""", re.IGNORECASE)
# A name of a namespace is no address: nothing is fetched from it.
NAMES = ("http://www.w3.org/2000/svg",)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] in ("script", "style") and data.strip():
            self.inline.append(data)


@pytest.fixture(scope="module")
def page() -> _Page:
    """The parsed index.html."""
    found = _Page()
    found.feed((STATIC / "index.html").read_text())
    return found


def without_comments(path: Path) -> str:
    """A file's text without the lines that are comments."""
    text = path.read_text()
    for name in NAMES:
        text = text.replace(name, "")
    return "\n".join(line for line in text.splitlines() if not line.strip().startswith("//"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    assert OUTSIDE.findall(without_comments(path)) == []


def test_the_page_has_nothing_inline(page: _Page) -> None:
    """`default-src 'self'` forbids inline scripts, styles and handlers."""
    assert page.inline == []
    names = {name for _, attributes in page.elements for name in attributes}
    assert {name for name in names if name == "style" or name.startswith("on")} == set()


def test_scripts_make_text_and_never_markup() -> None:
    """What a device says of itself must not become a part of the page."""
    forbidden = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|\"style\"")
    assert [path.name for path in FILES if path.suffix == ".js" and forbidden.search(path.read_text())] == []


def test_every_file_that_is_named_exists(page: _Page) -> None:
    named = [attributes.get("src") or attributes.get("href") or "" for _, attributes in page.elements]
    paths = [path for path in named if path.startswith("/")]
    assert {"/static/app.js", "/static/style.css"} <= set(paths)
    assert [path for path in paths if not (STATIC / path.removeprefix("/static/")).is_file()] == []
    imported = [
        (path, name)
        for path in FILES
        if path.suffix == ".js"
        for name in re.findall(r"^import .* from \"(.*)\";$", path.read_text(), re.MULTILINE)
    ]
    assert len(imported) > 10
    assert [(path.name, name) for path, name in imported if not (path.parent / name).is_file()] == []


def test_the_page_can_be_walked_without_a_mouse_and_read_aloud(page: _Page) -> None:
    elements = page.elements
    assert ("a", {"class": "skip", "href": "#main"}) in elements
    assert dict(elements)["html"].get("lang") == "en"
    ids = {attributes["id"] for _, attributes in elements if "id" in attributes}
    sections = [attributes for tag, attributes in elements if tag == "section" and "hidden" not in attributes]
    assert all(row.get("aria-label") or row.get("aria-labelledby") in ids for row in sections)
    assert [row for tag, row in elements if tag == "img" and "alt" not in row] == []


def test_no_file_is_long() -> None:
    assert [path.name for path in FILES if path.read_text().count("\n") >= 300] == []
