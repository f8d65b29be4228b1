"""The policy of a rollout as a document: JSON's own types in, a `Policy` out, and back again; and the policies given.

House rules: strict; an error names the key and what was expected of it. What `plain_policy` writes, `parse_policy`
reads; documents of before a field existed get its default.
"""

import dataclasses
import datetime as dt
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fleet_server.core.policies import (
    WEEKDAYS,
    Amount,
    MaintenanceWindow,
    Metric,
    MetricRule,
    Policy,
    PolicyError,
    Silence,
)
from fleet_server.core.sprt import Sprt

__all__ = ["AUTOMATIC_POLICY", "DEFAULT_POLICY", "FIELDS", "Policy", "parse_amount", "parse_policy", "plain_policy"]
DEFAULT_POLICY = Policy((Amount(25, percent=True), Amount(100, percent=True)))
# Nobody watches these: a tenth is held back, devices are seen for two looks at least, and the deadline is a day.
AUTOMATIC_POLICY = Policy(
    phases=(Amount(10, percent=True), Amount(50, percent=True), Amount(100, percent=True)),
    max_failures=Amount(2, percent=True),
    phase_timeout_s=86_400.0,
    stable=Amount(10, percent=True),
    min_soak_s=2 * 3600.0,
)

_CLOCK = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")
FIELDS = tuple(item.name for item in dataclasses.fields(Policy))


def parse_amount(value: object, what: str = "a number of devices") -> Amount:
    """Parse `"25%"`, `"3"` or 3.

    Raises:
        PolicyError: it is neither a percentage nor a number of devices.
    """
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    try:
        amount = float(text.removesuffix("%"))
    except ValueError:
        amount = math.nan
    if not math.isfinite(amount):
        raise PolicyError(f"{str(value)[:40]!r} is no {what}: write a share like 25% or a number like 3")
    return Amount(amount, text.endswith("%"))


def parse_policy(document: Mapping[str, Any]) -> Policy:
    """Read a policy; what it does not say is as in `DEFAULT_POLICY`.

    Raises:
        PolicyError: a key is unknown, or a value is none of what its key takes; the message names the key.
    """
    _check_keys(document, FIELDS, "the policy")
    values = {name: _at(name, _READERS[name], value) for name, value in document.items()}
    return dataclasses.replace(DEFAULT_POLICY, **values)


def plain_policy(policy: Policy) -> dict[str, Any]:
    """Return a policy as JSON's own types, as `parse_policy` takes it."""
    plain: dict[str, Any] = {name: getattr(policy, name) for name in FIELDS}
    plain["phases"] = [str(size) for size in policy.phases]
    for name in ("max_failures", "stable", "max_unavailable"):
        amount = plain[name]
        plain[name] = None if amount is None else str(amount) if amount.percent else int(amount.amount)
    plain["promotion"] = None if policy.promotion is None else dataclasses.asdict(policy.promotion)
    plain["metrics"] = {metric.value: dataclasses.asdict(rule) for metric, rule in policy.metrics.items()}
    plain["silent"] = policy.silent.value
    plain["maintenance"] = [
        {
            "days": [WEEKDAYS[day] for day in sorted(window.days)],
            "start": _clock(window.start_minute),
            "end": _clock(window.end_minute),
        }
        for window in policy.maintenance
    ]
    plain["start_at"] = None
    if policy.start_at is not None:
        plain["start_at"] = dt.datetime.fromtimestamp(policy.start_at, dt.UTC).isoformat()
    return plain


def _at(name: str, read: Callable[[Any], Any], value: object) -> Any:
    try:
        return read(value)
    except ValueError as error:
        text = str(error)
        raise PolicyError(text if name in text else f"{name}: {text}") from error


def _check_keys(document: object, known: Iterable[str], what: str) -> None:
    if not isinstance(document, Mapping):
        raise PolicyError(f"{what} is an object of keys and values, not {document!r:.40}")
    names = list(known)
    for key in document:
        if key not in names:
            raise PolicyError(f"{what} has no key {str(key)[:40]!r}; it knows {', '.join(names)}")


