"""One row's latency: raw runtime, in-process, HTTP over TCP and Unix, JSON and OIP binary, telemetry on and off.

    python benchmarks/agent/latency.py [VERSION_FOLDER] [--calls N] [--variant onnx-fp32] [--json FILE]

The version folder is one that `trainer fit digits-mlp --out DIR` leaves; without one it is made. All cases take turns
in rounds of the same run, so that a slow moment of the machine falls on each of them. Bar: keep-alive HTTP with JSON
and telemetry on is at most 15 times the raw run.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np

from edge_agent.adapters.http_message import Limits
from edge_agent.adapters.http_server import HttpServer
from edge_agent.contract.messages import AgentSettings
from edge_agent.worker.engine import Model, open_model
from edge_agent.worker.loading import CLOCK
from edge_agent.worker.local_api import LocalApi
from edge_agent.worker.serving import ServedModel

BAR = 15.0
# Long enough for a case's own caches to be warm, short enough for all cases to share the machine's moods.
IN_A_ROW = 50
Call = Callable[[], object]


def main() -> int:
    options = _parse()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or _fit(Path(scratch) / "version")
        bundle = folder / "variants" / options.variant if (folder / "variants").exists() else folder
        print(f"bundle {bundle}, {options.calls} calls a case, {IN_A_ROW} in a row, Python {sys.version.split()[0]}")
        results = _measure(bundle, Path(scratch), options.calls)
    raw = results["raw session.run"]
    print(f"{'case':44} {'p50 µs':>9} {'p99 µs':>9} {'× raw':>7}")
    for name, times in results.items():
        p50, p99 = np.quantile(times, [0.5, 0.99])
        print(f"{name:44} {p50:9.1f} {p99:9.1f} {p50 / statistics.median(raw):7.1f}")
    ratio = statistics.median(results["http tcp json, telemetry on"]) / statistics.median(raw)
    print(f"bar: http tcp json with telemetry {ratio:.1f}x of raw session.run, allowed {BAR:g}x")
    if options.json:
        plain = {name: {"p50_us": float(np.median(times))} for name, times in results.items()}
        options.json.write_text(json.dumps({"ratio": ratio, "bar": BAR, "cases": plain}))
    return 0 if ratio <= BAR else 1


def _measure(bundle: Path, scratch: Path, calls: int) -> dict[str, list[float]]:
    model = open_model(bundle)
    x = np.load(bundle / model.manifest.golden.file)["x"][:1]
    cases: dict[str, Call] = {"raw session.run": _raw(bundle, model, x), "Model.predict": lambda: model.predict(x)}
    ends: list[Call] = []
    for counted, label in ((True, "telemetry on"), (False, "telemetry off")):
        served = _served(bundle, counted=counted)
        cases[f"ServedModel.predict, {label}"] = lambda served=served: served.predict(x)  # type: ignore[misc]
        process, port, path = _serve_apart(bundle, scratch, counted=counted)
        ends.append(process.terminate)
        forms = {
            "json": _json_request(model, x),
            "json list": _request("/predict", json.dumps(x.tolist()).encode(), ""),
            "oip binary": _oip_request(model, x),
        }
        for place, address in (("tcp", ("127.0.0.1", port)), ("unix", path)):
            for form, request in forms.items():
                cases[f"http {place} {form}, {label}"] = _client(address, request)
    times: dict[str, list[float]] = {name: [] for name in cases}
    for call in cases.values():
        for _ in range(200):
            call()
    for _ in range(calls // IN_A_ROW):
        for name, call in cases.items():
            times[name].extend(_timed(call) for _ in range(IN_A_ROW))
    for end in ends:
        end()
    return times


def _timed(call: Call) -> float:
    begin = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - begin) / 1000


def _raw(bundle: Path, model: Model, x: Any) -> Call:
    """Return the plainest use of the runtime: what a program without any agent would write."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    for key, value in model.manifest.runtime_options.items():
        options.add_session_config_entry(key, str(value))
    path = str(bundle / model.manifest.model_file)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {model.manifest.input.name: x}
    return lambda: session.run(None, feed)


class _Uncounted:
    """A meter that counts nothing, to see what counting costs."""

    def record(self, *_counted: object) -> None:
        return


def _served(bundle: Path, *, counted: bool) -> ServedModel:
    served = ServedModel(open_model(bundle), 1, AgentSettings(), CLOCK, lambda _window: None)
    if not counted:
        served.meter = _Uncounted()  # type: ignore[assignment]  # only `record` is called here
    return served


def _serve_apart(bundle: Path, scratch: Path, *, counted: bool) -> tuple[Any, int, str]:
    """Serve in another process, as a device does, so that client and server do not share an interpreter."""
    tcp = socket.create_server(("127.0.0.1", 0))
    path = str(scratch / f"api-{counted}.sock")
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(path)
    unix.listen()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_serve_forever, args=(bundle, [tcp, unix], counted), daemon=True)
    process.start()
    port = tcp.getsockname()[1]
    tcp.close()
    unix.close()
    return process, port, path


def _serve_forever(bundle: Path, listeners: list[socket.socket], counted: bool) -> None:
    served = _served(bundle, counted=counted)
    api = LocalApi({served.manifest.model: served})
    HttpServer(listeners, api, Limits()).start()
    threading.Event().wait()


def _json_request(model: Model, x: Any) -> bytes:
    body = json.dumps(dict(zip(model.names, x[0].tolist(), strict=True))).encode()
    return _request("/predict", body, "")


def _oip_request(model: Model, x: Any) -> bytes:
    tail = x.tobytes()
    tensor = {"name": model.manifest.input.name, "shape": list(x.shape), "datatype": "FP32"}
    tensor["parameters"] = {"binary_data_size": len(tail)}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    extra = f"Inference-Header-Content-Length: {len(head)}\r\n"
    return _request(f"/v2/models/{model.manifest.model}/infer", head + tail, extra)


def _request(path: str, body: bytes, extra: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: device\r\nContent-Type: application/json\r\n{extra}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _client(address: Any, request: bytes) -> Call:
    """Return a keep-alive client of a raw socket: the smallest, so that the server is what is measured."""
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    sock.settimeout(10)
    _connect(sock, address)
    if not isinstance(address, str):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(request)
    response = http.client.HTTPResponse(sock)
    response.begin()
    if response.status != 200:
        raise SystemExit(f"{address}: {response.status} {response.read()!r}")
    response.read()
    sock.setblocking(True)

    def call() -> None:
        sock.sendall(request)
        data = sock.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        missing = int(head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0]) - len(body)
        while missing > 0:
            missing -= len(sock.recv(65536))

    return call


def _connect(sock: socket.socket, address: Any) -> None:
    sock.connect(address)


def _fit(out: Path) -> Path:
    command = [sys.executable, "-m", "trainer", "fit", "digits-mlp", "--out", str(out)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return out


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", help="version folder, or a bundle's own folder")
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--variant", default="onnx-fp32")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
