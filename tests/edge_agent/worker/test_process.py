"""A real worker process over a socket pair: proofs and their failures, switching, draining, limits."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.http as triton

from edge_agent.contract.messages import AgentSettings
from edge_agent.contract.states import Reason
from edge_agent.core.control import (
    Beat,
    Configure,
    Drained,
    FeedbackSample,
    Load,
    Loaded,
    LoadFailed,
    LoadModel,
    WindowClosed,
    WindowUnderWay,
)
from tests.fakes import bundles
from tests.fakes.workers import ROOT, WorkerProcess, ask, listen_tcp, listen_unix, post, request, worker

pytestmark = pytest.mark.system


@pytest.mark.parametrize("build", [bundles.logistic, bundles.tflite_logistic, bundles.regression])
def test_a_good_bundle_is_proven_and_serves_on_both_sockets(tmp_path: Path, build) -> None:
    bundle = build(tmp_path / "bundle")
    path = tmp_path / "api.sock"
    with listen_tcp() as tcp, listen_unix(path) as unix, worker([tcp, unix]) as process:
        loaded = process.load(bundle)
        assert isinstance(loaded, Loaded)
        (proof,) = loaded.proofs
        assert (proof.digest, proof.golden_rows, proof.label_agreement) == (bundle.digest, bundles.ROWS, 1.0)
        assert 0 <= proof.max_abs_diff < 1e-5
        assert 0 < proof.latency_p50_us <= proof.latency_p99_us
        assert 5 < proof.memory_mb <= proof.memory_peak_mb
        process.serve()
        assert post(tcp.getsockname()[1], b"[[1, 2]]")[0] == 200
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert ask(client, request(b"[[1, 2]]")).startswith(b"200")
        beat = process.expect(Beat)
        while beat.models[0].infer_n < 2:
            beat = process.expect(Beat)
        assert beat.oldest_request_s == 0
        assert process.drain() == 0
        (window,) = [answer for answer in process.seen if isinstance(answer, WindowClosed)]
        assert (window.digest, window.counts.rows) == (bundle.digest, 2)


def test_failures_of_a_bundle_are_told_with_their_reason(tmp_path: Path) -> None:
    cases = [
        (bundles.logistic(tmp_path / "golden", golden_shift=0.1), Reason.GOLDEN_MISMATCH),
        (bundles.nan_producing(tmp_path / "nan", below=0.0), Reason.NON_FINITE_OUTPUT),
        (bundles.broken(tmp_path / "broken"), Reason.LOAD_FAILED),
    ]
    flipped = bundles.logistic(tmp_path / "flipped")
    (flipped.path / "model.onnx").write_bytes(b"other")
    with listen_tcp() as tcp:
        for bundle, reason in [*cases, (flipped, Reason.DIGEST_MISMATCH)]:
            with worker([tcp]) as process:
                failed = process.load(bundle)
                assert isinstance(failed, LoadFailed)
                assert (failed.digest, failed.reason) == (bundle.digest, reason), failed.detail


def test_the_guilty_one_of_two_is_named(tmp_path: Path) -> None:
    good = bundles.logistic(tmp_path / "good", model="good")
    bad = bundles.logistic(tmp_path / "bad", model="bad", golden_shift=1.0)
    with listen_tcp() as tcp, worker([tcp]) as process:
        failed = process.load(good, bad)
        assert isinstance(failed, LoadFailed)
        assert failed.digest == bad.digest


def test_a_bundle_that_is_not_to_be_proven_is_only_loaded(tmp_path: Path) -> None:
    with listen_tcp() as tcp, worker([tcp]) as process:
        assert process.load(bundles.logistic(tmp_path, golden_shift=1.0), prove=False) == Loaded(())


def test_the_memory_limit_turns_a_greedy_model_into_a_clean_failure(tmp_path: Path) -> None:
    bomb = bundles.memory_bomb(tmp_path, megabytes=1024)
    with listen_tcp() as tcp, worker([tcp], "--memory-mb", "300") as process:
        failed = process.load(bomb)
        assert isinstance(failed, LoadFailed)
        assert failed.reason is Reason.OUT_OF_MEMORY, failed.detail


def test_a_greedy_request_does_not_kill_a_serving_worker(tmp_path: Path) -> None:
    bomb = bundles.memory_bomb(tmp_path / "bomb", model="bomb", megabytes=1024)
    good = bundles.logistic(tmp_path / "good", model="good")
    with listen_tcp() as tcp, worker([tcp], "--memory-mb", "300") as process:
        assert process.load(bomb, good, prove=False) == Loaded(())
        process.serve()
        port = tcp.getsockname()[1]
        status, answer = post(port, b"[[1, 2]]", "/predict/bomb")
        assert status == 500
        assert "memory" in answer["error"]
        assert post(port, b"[[1, 2]]", "/predict/good")[0] == 200
        while (beat := process.expect(Beat)).models[0].infer_n < 1:
            pass
        assert (beat.models[0].err_n, beat.models[0].infer_n) == (1, 1)


def test_an_empty_load_serves_without_numpy() -> None:
    with listen_tcp() as tcp, worker([tcp]) as process:
        assert process.load() == Loaded(())
        process.serve()
        assert post(tcp.getsockname()[1], b"{}")[0] == 503
        maps = Path(f"/proc/{process.process.pid}/maps").read_text()
        assert "numpy" not in maps
        assert "onnxruntime" not in maps
        assert process.drain() == 0


def test_the_runtime_starts_no_thread_and_writes_no_file_of_its_own(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    bundle = bundles.logistic(tmp_path / "bundle")
    environment = {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "TMPDIR": str(home)}
    environment["ORT_DISABLE_TELEMETRY"] = "0"  # the worker's own code must set it
    with listen_tcp() as tcp, worker([tcp], env=environment) as process:
        assert isinstance(process.load(bundle), Loaded)
        assert psutil.Process(process.process.pid).num_threads() == 1
        process.serve()
        assert post(tcp.getsockname()[1], b"[[1, 2]]")[0] == 200
        process.drain()
    assert list(home.iterdir()) == []


def test_a_worker_ends_when_its_supervisor_is_gone(tmp_path: Path) -> None:
    with listen_tcp() as tcp:
        process = WorkerProcess([tcp])
        process.load(bundles.logistic(tmp_path))
        process.serve()
        process.close()
        assert process.process.returncode == 0


def test_a_model_that_crashes_kills_its_own_worker_alone(tmp_path: Path) -> None:
    with listen_tcp() as tcp, worker([tcp]) as serving, worker([tcp]) as proving:
        serving.load(bundles.logistic(tmp_path / "good"))
        serving.serve()
        with pytest.raises(EOFError):
            proving.load(bundles.crashing(tmp_path / "crashing"))
        assert proving.process.wait(10) < 0
        assert post(tcp.getsockname()[1], b"[[1, 2]]")[0] == 200


def test_a_terminated_worker_drains_itself(tmp_path: Path) -> None:
    with listen_tcp() as tcp, worker([tcp]) as process:
        process.load(bundles.logistic(tmp_path))
        process.serve()
        assert post(tcp.getsockname()[1], b"[[1, 2]]")[0] == 200
        process.process.terminate()
        assert process.expect(WindowClosed).counts.rows == 1
        process.expect(Drained)
        assert process.process.wait(10) == 0


def test_copies_of_a_window_come_while_it_is_open_and_labelled_rows_before_it_closes(tmp_path: Path) -> None:
    bundle = bundles.logistic(tmp_path)
    model = LoadModel("demo", 1, bundle.manifest.variant, bundle.digest, str(bundle.path))
    with listen_tcp() as tcp, worker([tcp]) as process:
        process.send(Load((model,), (), AgentSettings(feedback_rows=5), "dev-1", 0.1, snapshot_s=0.2, feedback=True))
        process.expect(Loaded)
        process.serve()
        port = tcp.getsockname()[1]
        answer = post(port, b"[[1, 2]]")[1]
        copy = process.expect(WindowUnderWay)
        assert (copy.digest, copy.counts.rows) == (bundle.digest, 1)
        assert copy.counts.memory_mb > 5
        truth = json.dumps({"id": answer["id"], "labels": [1]}).encode()
        assert post(port, truth, "/feedback")[0] == 200
        assert process.expect(WindowUnderWay).counts.feedback.n == 1
        assert process.drain() == 0
        *_, sample, window, _drained = process.seen
        assert isinstance(sample, FeedbackSample)
        assert [(row.inputs, row.truth) for row in sample.rows] == [((1.0, 2.0), 1)]
        assert isinstance(window, WindowClosed)
        assert window.counts.rows == 1


def test_settings_and_thresholds_change_without_a_restart(tmp_path: Path) -> None:
    bundle = bundles.logistic(tmp_path, threshold=0.5)
    with listen_tcp() as tcp, worker([tcp]) as process:
        process.load(bundle)
        process.serve()
        port = tcp.getsockname()[1]
        process.send(Configure(AgentSettings(window_rows=2), {"demo": 2.0}))
        row = json.dumps(bundle.x[:1].tolist()).encode()
        process.expect(Beat)
        process.expect(Beat)
        assert post(port, row)[1]["labels"] == [0]
        assert post(port, row)[1]["labels"] == [0]
        assert process.expect(WindowClosed, 10).counts.rows == 2
        process.send(Configure(AgentSettings(), {"demo": 0.0}))
        process.expect(Beat)
        process.expect(Beat)
        assert post(port, row)[1]["labels"] == [1]


def test_tritonclient_speaks_to_a_worker(tmp_path: Path) -> None:
    bundle = bundles.logistic(tmp_path / "a", features=4, classes=3, labels=("cat", "dog", "emu"), label_type="string")
    with listen_tcp() as tcp, worker([tcp]) as process:
        process.load(bundle, version=7)
        process.serve()
        client = triton.InferenceServerClient(f"127.0.0.1:{tcp.getsockname()[1]}")
        try:
            assert client.is_server_live()
            assert client.is_server_ready()
            assert client.is_model_ready("demo", "7")
            assert client.get_server_metadata()["name"] == "edgeloop"
            assert client.get_model_metadata("demo")["inputs"][0]["shape"] == [-1, 4]
            for binary in (True, False):
                tensor = triton.InferInput("x", [8, 4], "FP32")
                tensor.set_data_from_numpy(bundle.x[:8], binary_data=binary)
                wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("scores", "label")]
                for outputs in (None, wanted):
                    result = client.infer("demo", [tensor], outputs=outputs, request_id="r1")
                    np.testing.assert_allclose(result.as_numpy("scores"), bundle.scores[:8], atol=1e-6)
                    assert result.get_response()["id"] == "r1"
                    expected = [("cat", "dog", "emu")[i] for i in bundle.scores[:8].argmax(axis=1)]
                    found = [x.decode() if isinstance(x, bytes) else x for x in result.as_numpy("label").tolist()]
                    assert found == expected
            tensor = triton.InferInput("x", [1, 3], "FP32")
            tensor.set_data_from_numpy(bundle.x[:1, :3])
            with pytest.raises(triton.InferenceServerException, match="rows, 4"):
                client.infer("demo", [tensor])
        finally:
            client.close()


def test_the_worker_says_how_it_is_used() -> None:
    found = subprocess.run([sys.executable, "-m", "edge_agent.worker"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 2
    assert "--control-fd" in found.stderr
