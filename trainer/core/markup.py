"""Elements of a page, and the one place where they become text: nothing gets onto a page that is not escaped here.

House rules: what is written is HTML and well-formed XML alike, so that any parser can check it. Style sheets are
elements with text like others; they hold no `<`, `>` or `&`.
"""

import re
from dataclasses import dataclass, field
from html import escape

# What XML 1.0 allows in no document, escaped or not (section 2.2).
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_VOID = frozenset({"br", "meta"})


@dataclass(frozen=True, slots=True)
class Element:
    """An element with its attributes and what is in it: elements and text."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: "tuple[Child, ...]" = ()


Child = Element | str


def element(tag: str, *children: Child | None, **attributes: str | float | None) -> Element:
    """Return an element; of names, a last underscore falls away and others become hyphens. `None` is left out."""
    named = {
        name.rstrip("_").replace("_", "-"): value if isinstance(value, str) else f"{value:.4g}"
        for name, value in attributes.items()
        if value is not None
    }
    return Element(tag, named, tuple(child for child in children if child is not None))


def write(child: Child) -> str:
    """Return an element, or text, as it stands in a document."""
    if isinstance(child, str):
        return escape(_clean(child), quote=False)
    attributes = "".join(f' {name}="{escape(_clean(value))}"' for name, value in child.attributes.items())
    if child.tag in _VOID:
        return f"<{child.tag}{attributes}/>"
    return f"<{child.tag}{attributes}>{''.join(map(write, child.children))}</{child.tag}>"


def write_document(root: Element) -> str:
    """Return a whole HTML document."""
    return f"<!DOCTYPE html>\n{write(root)}\n"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
