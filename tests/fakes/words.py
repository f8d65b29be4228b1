"""Strategies for every type of the contract: any value that its own rules allow."""

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from edge_agent.contract import (
    artifacts,
    baseline,
    card,
    enrolment,
    envelope,
    feedback,
    manifest,
    messages,
    profile,
    windows,
)
from edge_agent.core import control

INTEGERS = st.integers(-(2**63) + 1, 2**63 - 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(max_size=20)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,63}", fullmatch=True)
DEVICES = st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
COUNTS = st.integers(0, 10**6)
_ANSWERED = TEXTS | INTEGERS | NUMBERS | st.booleans() | st.lists(NUMBERS, min_size=1, max_size=3).map(tuple)

_BY_NAME: Mapping[str, st.SearchStrategy[Any]] = {
    "device": DEVICES,
    "digest": DIGESTS,
    "bundle": DIGESTS,
    "parcel": DIGESTS,
    "public_key": DIGESTS,
    "sha256": DIGESTS,
    "model": NAMES,
    "variant": NAMES,
    "cohort": NAMES,
    "profile": NAMES,
    "size": COUNTS,
    "packed_size": COUNTS,
}
_RULES: dict[type, Callable[[], st.SearchStrategy[Any]]] = {}


def anything(kind: Any, name: str = "") -> st.SearchStrategy[Any]:
    """Values of a field's type; a field of a known name gets what its rule allows."""
    if kind is str:
        return _BY_NAME.get(name, TEXTS)
    if kind is int:
        return _BY_NAME.get(name, INTEGERS)
    if kind in (float, bool):
        return {float: NUMBERS, bool: st.booleans()}[kind]
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return words(kind)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return st.sampled_from(kind)
    origin, args = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        (inner,) = (arg for arg in args if arg is not types.NoneType)
        return st.none() | anything(inner, name)
    if origin is tuple:
        return st.lists(anything(args[0], name), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(TEXTS, st.integers(0, 9) if args[1] is Any else anything(args[1]), max_size=3)
    raise TypeError(f"no strategy for {kind!r}")


@functools.cache
def words(cls: type) -> st.SearchStrategy[Any]:
    """Values of a dataclass of the contract."""
    return _RULES[cls]() if cls in _RULES else built(cls)


def built(cls: type, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """`st.builds` with a strategy for each field, those given taking precedence."""
    hints = get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls) if field.name not in given]
    return st.builds(cls, **{name: anything(hints[name], name) for name in names}, **given)


def several(cls: type, key: str, *, least: int = 0) -> st.SearchStrategy[Any]:
    """Up to three values of a dataclass that differ in one field."""
    return st.lists(words(cls), min_size=least, max_size=3, unique_by=lambda item: getattr(item, key)).map(tuple)


@st.composite
def _output(draw: st.DrawFn) -> manifest.OutputSpec:
    kind, columns = draw(st.sampled_from(manifest.ScoreKind)), draw(st.integers(1, 4))
    labels = {manifest.ScoreKind.VALUE: 0, manifest.ScoreKind.NORMALITY: 2}.get(kind, max(columns, 2))
    return manifest.OutputSpec(
        name=draw(TEXTS),
        kind=kind,
        columns=columns,
        labels=tuple(draw(st.lists(TEXTS, min_size=labels, max_size=labels))),
        label_type=draw(st.sampled_from(manifest.LabelType)),
        threshold=draw(NUMBERS),
    )


@st.composite
def _manifest(draw: st.DrawFn) -> manifest.Manifest:
    files = draw(several(manifest.FileSpec, "name", least=1))
    chosen = st.sampled_from([file.name for file in files])
    golden = built(manifest.Golden, file=chosen)
    made = built(
        manifest.Manifest,
        files=st.just(files),
        model_file=chosen,
        baseline_file=chosen,
        golden=golden,
        schema=st.just(1),
        encryption=st.none(),
    )
    return draw(made)  # type: ignore[no-any-return]  # what st.builds makes has no static type


@st.composite
def _feature_baseline(draw: st.DrawFn) -> baseline.FeatureBaseline:
    edges = tuple(sorted(draw(st.sets(NUMBERS, max_size=5))))
    counts = draw(st.lists(COUNTS, min_size=len(edges) + 1, max_size=len(edges) + 1).map(tuple))
    values = st.sets(NUMBERS, min_size=len(counts), max_size=len(counts)).map(lambda found: tuple(sorted(found)))
    given = {"edges": st.just(edges), "counts": st.just(counts), "categories": st.just(()) | values}
    return draw(built(baseline.FeatureBaseline, **given))  # type: ignore[no-any-return]  # as above


