"""JSON to frozen dataclasses and back, strictly, with nothing but the standard library.

House rules: what comes in is checked completely before it is a value: types, required fields, enumerations, finite
numbers, depth by construction. Unknown fields are ignored on the wire, since older and newer ends exist, and refused
in configuration (`unknown="refuse"`). A field whose value is `None` is left out on the way out.

Supported field types: str, int, float, bool, `StrEnum`, dataclasses, `X | None`, `tuple[X, ...]`, `Mapping[str, X]`,
and `JsonObject` for the few places where any object may stand. 32-bit boards have no wheel of a faster library.
"""

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
Unknown = Literal["ignore", "refuse"]
JsonObject = Mapping[str, Any]

_MAX_INT = 2**63 - 1


class MalformedError(ValueError):
    """A document is not what it must be; the message names the place, what was found and what was expected."""


def to_plain(value: Any) -> Any:
    """Return `value` as JSON's own types: dataclasses become objects, tuples arrays; `None` fields are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: to_plain(item) for name, item in pairs if item is not None}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    return value


def encode(value: Any) -> bytes:
    """Return `value` as compact UTF-8 JSON, keys in the order of the fields.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(to_plain(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def decode(cls: type[T], data: bytes | str, *, unknown: Unknown = "ignore") -> T:
    """Parse JSON text into `cls`.

    Raises:
        MalformedError: not JSON, or not of the form of `cls`.
    """
    try:
        plain = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{cls.__name__}: not JSON: {error}") from error
    return from_plain(cls, plain, unknown=unknown)


def from_plain(cls: type[T], plain: Any, *, unknown: Unknown = "ignore", at: str = "") -> T:
    """Check JSON's own types against `cls` and return the value; `at` is the name of the place for messages.

    Raises:
        MalformedError: a field is missing, of another type, out of range, or unknown where that is refused.
    """
    value: T = _reader(typing.cast("Any", cls), unknown)(plain, at or cls.__name__)
    return value


def _refuse_constant(text: str) -> None:
    raise MalformedError(f"not JSON: {text} is no number")


Reader = Callable[[Any, str], Any]


@functools.cache
def _reader(kind: Any, unknown: Unknown) -> Reader:
    """Build, once per type, the function that reads it."""
    if isinstance(kind, type):
        if dataclasses.is_dataclass(kind):
            return _read_dataclass(kind, unknown)
        if issubclass(kind, StrEnum):
            return functools.partial(_read_enum, kind)
        if kind in _SCALARS:
            return _SCALARS[kind]
    origin, args = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType) and types.NoneType in args:
        (inner,) = (arg for arg in args if arg is not types.NoneType)
        return functools.partial(_read_optional, _reader(inner, unknown))
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return functools.partial(_read_tuple, _reader(args[0], unknown))
    if origin is Mapping and args[0] is str:
        return functools.partial(_read_mapping, _reader(args[1], unknown))
    if kind is Any:
        return lambda value, _at: value
    raise TypeError(f"the codec has no rule for {kind!r}")


def _read_dataclass(cls: type, unknown: Unknown) -> Reader:
    hints = get_type_hints(cls)
    fields = [field for field in dataclasses.fields(cls) if field.init]
    required = {
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    readers = {field.name: _reader(hints[field.name], unknown) for field in fields}

    def read(plain: Any, at: str) -> Any:
        if not isinstance(plain, dict):
            raise MalformedError(f"{at}: expected an object, found {_name(plain)}")
        if unknown == "refuse" and (extra := plain.keys() - readers.keys()):
            raise MalformedError(f"{at}: unknown key {min(extra)!r}; known keys are {', '.join(sorted(readers))}")
        if missing := required - plain.keys():
            raise MalformedError(f"{at}: missing {min(missing)!r}")
        found = {name: readers[name](plain[name], f"{at}.{name}") for name in readers if name in plain}
        try:
            return cls(**found)
        except ValueError as error:  # a type's own rule, stated in its __post_init__
            raise MalformedError(f"{at}: {error}") from error

    return read


def _read_enum(kind: type[StrEnum], value: Any, at: str) -> StrEnum:
    try:
        return kind(value)
    except ValueError as error:
        raise MalformedError(f"{at}: expected one of {', '.join(kind)}, found {_short(value)}") from error


def _read_optional(inner: Reader, value: Any, at: str) -> Any:
    return None if value is None else inner(value, at)


def _read_tuple(inner: Reader, value: Any, at: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise MalformedError(f"{at}: expected an array, found {_name(value)}")
    return tuple(inner(item, f"{at}[{index}]") for index, item in enumerate(value))


def _read_mapping(inner: Reader, value: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(f"{at}: expected an object, found {_name(value)}")
    return {_read_str(key, at): inner(item, f"{at}.{key}") for key, item in value.items()}


def _read_str(value: Any, at: str) -> str:
    if not isinstance(value, str):
        raise MalformedError(f"{at}: expected a string, found {_name(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can escape half a pair; no database, log or JSON could carry it on
        raise MalformedError(f"{at}: expected Unicode text, found half of a surrogate pair") from error
    return value


def _read_bool(value: Any, at: str) -> bool:
    if not isinstance(value, bool):
        raise MalformedError(f"{at}: expected true or false, found {_name(value)}")
    return value


def _read_int(value: Any, at: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _MAX_INT:
        raise MalformedError(f"{at}: expected a whole number of 64 bits, found {_short(value)}")
    return value


def _read_float(value: Any, at: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise MalformedError(f"{at}: expected a number, found {_name(value)}")
    try:
        number = float(value)
    except OverflowError as error:
        raise MalformedError(f"{at}: expected a finite number") from error
    if not math.isfinite(number):
        raise MalformedError(f"{at}: expected a finite number, found {number}")
    return number


_SCALARS: Mapping[Any, Reader] = {str: _read_str, bool: _read_bool, int: _read_int, float: _read_float}


def _name(value: Any) -> str:
    names = {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "nothing")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
