"""Queries over devices: `key=value`, `key!=value` or `key`, joined by commas; all of them must hold.

House rules: keys are labels of a device, or the built-ins `id`, `profile` and `arch`, which win over labels and may
not be used as labels. An empty query selects every device. `key!=value` also holds where the device has no such label.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

BUILT_INS = ("id", "profile", "arch")
MAX_CLAUSES = 32

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_VALUE = re.compile(r"[A-Za-z0-9_.:/-]{0,128}")
_KEY_RULE = "a key is 1 to 63 letters, digits, '_', '.' and '-', and begins with a letter or digit"
_VALUE_RULE = "a value is at most 128 letters, digits, '_', '.', ':', '/' and '-'"


class SelectorError(ValueError):
    """A query or a label is not of the form that this module states; the message says where and why."""


class Operator(StrEnum):
    """How a clause compares."""

    EQUALS = "="
    DIFFERS = "!="
    EXISTS = ""


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition of a query."""

    key: str
    operator: Operator
    value: str = ""

    def __str__(self) -> str:
        return f"{self.key}{self.operator}{self.value}"


@dataclass(frozen=True, slots=True)
class Selector:
    """A parsed query: every clause must hold; without clauses it selects all."""

    clauses: tuple[Clause, ...] = ()

    @property
    def text(self) -> str:
        """The query in its canonical form."""
        return ",".join(str(clause) for clause in self.clauses)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a query sees of a device."""

    id: str
    profile: str
    arch: str
    labels: Mapping[str, str] = field(default_factory=dict)


def parse_selector(text: str) -> Selector:
    """Parse a query.

    Raises:
        SelectorError: a clause is empty, has a bad key or value, or there are too many.
    """
    if not text.strip():
        return Selector()
    parts = text.split(",")
    if len(parts) > MAX_CLAUSES:
        raise SelectorError(f"a query has at most {MAX_CLAUSES} conditions, not {len(parts)}")
    return Selector(tuple(_parse_clause(part.strip(), number) for number, part in enumerate(parts, start=1)))


def matches(selector: Selector, subject: Subject) -> bool:
    """Whether every clause of the query holds for a device."""
    return all(_holds(clause, subject) for clause in selector.clauses)


def check_label(key: str, value: str) -> None:
    """Check a label before it is stored, so that a query can always name it.

    Raises:
        SelectorError: the key is a built-in or malformed, or the value is.
    """
    if key in BUILT_INS:
        raise SelectorError(f"{key!r} is known of every device and cannot be a label; choose another key")
    _check(_KEY, key, _KEY_RULE, key)
    _check(_VALUE, value, _VALUE_RULE, f"{key}={value}")


def _parse_clause(part: str, number: int) -> Clause:
    if not part:
        raise SelectorError(f"condition {number} is empty; write key=value, key!=value or key, joined by commas")
    if "!=" in part:
        key, _, value = part.partition("!=")
        operator = Operator.DIFFERS
    elif "=" in part:
        key, _, value = part.partition("=")
        operator = Operator.EQUALS
    else:
        key, value, operator = part, "", Operator.EXISTS
    key, value = key.strip(), value.strip()
    _check(_KEY, key, _KEY_RULE, part)
    _check(_VALUE, value, _VALUE_RULE, part)
    return Clause(key, operator, value)


def _check(pattern: re.Pattern[str], text: str, rule: str, part: str) -> None:
    if pattern.fullmatch(text) is None:
        raise SelectorError(f"{part[:80]!r}: {rule}, not {text[:80]!r}")


def _holds(clause: Clause, subject: Subject) -> bool:
    found = _value(clause.key, subject)
    match clause.operator:
        case Operator.EXISTS:
            return found is not None
        case Operator.EQUALS:
            return found == clause.value
        case Operator.DIFFERS:
            return found != clause.value


def _value(key: str, subject: Subject) -> str | None:
    match key:
        case "id":
            return subject.id
        case "profile":
            return subject.profile
        case "arch":
            return subject.arch
        case _:
            return subject.labels.get(key)
