"""The local API in this process: bundles are real, requests are built by hand, no socket."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.adapters.http_message import HttpError
from edge_agent.contract.manifest import LabelType
from edge_agent.contract.messages import AgentSettings
from tests.fakes import bundles
from tests.fakes.bundles import FakeBundle
from tests.fakes.local_device import Device


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> FakeBundle:
    return bundles.logistic(tmp_path_factory.mktemp("demo"), features=3, classes=3, nan_allowed=("x3",))


@pytest.fixture
def device(demo: FakeBundle) -> Device:
    return Device(demo)


def test_every_form_of_a_row_gives_the_same_answer(device: Device, demo: FakeBundle) -> None:
    row = [float(value) for value in demo.x[0]]
    named = {"x3": row[2], "x1": row[0], "x2": row[1]}
    for plain in (named, {"rows": [named]}, {"rows": [row]}, [named], [row], row):
        status, answer = device.predict(plain)
        assert status == 200
        assert answer["labels"] == [int(demo.scores[0].argmax())]
        np.testing.assert_allclose(answer["scores"], demo.scores[:1], atol=1e-6)
        assert (answer["model"], answer["version"]) == ("demo", 3)


def test_answered_numbers_are_the_float32_scores_exactly(device: Device, demo: FakeBundle) -> None:
    _status, answer = device.predict(demo.x.tolist())
    expected = device.models["demo"].model.runtime.predict(demo.x)
    assert np.array_equal(np.array(answer["scores"], np.float32), expected)


BAD_ROWS: list[tuple[str, bytes, list[str]]] = [
    ("empty", b"", ["empty"]),
    ("broken json", b'{"x1": 1,', ["not JSON"]),
    ("not utf-8", b"\xff\xfe\xfa", ["not JSON"]),
    ("a word", b'"hello"', ["expected an object", "a string"]),
    ("null", b"null", ["expected an object", "null"]),
    ("no rows", b"[]", ["a row at least"]),
    ("no rows by name", b'{"rows": []}', ["a row at least"]),
    ("rows no list", b'{"rows": 3}', ["a list of rows", "a number"]),
    ("unknown name", b'{"x1": 1, "x2": 2, "x9": 3}', ["x9", "expected x1, x2, x3"]),
    ("name too many", b'{"x1": 1, "x2": 2, "x3": 3, "x4": 4}', ["x4"]),
    ("missing name", b'{"x1": 1, "x3": 2}', ["x2", "missing"]),
    ("too few numbers", b"[[1, 2]]", ["expected 3", "found 2"]),
    ("too many numbers", b"[[1, 2, 3, 4]]", ["expected 3", "found 4"]),
    ("second row short", b"[[1, 2, 3], [1]]", ["row 1", "expected 3"]),
    ("text", b'{"x1": "1", "x2": 2, "x3": 3}', ["x1", "expected a number", "a string"]),
    ("boolean", b'{"x1": true, "x2": 2, "x3": 3}', ["x1", "a boolean"]),
    ("list for a number", b'{"x1": [1], "x2": 2, "x3": 3}', ["x1", "a list"]),
    ("null where forbidden", b'{"x1": null, "x2": 2, "x3": 3}', ["x1", "missing"]),
    ("nan where forbidden", b"[[NaN, 2, 3]]", ["x1", "missing"]),
    ("infinity", b"[[1, 2, Infinity]]", ["x3", "finite"]),
    ("over float32", b"[[1, 1e300, 3]]", ["x2", "32 bits"]),
    ("over float64", b"[[1, 1e999, 3]]", ["x2", "32 bits"]),
    ("huge integer", b"[[1, 1" + b"0" * 400 + b", 3]]", ["32 bits"]),
    ("too many digits", b"[[1, " + b"1" * 5000 + b", 3]]", ["not JSON"]),
    ("deep", b"[" * 100_000, ["deeper"]),
    ("mixed rows", b"[[1, 2, 3], 4]", ["row 1", "a number"]),
]


@pytest.mark.parametrize(("body", "words"), [case[1:] for case in BAD_ROWS], ids=[case[0] for case in BAD_ROWS])
def test_bad_input_is_refused_with_what_was_expected_and_never_reaches_the_model(
    demo: FakeBundle, body: bytes, words: list[str]
) -> None:
    device = Device(demo)
    status, answer = device.call("POST", "/predict", body)
    assert status == 400
    for word in words:
        assert word in answer["error"]
    beat = device.models["demo"].meter.beat()
    assert (beat.infer_n, beat.err_n, beat.rejected_n) == (0, 0, 1)


BAD_CALLS: list[tuple[str, str, int, str]] = [
    ("GET", "/predict", 405, "POST"),
    ("DELETE", "/predict/demo", 405, "POST"),
    ("POST", "/predict/other", 404, "demo"),
    ("POST", "/predict?threshold=0.5", 400, "threshold"),
    ("GET", "/nothing", 404, "/predict"),
    ("POST", "/healthz", 405, "GET"),
    ("GET", "/v2/models/other", 404, "demo"),
    ("GET", "/v2/models/demo/versions/2", 404, "3 is"),
    ("GET", "/v2/models/demo/infer", 405, "POST"),
    ("GET", "/v2/models/demo/config", 404, "config"),
    ("POST", "/feedback", 400, "JSON"),
]


@pytest.mark.parametrize(("method", "target", "status", "word"), BAD_CALLS)
def test_a_call_that_is_not_offered_says_so(device: Device, method: str, target: str, status: int, word: str) -> None:
    found, answer = device.call(method, target, b"")
    assert found == status
    assert word in answer["error"]


def test_missing_values_reach_the_model_where_the_manifest_allows_them(tmp_path: Path) -> None:
    bundle = bundles.nan_producing(tmp_path, features=2, nan_allowed=("x2",))
    device = Device(bundle)
    # The model makes NaN of a NaN, so the answer tells that the value came through.
    status, answer = device.predict({"x1": 1.0})
    assert status == 500
    assert "not finite" in answer["error"]


def test_an_output_that_is_not_finite_is_an_error_counted_by_row(tmp_path: Path) -> None:
    device = Device(bundles.nan_producing(tmp_path, below=-5.0))
    status, answer = device.predict([[0.0, 0.0], [-6.0, 0.0], [-7.0, 0.0]])
    assert status == 500
    assert "not finite on 2 row(s)" in answer["error"]
    beat = device.models["demo"].meter.beat()
    assert (beat.infer_n, beat.err_n, beat.rejected_n) == (3, 2, 0)


def test_the_threshold_of_a_request_and_of_the_configuration_decide(tmp_path: Path) -> None:
    bundle = bundles.logistic(tmp_path, label_type=LabelType.STRING, labels=("no", "yes"), threshold=0.5)
    device = Device(bundle)
    row = bundle.x[:1].tolist()
    for threshold, label in (("1.1", "no"), ("0", "yes")):
        assert device.predict(row, f"/predict?threshold={threshold}")[1]["labels"] == [label]
        device.models["demo"].set_threshold(float(threshold))
        assert device.predict(row)[1]["labels"] == [label]
    assert device.predict(row, "/predict?threshold=nan")[0] == 400
    assert device.predict(row, "/predict?threshold=high")[0] == 400


def test_a_regression_answers_values(tmp_path: Path) -> None:
    one = bundles.regression(tmp_path / "one", model="one")
    two = bundles.regression(tmp_path / "two", model="two", classes=2)
    device = Device(one, two)
    _status, answer = device.predict(one.x[:2].tolist(), "/predict/one")
    np.testing.assert_allclose(answer["values"], one.scores[:2, 0], rtol=1e-5)
    assert "labels" not in answer
    _status, answer = device.predict(two.x[:2].tolist(), "/predict/two")
    np.testing.assert_allclose(answer["values"], two.scores[:2], rtol=1e-5)
    status, answer = device.predict(one.x[:1].tolist())
    assert status == 400
    assert "/predict/two" in answer["error"]


def test_feedback_is_counted_once_for_each_prediction(device: Device, demo: FakeBundle) -> None:
    _status, answer = device.predict(demo.x[:2].tolist())
    right, wrong = answer["labels"][0], (answer["labels"][1] + 1) % 3

    def send(plain: Any) -> int:
        return device.call("POST", "/feedback", json.dumps(plain).encode())[0]

    assert send({"id": answer["id"], "labels": [right]}) == 400
    assert send({"id": answer["id"], "labels": [right, 77]}) == 400
    assert send({"id": answer["id"], "labels": [right, str(wrong)]}) == 200
    assert send({"id": answer["id"], "labels": [right, wrong]}) == 404
    feedback = device.models["demo"].meter.totals.feedback
    assert (feedback.n, feedback.correct) == (2, 1)


def test_feedback_of_values_adds_up_the_absolute_error(tmp_path: Path) -> None:
    bundle = bundles.regression(tmp_path)
    device = Device(bundle)
    _status, answer = device.predict(bundle.x[:1].tolist())
    body = json.dumps({"id": answer["id"], "value": answer["values"][0] + 2.0}).encode()
    assert device.call("POST", "/feedback", body)[0] == 200
    assert device.models["demo"].meter.totals.feedback.abs_error == pytest.approx(2.0)


def test_a_request_refused_by_the_http_layer_counts_for_the_model_of_its_path(device: Device) -> None:
    device.api.note_refused(HttpError(413, "too large", path="/predict/demo"))
    device.api.note_refused(HttpError(400, "garbage"))
    assert device.models["demo"].meter.beat().rejected_n == 1
    assert b"edgeloop_http_refused_total 1\n" in device.answer("GET", "/metrics").body


def test_metrics_are_prometheus_text(device: Device, demo: FakeBundle) -> None:
    device.predict(demo.x.tolist())
    device.predict({"x1": "bad"})
    answer = device.answer("GET", "/metrics")
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    assert 'edgeloop_rows_total{model="demo",version="3"} 64' in lines
    assert 'edgeloop_rejected_total{model="demo",version="3"} 1' in lines
    assert 'edgeloop_inference_seconds_count{model="demo",version="3"} 1' in lines
    assert all(line.startswith("# ") or len(line.rsplit(" ", 1)) == 2 for line in lines)


def test_without_a_model_predictions_are_refused_for_now() -> None:
    device = Device()
    for target in ("/predict", "/predict/demo", "/v2/models/demo/infer"):
        status, answer = device.call("POST", target, b"{}")
        assert status == 503
        assert "no model" in answer["error"]
    assert device.call("GET", "/healthz") == (200, {"status": "ok", "models": []})


def test_a_window_closes_by_rows_and_by_time_and_counts_every_row_once(demo: FakeBundle) -> None:
    device = Device(demo, settings=AgentSettings(window_rows=10, window_s=100))
    for row in demo.x[:25].tolist():
        device.predict(row)
    assert [window.counts.rows for window in device.windows] == [10, 10]
    device.now_s = 99.0
    meter = device.models["demo"].meter
    meter.tick()
    assert len(device.windows) == 2
    device.now_s = 101.0
    meter.tick()
    assert [window.counts.rows for window in device.windows] == [10, 10, 5]
    assert (device.windows[2].started, device.windows[2].ended) == (0, 101_000)
    for window in device.windows:
        assert all(feature.n == window.counts.rows for feature in window.counts.features)
        assert sum(window.counts.outputs) == sum(window.counts.confidence) == window.counts.rows
    device.now_s = 300.0
    meter.tick()
    assert len(device.windows) == 3  # an empty one is not sent
