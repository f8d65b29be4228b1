"""The codec: what goes out comes back, and nothing else comes in."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.contract import codec
from edge_agent.contract.codec import MalformedError, decode, encode, from_plain, to_plain
from edge_agent.contract.messages import Reported, Status
from tests.fakes.words import WIRE_TYPES, words

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


class Colour(StrEnum):
    """An enumeration for the tests."""

    RED = "red"


@dataclass(frozen=True, slots=True)
class Sample:
    """One field of each kind that the codec knows."""

    text: str
    whole: int
    number: float
    flag: bool
    colour: Colour
    names: tuple[str, ...]
    sizes: Mapping[str, int]
    free: codec.JsonObject = dataclasses.field(default_factory=dict)
    note: str | None = None


GOOD: dict[str, Any] = {
    "text": "a",
    "whole": 1,
    "number": 1,
    "flag": True,
    "colour": "red",
    "names": ["x"],
    "sizes": {"x": 1},
}


@pytest.mark.parametrize("cls", WIRE_TYPES, ids=lambda cls: cls.__name__)
@settings(max_examples=20)
@given(data=st.data())
def test_every_message_comes_back_as_it_went(cls: type, data: st.DataObject) -> None:
    """decode(encode(x)) == x for every type on the wire."""
    value = data.draw(words(cls))
    assert decode(cls, encode(value)) == value


@given(data=st.data())
def test_unknown_fields_are_tolerated_on_the_wire(data: st.DataObject) -> None:
    """A newer end may say more: at any level, what is not known is passed over."""
    value = data.draw(words(Reported))
    plain = to_plain(value)
    plain["a-new-field"] = data.draw(JSON)
    plain["capabilities"]["another"] = data.draw(JSON)
    assert from_plain(Reported, plain) == value


def test_unknown_keys_are_refused_in_configuration() -> None:
    """The message names the place, the key and the keys that exist."""
    with pytest.raises(MalformedError, match=r"Sample: unknown key 'tyop'; known keys are colour, flag, free"):
        from_plain(Sample, {**GOOD, "tyop": 1}, unknown="refuse")


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_missing_field_is_named(name: str) -> None:
    """Nothing is assumed for a field without a default."""
    with pytest.raises(MalformedError, match=f"Sample: missing '{name}'"):
        from_plain(Sample, {key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("text", 1),
        ("text", None),
        ("text", ["a"]),
        ("text", "\ud800"),
        ("whole", 1.0),
        ("whole", True),
        ("whole", "1"),
        ("whole", 2**63),
        ("whole", -(2**63)),
        ("whole", 10**400),
        ("number", "1"),
        ("number", True),
        ("number", None),
        ("number", 10**400),
        ("number", float("inf")),
        ("number", float("nan")),
        ("flag", 1),
        ("flag", "true"),
        ("colour", "blue"),
        ("colour", 1),
        ("colour", []),
        ("colour", {}),
        ("colour", "RED"),
        ("names", "x"),
        ("names", [1]),
        ("names", {"0": "x"}),
        ("sizes", []),
        ("sizes", {"x": "1"}),
        ("sizes", {"\udfff": 1}),
        ("note", 1),
        ("free", []),
    ],
)
def test_a_wrong_value_is_refused_and_its_place_named(name: str, wrong: object) -> None:
    """Types are not bent: no text for numbers, no booleans for integers, nothing beyond 64 bits, nothing infinite."""
    with pytest.raises(MalformedError, match=rf"^Sample\.{name}"):
        from_plain(Sample, {**GOOD, name: wrong})


def test_nothing_stands_for_an_optional_value_only() -> None:
    """null is read where a field is optional, and never written."""
    assert from_plain(Sample, {**GOOD, "note": None}).note is None
    assert b"note" not in encode(from_plain(Sample, GOOD))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"ready"',
        b"1",
        b"\xff\xfe",
        b'{"state":"ready","boot":1,"ts":1,}',
        b'{"state":"ready","boot":NaN,"ts":1}',
        b'{"state":"ready","boot":1,"ts":Infinity}',
        b'{"state":"ready","boot":1e3,"ts":1}',
        b'{"state":"ready","boot":' + b"9" * 5000 + b',"ts":1}',
        b"[" * 100_000,
        b'{"state":' * 50_000,
        b'{"state":"ready","boot":1,"ts":1}trailing',
    ],
    ids=lambda text: repr(text[:24]),
)
def test_text_that_is_no_message_is_refused(text: bytes) -> None:
    """Whatever comes in, the answer is a MalformedError, not another exception."""
    with pytest.raises(MalformedError):
        decode(Status, text)


@pytest.mark.parametrize("cls", WIRE_TYPES, ids=lambda cls: cls.__name__)
@settings(max_examples=20)
@given(garbage=JSON | st.binary(max_size=60))
def test_garbage_never_raises_anything_else(cls: type, garbage: Any) -> None:
    """Any JSON and any bytes are a value of the type or a MalformedError."""
    text = garbage if isinstance(garbage, bytes) else json.dumps(garbage).encode()
    try:
        decode(cls, text)
    except MalformedError:
        return


@pytest.mark.parametrize("cls", WIRE_TYPES, ids=lambda cls: cls.__name__)
@settings(max_examples=20)
@given(data=st.data())
def test_one_broken_field_never_raises_anything_else(cls: type, data: st.DataObject) -> None:
    """A message that is right but for one value is refused, or still a value of the type: never a crash."""
    plain = to_plain(data.draw(words(cls)))
    plain[data.draw(st.sampled_from(sorted(plain)))] = data.draw(JSON)
    try:
        from_plain(cls, plain)
    except MalformedError:
        return


def test_what_is_not_finite_is_not_written() -> None:
    """A NaN stops at the sender."""
    with pytest.raises(ValueError, match="Out of range"):
        encode({"x": float("nan")})


def test_a_type_without_a_rule_is_a_bug() -> None:
    """A field of a type that the codec does not know fails when it is first read, not in the field."""

    @dataclass(frozen=True)
    class Odd:
        when: complex

    with pytest.raises(TypeError, match="no rule"):
        from_plain(Odd, {"when": 1})
