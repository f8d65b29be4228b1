"""Memory of the agent's processes: RSS, PSS, anonymous, in MiB; of a worker started here and of a running supervisor.

    python benchmarks/agent/footprint.py [VERSION_FOLDER] [--variant onnx-fp32] [--supervisor PID | --state-dir DIR]

Without a folder, one is made by `trainer fit digits-mlp`. With a state folder, the supervisor and worker named in its
status.json are read as they run. Bars: supervisor 35 MiB RSS, both together 95.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.contract.manifest import MANIFEST_NAME, bundle_digest, parse_manifest
from edge_agent.contract.messages import AgentSettings
from edge_agent.core.control import Drain, Drained, Load, Loaded, LoadModel, Serve, Serving, read_line, write_line

ROOT = Path(__file__).parents[2]
SUPERVISOR_BAR_MB = 35.0
AGENT_BAR_MB = 95.0
CALLS = 500
SETTINGS = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "1"}


def main() -> int:
    options = _parse()
    print(f"{'process':34} {'RSS':>7} {'PSS':>7} {'anon':>7} {'peak':>7}   MiB")
    supervisor = options.supervisor
    found: dict[str, float] = {}
    if options.state_dir:
        status = json.loads((options.state_dir / "status.json").read_text())
        supervisor = int(status["supervisor_pid"])
        if status.get("worker_pid"):
            found["worker"] = _show("worker (running)", int(status["worker_pid"]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            folder = options.folder or _fit(Path(scratch) / "version")
            bundle = folder / "variants" / options.variant if (folder / "variants").exists() else folder
            found["worker"] = _measure_worker(bundle)
    if supervisor:
        found["supervisor"] = _show("supervisor", supervisor)
    total = sum(found.values())
    over = found.get("supervisor", 0.0) > SUPERVISOR_BAR_MB or total > AGENT_BAR_MB
    print(f"together {total:.1f} MiB RSS, allowed {AGENT_BAR_MB:g} (supervisor {SUPERVISOR_BAR_MB:g})")
    return 1 if over else 0


def _measure_worker(bundle: Path) -> float:
    data = (bundle / MANIFEST_NAME).read_bytes()
    manifest = parse_manifest(data)
    with _worker() as (process, send, port):
        send(Load((), (), AgentSettings(), "benchmark", beat_s=60.0), Loaded)
        _show("worker, no model", process.pid)
    with _worker() as (process, send, port):
        model = LoadModel(manifest.model, 1, manifest.variant, bundle_digest(data), str(bundle))
        send(Load((model,), (model.digest,), AgentSettings(), "benchmark", beat_s=60.0), Loaded)
        _show(f"worker, {manifest.model} {manifest.variant} proven", process.pid)
        send(Serve(), Serving)
        _predict(port, len(manifest.input.features))
        resident = _show(f"worker, after {CALLS} predictions", process.pid)
        send(Drain(1.0), Drained)
        process.wait(10)
    return resident


@contextmanager
def _worker() -> "Iterator[tuple[subprocess.Popen[bytes], object, int]]":
    ours, theirs = socket.socketpair()
    listener = socket.create_server(("127.0.0.1", 0))
    fds = (theirs.fileno(), listener.fileno())
    command = [sys.executable, "-m", "edge_agent.worker", "--control-fd", str(fds[0]), "--listen-fd", str(fds[1])]
    process = subprocess.Popen(command, pass_fds=fds, cwd=ROOT, env={**os.environ, **SETTINGS})
    theirs.close()
    answers = ours.makefile("rb")

    def send(command: object, wanted: type) -> None:
        ours.sendall(write_line(command))
        while not isinstance(answer := read_line(answers.readline()), wanted):
            if type(answer).__name__ == "LoadFailed":
                raise SystemExit(f"the worker refused: {answer}")

    try:
        yield process, send, listener.getsockname()[1]
    finally:
        answers.close()
        ours.close()
        listener.close()
        process.wait(10)


def _predict(port: int, features: int) -> None:
    body = json.dumps([[0.0] * features]).encode()
    request = f"POST /predict HTTP/1.1\r\nHost: device\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with socket.create_connection(("127.0.0.1", port)) as client:
        for _ in range(CALLS):
            client.sendall(request)
            client.recv(65536)


def _show(name: str, pid: int) -> float:
    """Print one process' memory and return its RSS in MiB."""
    rollup = _kib(Path(f"/proc/{pid}/smaps_rollup"))
    peak = _kib(Path(f"/proc/{pid}/status"))["VmHWM"]
    rss, pss, anonymous = (rollup[key] / 1024 for key in ("Rss", "Pss", "Anonymous"))
    print(f"{name:34} {rss:7.1f} {pss:7.1f} {anonymous:7.1f} {peak / 1024:7.1f}")
    return rss


def _kib(path: Path) -> dict[str, int]:
    pairs = (line.partition(":") for line in path.read_text().splitlines())
    return {name: int(rest.split()[0]) for name, _, rest in pairs if rest.strip().endswith("kB")}


def _fit(out: Path) -> Path:
    subprocess.run([sys.executable, "-m", "trainer", "fit", "digits-mlp", "--out", str(out)], check=True)
    return out


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", help="version folder, or a bundle's own folder")
    parser.add_argument("--variant", default="onnx-fp32")
    parser.add_argument("--supervisor", type=int, help="pid of a running supervisor")
    parser.add_argument("--state-dir", type=Path, help="state folder of a running agent")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
