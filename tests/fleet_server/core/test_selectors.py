"""Group queries select what they say, and say what is wrong with them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_server.core.selectors import SelectorError, Subject, check_label, matches, parse_selector

PI = Subject("cam-1", "pi4", "aarch64", {"site": "berlin", "line": "2"})


@pytest.mark.parametrize(
    ("query", "selected"),
    [
        ("", True),
        ("  ", True),
        ("site=berlin", True),
        ("site=berlin,line=2", True),
        ("site=berlin, line=3", False),
        ("site", True),
        ("floor", False),
        ("floor!=2", True),
        ("site!=berlin", False),
        ("profile=pi4,arch=aarch64,id=cam-1", True),
        ("profile!=pi4", False),
        ("arch", True),
    ],
)
def test_every_condition_must_hold(query: str, selected: bool) -> None:
    assert matches(parse_selector(query), PI) is selected


def test_built_ins_win_over_labels() -> None:
    disguised = Subject("cam-1", "pi4", "aarch64", {"profile": "pi5"})
    assert matches(parse_selector("profile=pi4"), disguised)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (",", "condition 1 is empty"),
        ("a=1,,b=2", "condition 2 is empty"),
        ("=x", "a key is"),
        ("a b=x", "a key is"),
        ("a=x;y", "a value is"),
        ("a=x=y", "a value is"),
        (",".join(["a"] * 33), "at most 32"),
    ],
)
def test_a_malformed_query_is_refused_with_its_reason(query: str, told: str) -> None:
    with pytest.raises(SelectorError, match=told):
        parse_selector(query)


def test_a_label_that_no_query_could_name_is_refused() -> None:
    check_label("site", "berlin/hall-2")
    for key, value in [("id", "x"), ("a,b", "x"), ("site", "a,b"), ("", "x")]:
        with pytest.raises(SelectorError):
            check_label(key, value)


names = st.text("abcxyz019-_.", min_size=1, max_size=8).filter(lambda text: text[0].isalnum())


@given(st.lists(st.tuples(names, st.sampled_from(["=", "!=", ""]), names), max_size=6))
def test_the_canonical_text_parses_to_the_same(clauses: list[tuple[str, str, str]]) -> None:
    text = ",".join(key + (operator + value if operator else "") for key, operator, value in clauses)
    parsed = parse_selector(text)
    assert parsed.text == text
    assert parse_selector(parsed.text) == parsed


@given(names, names, st.dictionaries(names, names))
def test_equals_and_differs_are_opposites(key: str, value: str, labels: dict[str, str]) -> None:
    subject = Subject("d", "p", "a", labels)
    assert matches(parse_selector(f"{key}={value}"), subject) is not matches(parse_selector(f"{key}!={value}"), subject)
