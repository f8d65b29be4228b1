"""Markup: whatever the text is, a parser reads it back as text."""

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from trainer.core.markup import element, write, write_document

HOSTILE = "</p><script>alert(1)</script><p title=\"x\" 'y' &amp; ]]> <!--"


@given(
    text=st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff")) | st.just(HOSTILE)
)
def test_text_comes_back_as_it_was(text: str) -> None:
    parsed = ET.fromstring(write(element("p", text, element("b", text), title=text)))
    assert (parsed.text or "", parsed[0].text or "", parsed.get("title")) == (text, text, text)
    assert [item.tag for item in parsed.iter()] == ["p", "b"]


@given(text=st.text(st.characters(categories=("Cc", "Cs", "Cn"))))
def test_characters_that_no_document_may_hold_are_replaced(text: str) -> None:
    written = write(element("p", text))
    ET.fromstring(written.encode("utf-8"))


def test_names_of_attributes_and_missing_parts() -> None:
    made = element("td", None, "x", class_="figure", aria_label="a", width=1.0, title=None)
    assert write(made) == '<td class="figure" aria-label="a" width="1">x</td>'


def test_only_empty_elements_close_themselves() -> None:
    text = write_document(element("p", element("br"), element("span")))
    assert text == "<!DOCTYPE html>\n<p><br/><span></span></p>\n"