@st.composite
def _feedback_rows(draw: st.DrawFn) -> feedback.FeedbackRows:
    columns = draw(st.lists(TEXTS, min_size=1, max_size=4).map(tuple))
    inputs = st.lists(st.none() | NUMBERS, min_size=len(columns), max_size=len(columns)).map(tuple)
    rows = st.lists(built(feedback.LabelledRow, inputs=inputs, truth=_ANSWERED, prediction=_ANSWERED), max_size=3)
    return draw(built(feedback.FeedbackRows, rows=rows.map(tuple), columns=st.just(columns)))  # type: ignore[no-any-return]  # as above


@st.composite
def _soak(draw: st.DrawFn) -> messages.Soak:
    low, high = sorted(draw(st.tuples(*[st.floats(0, 1e6)] * 2)))
    return messages.Soak(low, high, draw(COUNTS), draw(st.floats(0, 1)))


@st.composite
def _parcel(draw: st.DrawFn) -> artifacts.Parcel:
    files = draw(several(artifacts.PackedFile, "name", least=1))
    return artifacts.Parcel(files[0].sha256, draw(st.integers(1, artifacts.CHUNK_BYTES)), files)


@st.composite
def _variant_entry(draw: st.DrawFn) -> card.VariantEntry:
    is_built = draw(st.booleans())
    either = {"digest": DIGESTS if is_built else st.none(), "reason": st.none() if is_built else TEXTS}
    return draw(built(card.VariantEntry, **either))  # type: ignore[no-any-return]  # as above


@st.composite
def _profile(draw: st.DrawFn) -> profile.Profile:
    worker, whole = sorted(draw(st.tuples(*[st.floats(1, 1e5)] * 2)))
    tuples = {
        "runtimes": st.lists(st.sampled_from(manifest.Runtime), min_size=1, max_size=3).map(tuple),
        "precisions": st.lists(st.sampled_from(manifest.Precision), min_size=1, max_size=3).map(tuple),
    }
    limits = {"memory_mb": st.just(whole), "worker_memory_mb": st.just(worker), "name": NAMES}
    return draw(built(profile.Profile, **tuples, **limits))  # type: ignore[no-any-return]  # as above


def _counts_of(length: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(COUNTS, min_size=length, max_size=length).map(tuple)


_RULES.update(
    {
        artifacts.PackedFile: lambda: built(
            artifacts.PackedFile, name=NAMES, chunks=st.lists(DIGESTS, max_size=3).map(tuple)
        ),
        artifacts.Parcel: _parcel,
        baseline.FeatureBaseline: _feature_baseline,
        feedback.FeedbackRows: _feedback_rows,
        card.Budget: lambda: built(card.Budget, loss=st.floats(0, 100)),
        card.VariantEntry: _variant_entry,
        manifest.FileSpec: lambda: built(
            manifest.FileSpec, name=NAMES.filter(lambda name: name != manifest.MANIFEST_NAME)
        ),
        manifest.InputSpec: lambda: built(manifest.InputSpec, features=several(manifest.Feature, "name", least=1)),
        manifest.Manifest: _manifest,
        manifest.OutputSpec: _output,
        messages.AgentSettings: lambda: st.builds(
            messages.AgentSettings, st.floats(1, 1e6), st.floats(1, 1e6), st.integers(1, 10**6), st.integers(0, 1000)
        ),
        messages.Desired: lambda: built(messages.Desired, bundles=several(messages.DesiredBundle, "model")),
        messages.Get: lambda: st.builds(
            messages.Get, st.lists(DIGESTS, min_size=1, max_size=messages.MAX_GET_DIGESTS).map(tuple)
        ),
        messages.Soak: _soak,
        profile.Profile: _profile,
        windows.WindowCounts: lambda: built(windows.WindowCounts, latency=_counts_of(windows.LATENCY_BUCKETS)),
    }
)

WIRE_TYPES: tuple[type, ...] = (
    messages.Status,
    messages.Reported,
    messages.Desired,
    messages.Event,
    messages.Health,
    messages.Get,
    messages.ServerStatus,
    enrolment.EnrolRequest,
    enrolment.Enrolment,
    enrolment.Challenge,
    enrolment.RenewRequest,
    enrolment.Renewal,
    windows.Window,
    feedback.FeedbackRows,
    envelope.Envelope,
    artifacts.Parcel,
    manifest.Manifest,
    baseline.Baseline,
    card.VersionRecord,
    profile.Profile,
)
CONTROL_TYPES: tuple[type, ...] = (*typing.get_args(control.Command), *typing.get_args(control.Answer))
