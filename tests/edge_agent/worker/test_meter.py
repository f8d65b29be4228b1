"""What a window says of what was served: on every runtime, for labels and values; labelled rows where allowed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.contract.messages import AgentSettings
from edge_agent.contract.windows import merge
from edge_agent.core.control import WindowClosed
from edge_agent.worker import answers
from edge_agent.worker.meter import NOTED_ROWS_MAX, noted_rows
from tests.fakes import bundles
from tests.fakes.bundles import FakeBundle
from tests.fakes.local_device import Device

BUILDERS = [bundles.logistic, bundles.tflite_logistic, bundles.numpy_logistic, bundles.regression]


def served(bundle: FakeBundle, **more: Any) -> Device:
    return Device(bundle, **more)


def close(device: Device) -> WindowClosed:
    """Close the window under way and return it."""
    for model in device.models.values():
        model.meter.flush()
    return device.windows[-1]


@pytest.mark.parametrize("build", BUILDERS)
def test_a_window_counts_all_that_was_answered_one_by_one_and_in_batches(
    tmp_path: Path, build: Callable[..., FakeBundle]
) -> None:
    bundle = build(tmp_path)
    device = served(bundle)
    rows = bundle.x.tolist()
    for row in rows:
        assert device.predict([row])[0] == 200
    assert device.predict(rows)[0] == 200
    (model,) = device.models.values()
    model.meter.tick(41.25)
    assert device.predict({"nonsense": 1})[0] == 400
    counts = close(device).counts
    assert (counts.rows, counts.errors, counts.rejected, counts.memory_mb) == (2 * len(rows), 0, 1, 41.2)
    assert all(feature.n == 2 * len(rows) for feature in counts.features)
    assert sum(counts.outputs) == 2 * len(rows)
    assert sum(counts.latency) == len(rows) + 1  # calls, not rows
    baseline = model.model.bundle.baseline
    if model.model.rule.labels:
        labels = np.bincount(bundle.scores.argmax(axis=1), minlength=len(model.model.rule.labels))
        assert counts.outputs == tuple((2 * labels).tolist())
        assert sum(counts.confidence) == (2 * len(rows) if baseline.output.confidence else 0)
    else:
        bins = np.searchsorted(np.array(baseline.output.edges, np.float32), bundle.scores[:, 0].astype(np.float32))
        assert counts.outputs == tuple((2 * np.bincount(bins, minlength=len(baseline.output.counts))).tolist())
        assert counts.confidence == ()


def test_rows_that_wait_to_be_folded_are_in_what_is_asked_for(tmp_path: Path) -> None:
    device = served(bundles.logistic(tmp_path))
    (model,) = device.models.values()
    for _ in range(5):
        device.predict([[1.0, 2.0]])
    assert model.meter.beat().infer_n == 5
    device.predict([[1.0, 2.0]])
    model.meter.snapshot()
    assert device.copies[-1].counts.rows == 6
    assert close(device).counts.rows == 6


def test_a_window_closes_at_its_rows_exactly_whatever_waits(tmp_path: Path) -> None:
    device = served(bundles.logistic(tmp_path), settings=AgentSettings(window_rows=7))
    for _ in range(20):
        device.predict([[1.0, 2.0]])
    assert [window.counts.rows for window in device.windows] == [7, 7]
    assert close(device).counts.rows == 6


def test_a_copy_comes_only_where_more_was_counted_and_grows_to_the_closed_window(tmp_path: Path) -> None:
    device = served(bundles.logistic(tmp_path))
    (model,) = device.models.values()
    model.meter.snapshot()
    assert device.copies == []
    device.predict([[1.0, 2.0]])
    for _ in range(3):
        model.meter.snapshot()
    device.predict([])  # refused, which is counted too
    model.meter.snapshot()
    first, second = device.copies
    assert (first.counts.rows, first.counts.rejected) == (1, 0)
    assert (second.counts.rows, second.counts.rejected) == (1, 1)
    closed = close(device)
    assert (closed.counts, closed.started) == (second.counts, second.started)
    model.meter.snapshot()
    assert len(device.copies) == 2  # the next window is empty


def test_missing_and_invalid_values_are_counted_by_column_accepted_or_refused(tmp_path: Path) -> None:
    device = served(bundles.logistic(tmp_path, features=3, nan_allowed=("x3",)))
    assert device.predict([[1.0, 2.0, None]])[0] == 500  # it may reach this model, which makes no number of it
    assert device.predict([[1.0, None, 2.0]])[0] == 400
    assert device.predict([[1e39, 0.0, 0.0]])[0] == 400
    counts = close(device).counts
    assert [(one.missing, one.invalid) for one in counts.features] == [(0, 1), (1, 0), (1, 0)]
    assert (counts.rows, counts.errors, counts.rejected) == (1, 1, 2)


@pytest.mark.parametrize("build", [bundles.logistic, bundles.regression])
def test_feedback_is_counted_and_no_row_is_kept_or_sent_by_default(
    tmp_path: Path, build: Callable[..., FakeBundle]
) -> None:
    device = served(build(tmp_path), settings=AgentSettings(feedback_rows=50))
    say_truth(device, 3)
    assert close(device).counts.feedback.n == 3
    assert device.samples == []


def say_truth(device: Device, rows: int) -> list[tuple[list[float], Any]]:
    """Predict some rows one by one, and say what was true of each: inputs and truth."""
    told = []
    (model,) = device.models.values()
    for number in range(rows):
        row = [number / 10, 0.1]
        answer = device.predict([row])[1]
        truth = model.model.rule.labels[number % 2] if model.model.rule.labels else number / 2
        body = json.dumps({"id": answer["id"], "labels" if model.model.rule.labels else "values": [truth]}).encode()
        assert device.call("POST", "/feedback", body)[0] == 200
        told.append((row, truth))
    return told


@pytest.mark.parametrize("build", [bundles.logistic, bundles.regression])
def test_labelled_rows_go_with_the_window_where_the_device_allows_it(
    tmp_path: Path, build: Callable[..., FakeBundle]
) -> None:
    device = served(build(tmp_path), settings=AgentSettings(feedback_rows=50), keeps_inputs=True)
    told = say_truth(device, 5)
    device.predict([[9.0, 9.0]])  # without a truth
    closed = close(device)
    (sample,) = device.samples
    assert device.counted.index(sample) < device.counted.index(closed)
    assert (sample.model, sample.version, sample.digest) == (closed.model, closed.version, closed.digest)
    (model,) = device.models.values()
    assert sample.columns == model.model.names
    assert sorted((list(row.inputs), row.truth) for row in sample.rows) == sorted(told)
    for row in sample.rows:
        prediction = model.model.predict([list(row.inputs)])  # type: ignore[list-item]  # nothing is missing here
        assert row.prediction == pytest.approx(prediction.labels[0] if prediction.labels else prediction.values[0])
    say_truth(device, 2)
    close(device)
    assert len(device.samples[-1].rows) == 2  # each window has its own sample


def test_a_sample_holds_what_the_server_asks_for_and_each_row_as_likely(tmp_path: Path) -> None:
    device = served(bundles.logistic(tmp_path), settings=AgentSettings(feedback_rows=10), keeps_inputs=True)
    firsts = []
    for _ in range(40):
        say_truth(device, 40)
        close(device)
        rows = device.samples[-1].rows
        assert len(rows) == 10
        firsts += [row.inputs[0] for row in rows]
    # Of 400 draws half are of the first 20 of 40 rows: 200, and 10 in standard deviation.
    assert 150 <= sum(first < 2.0 for first in firsts if first is not None) <= 250
    (model,) = device.models.values()
    model.meter.configure(AgentSettings(feedback_rows=0))
    say_truth(device, 5)
    close(device)
    assert len(device.samples) == 40


def test_inputs_that_wait_for_their_truth_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "KEPT_INPUTS", 6)  # three rows of two numbers
    device = served(bundles.logistic(tmp_path), settings=AgentSettings(feedback_rows=50), keeps_inputs=True)
    ids = [device.predict([[float(number), 0.0]])[1]["id"] for number in range(5)]
    for name in ids:
        assert device.call("POST", "/feedback", json.dumps({"id": name, "labels": [0]}).encode())[0] == 200
    counts = close(device).counts
    assert counts.feedback.n == 5
    assert [row.inputs[0] for row in device.samples[-1].rows] == [2.0, 3.0, 4.0]


def test_what_is_folded_at_once_is_bounded_by_its_size() -> None:
    assert noted_rows(2) == NOTED_ROWS_MAX
    assert noted_rows(300) * 300 <= 131_072
    assert noted_rows(100_000) == 256


def test_windows_of_one_model_merge(tmp_path: Path) -> None:
    device = served(bundles.logistic(tmp_path))
    device.predict([[1.0, 2.0]])
    first = close(device).counts
    device.predict([[1.0, 2.0], [0.5, 0.5]])
    assert merge(first, close(device).counts).rows == 3