def _phases(value: object) -> tuple[Amount, ...]:
    if not isinstance(value, list | tuple):
        raise PolicyError(f'phases are a list like ["25%", "100%"], not {value!r:.40}')
    return tuple(parse_amount(item, "phase") for item in value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise PolicyError(f"a number is expected, not {value!r:.40}")
    return float(value)


def _whole(value: object) -> int:
    if _number(value) != int(_number(value)):
        raise PolicyError(f"a whole number is expected, not {value!r:.40}")
    return int(_number(value))


def _optional(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


def _promotion(value: object) -> Sprt | None:
    if value is None or value is False:
        return None
    names = [item.name for item in dataclasses.fields(Sprt)]
    _check_keys(value, names, "promotion")
    return Sprt(**{name: _at(name, _number, item) for name, item in dict(value).items()})  # type: ignore[call-overload]  # checked to be a mapping just above


def _metrics(value: object) -> dict[Metric, MetricRule]:
    _check_keys(value, [metric.value for metric in Metric], "metrics")
    found = {}
    for name, rule in dict(value).items():  # type: ignore[call-overload]  # checked to be a mapping just above
        _check_keys(rule, ("margin", "dry_run"), f"metrics.{name}")
        if "margin" not in rule:
            raise PolicyError(f"metrics.{name} states its margin")
        if not isinstance(rule.get("dry_run", False), bool):
            raise PolicyError(f"metrics.{name}.dry_run is true or false")
        found[Metric(name)] = MetricRule(_at(name, _number, rule["margin"]), rule.get("dry_run", False))
    return found


def _silence(value: object) -> Silence:
    if not isinstance(value, str) or value not in list(Silence):
        raise PolicyError(f"silent is one of {', '.join(Silence)}, not {value!r:.40}")
    return Silence(value)


def _maintenance(value: object) -> tuple[MaintenanceWindow, ...]:
    if not isinstance(value, list | tuple):
        raise PolicyError(f"maintenance is a list of windows, not {value!r:.40}")
    found = []
    for item in value:
        _check_keys(item, ("days", "start", "end"), "a maintenance window")
        days = item.get("days", list(WEEKDAYS))
        if not isinstance(days, list | tuple) or any(day not in WEEKDAYS for day in days):
            raise PolicyError(f"days are a list of {', '.join(WEEKDAYS)}")
        numbers = frozenset(WEEKDAYS.index(day) for day in days)
        found.append(MaintenanceWindow(_minute(item.get("start")), _minute(item.get("end")), numbers))
    return tuple(found)


def _minute(value: object) -> int:
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise PolicyError(f"a maintenance window has start and end like 02:30, not {value!r:.40}")
    return int(match[1]) * 60 + int(match[2])


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _time(value: object) -> float:
    try:
        made = dt.datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError as error:
        raise PolicyError(f"a time like 2027-01-31T02:00:00+00:00 is expected, not {value!r:.40}") from error
    if made.tzinfo is None:
        raise PolicyError(f"{value} says no time zone: write 2027-01-31T02:00:00+00:00, or end it with Z")
    return made.timestamp()


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "phases": _phases,
    "max_failures": parse_amount,
    "phase_soak_s": _number,
    "phase_timeout_s": _number,
    "stable": _optional(parse_amount),
    "min_soak_s": _number,
    "min_inferences": _whole,
    "promotion": _promotion,
    "alpha": _number,
    "look_s": _number,
    "bad_error_ratio": _number,
    "metrics": _metrics,
    "silent_s": _optional(_number),
    "silent": _silence,
    "maintenance": _maintenance,
    "max_unavailable": _optional(parse_amount),
    "offers_per_hour": _optional(_whole),
    "start_at": _optional(_time),
}
