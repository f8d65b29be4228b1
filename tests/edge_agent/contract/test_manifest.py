"""Manifests, cards, baselines and profiles: the rules that their types state."""

from typing import Any

import pytest
from hypothesis import given

from edge_agent.contract import codec, states
from edge_agent.contract.baseline import FeatureBaseline
from edge_agent.contract.card import Bound, Gate, VariantEntry
from edge_agent.contract.codec import MalformedError
from edge_agent.contract.manifest import (
    MAX_MANIFEST_BYTES,
    Feature,
    FileSpec,
    InputSpec,
    Manifest,
    OutputSpec,
    Precision,
    Runtime,
    ScoreKind,
    bundle_digest,
    parse_manifest,
)
from edge_agent.contract.messages import AgentSettings, Desired, Get, Soak
from tests.fakes.words import words


@given(manifest=words(Manifest))
def test_a_manifest_comes_back_and_its_digest_is_of_its_bytes(manifest: Manifest) -> None:
    """Round trip; equal bytes, equal digest."""
    data = codec.encode(manifest)
    assert parse_manifest(data) == manifest
    assert bundle_digest(data) == bundle_digest(codec.encode(parse_manifest(data)))


@given(manifest=words(Manifest))
def test_a_manifest_names_only_what_it_lists(manifest: Manifest) -> None:
    """Model, baseline and golden vectors are files of it; names stand once; the schema is known; nothing is sealed."""
    plain = codec.to_plain(manifest)
    for change in (
        {"model_file": "not-listed"},
        {"baseline_file": "not-listed"},
        {"golden": {**plain["golden"], "file": "not-listed"}},
        {"files": [*plain["files"], plain["files"][0]]},
        {"schema": 2},
        {"encryption": {"scheme": "made-up"}},
        {"model": "No Name"},
        {"runtime": "tensorflow"},
    ):
        with pytest.raises(MalformedError):
            codec.from_plain(Manifest, {**plain, **change})


def test_a_manifest_has_a_limit() -> None:
    """A board parses no more than this."""
    with pytest.raises(MalformedError, match="over the limit"):
        parse_manifest(b" " * (MAX_MANIFEST_BYTES + 1))


@pytest.mark.parametrize(
    ("kind", "columns", "labels", "threshold"),
    [
        (ScoreKind.PROBABILITY, 3, ("a", "b"), None),
        (ScoreKind.PROBABILITY, 0, (), None),
        (ScoreKind.VALUE, 1, ("a",), None),
        (ScoreKind.DISTANCE, 3, ("a", "b"), None),
        (ScoreKind.NORMALITY, 1, ("in",), 0.0),
        (ScoreKind.NORMALITY, 1, ("out", "in"), None),
        (ScoreKind.MARGIN, 1, ("a", "b"), None),
    ],
)
def test_scores_that_give_no_label_are_refused(
    kind: ScoreKind, columns: int, labels: tuple[str, ...], threshold: float | None
) -> None:
    """Columns, labels and threshold must be enough for the kind's label rule."""
    with pytest.raises(ValueError, match="need"):
        OutputSpec("scores", kind, columns, labels, threshold=threshold)


def test_an_input_has_distinct_features() -> None:
    """One at least, none twice."""
    with pytest.raises(ValueError, match="one feature"):
        InputSpec("x", ())
    with pytest.raises(ValueError, match="repeat"):
        InputSpec("x", (Feature("a", 0, 1), Feature("a", 0, 1)))


@pytest.mark.parametrize(("name", "size"), [("manifest.json", 1), ("a", -1), ("../a", 1)])
def test_a_listed_file_is_within_the_bundle(name: str, size: int) -> None:
    """The manifest cannot list itself, nor anything outside."""
    with pytest.raises(ValueError, match=r"no file that a manifest may name|a name is"):
        FileSpec(name, "a" * 64, size)


def test_a_baseline_has_rising_edges_and_a_count_for_each_bin() -> None:
    """n edges make n + 1 bins."""
    plain: dict[str, Any] = {"name": "x", "low": 0, "high": 1, "missing": 0, "mean": 0, "std": 1}
    with pytest.raises(ValueError, match="2 edges make 3 bins, not 1"):
        FeatureBaseline(**plain, edges=(0.1, 0.2), counts=(1,))
    with pytest.raises(ValueError, match="edges must rise"):
        FeatureBaseline(**plain, edges=(0.2, 0.2), counts=(1, 1, 1))


def test_a_gate_is_passed_on_its_good_side_and_on_its_threshold() -> None:
    """Both bounds count the threshold itself as good."""
    passed = {(bound, value): Gate("m", bound, 0.5, value).passed for bound in Bound for value in (0.4, 0.5, 0.6)}
    assert [value for (bound, value), ok in passed.items() if ok and bound is Bound.AT_LEAST] == [0.5, 0.6]
    assert [value for (bound, value), ok in passed.items() if ok and bound is Bound.AT_MOST] == [0.4, 0.5]


@pytest.mark.parametrize(("digest", "reason"), [(None, None), ("a" * 64, "why")])
def test_a_variant_is_built_or_says_why_not(digest: str | None, reason: str | None) -> None:
    """Never both, never neither."""
    with pytest.raises(ValueError, match="either a digest or the reason"):
        VariantEntry("onnx-fp32", Runtime.ONNX, Precision.FP32, digest, reason)


@pytest.mark.parametrize(
    ("cls", "plain"),
    [
        (Soak, {"min_s": -1}),
        (Soak, {"min_s": 5, "max_s": 4}),
        (Soak, {"min_rows": -1}),
        (Soak, {"max_error_ratio": 1.1}),
        (Soak, {"max_error_ratio": -0.1}),
        (AgentSettings, {"health_s": 0}),
        (AgentSettings, {"window_s": 0.5}),
        (AgentSettings, {"window_rows": 0}),
        (Get, {"digests": []}),
        (Get, {"digests": ["a" * 64] * 65}),
        (Get, {"digests": ["A" * 64]}),
    ],
)
def test_settings_out_of_range_are_refused(cls: type, plain: dict[str, Any]) -> None:
    """A policy that cannot be meant is not taken."""
    with pytest.raises(MalformedError):
        codec.from_plain(cls, plain)


@given(desired=words(Desired))
def test_a_model_stands_once_in_a_set(desired: Desired) -> None:
    """Two versions of one model cannot be desired at once."""
    plain = codec.to_plain(desired)
    if plain["bundles"]:
        with pytest.raises(MalformedError, match="stands twice"):
            codec.from_plain(Desired, {**plain, "bundles": [*plain["bundles"], plain["bundles"][0]]})


def test_refusals_are_reasons_and_success_is_none() -> None:
    """`ok` goes with success alone."""
    assert states.Reason.OK not in states.REFUSALS
    assert set(states.Reason) > states.REFUSALS
