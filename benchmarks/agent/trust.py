"""What trust costs a device: the verifier's time and memory, the supervisor's, and how soon a verified order serves.

    EDGELOOP_MOSQUITTO="$(scripts/mosquitto)" python -m benchmarks.agent.trust [--runs N] [--json FILE]

The verifier is compared with a bare Python interpreter of the same run, and with a repository of 300 releases. The
order is of a 200 kB model whose chunks are on the device already: from both packs sent to an answer of the new worker,
with a real broker, supervisor, verifier and worker. Bars: supervisor 40 MiB RSS in all; verify and activate within 1 s
on a quiet machine.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import onnx

from edge_agent.adapters.artifacts import ChunkStore
from edge_agent.adapters.verifier_process import COMMAND
from edge_agent.contract.artifacts import sha256
from edge_agent.contract.manifest import MANIFEST_NAME, FileSpec
from edge_agent.contract.messages import Soak
from tests.fakes import bundles
from tests.fakes.agent import AgentProcess, FakeBundle, FakeServer, pack
from tests.fakes.broker import running_broker
from tests.fakes.bundle_files import rewrite_manifest
from tests.fakes.trust_repository import FAR, FakeRepository, put, release
from tests.fakes.trust_world import BOARD, DEVICE, World, bundle

ROOT = Path(__file__).parents[2]
SUPERVISOR_BAR_MB = 40.0
ACTIVATE_BAR_S = 1.0
MODEL_BYTES = 200_000


def main() -> int:
    options = _parse()
    with tempfile.TemporaryDirectory() as scratch:
        found = _show(_measure_child(Path(scratch), options.runs))
        found |= _show(_measure_agent(Path(scratch), options.runs))
    over = found["supervisor RSS, MiB"] > SUPERVISOR_BAR_MB or found["verify and activate, s"] > ACTIVATE_BAR_S
    print(f"bars: supervisor {SUPERVISOR_BAR_MB:g} MiB, verify and activate {ACTIVATE_BAR_S:g} s")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    return 1 if over else 0


def _show(found: dict[str, float]) -> dict[str, float]:
    for name, value in found.items():
        print(f"{name:44} {value:9.2f}", flush=True)
    return found


def _measure_child(scratch: Path, runs: int) -> dict[str, float]:
    """The verifier alone, over one release and over 300; processor time in ratio to Python's own start."""
    bare = statistics.median(_cpu_s([sys.executable, "-c", "pass"])[0] for _ in range(runs))
    found = {"python alone, CPU s": bare}
    for releases in (1, 300):
        world = World(scratch / str(releases), image=FakeRepository(FAR), director=FakeRepository(FAR))
        world.enrol()
        put(world.image.targets, *(release(bundle(version)) for version in range(2, releases + 1)))
        world.give(1)
        world.show()
        command = [*COMMAND, "--state-dir", str(world.folder), "--device", DEVICE, "--profile", BOARD]
        answers = [_cpu_s(command) for _ in range(runs)]
        cpu = statistics.median(seconds for seconds, _ in answers)
        found[f"verifier of {releases}, CPU s"] = cpu
        found[f"verifier of {releases}, x python alone"] = cpu / bare
        found[f"verifier of {releases}, peak MiB"] = max(json.loads(said)["peak_mb"] for _, said in answers)
        found[f"image pack of {releases}, KiB"] = len(world.image.pack()) / 1024
    return found


def _cpu_s(command: list[str]) -> tuple[float, bytes]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, said


def _measure_agent(scratch: Path, runs: int) -> dict[str, float]:
    """The real agent: its supervisor's memory, and the time to a new version's first answer."""
    with running_broker(scratch) as broker:
        server = FakeServer("benchmark", broker.port)
        server.start()
        agent = AgentProcess(scratch / "agent", server, real=True)
        agent.enrol()
        config = agent.folder / "agent.toml"  # its patience is a test's
        config.write_text(config.read_text().replace("load_timeout_s = 5.0", "load_timeout_s = 60.0"))
        try:
            agent.start()
            agent.wait_status("a connection", lambda status: status.broker_connected)
            before = _resident_mb(agent)
            times = [_activate(server, agent, scratch, version) for version in range(1, runs + 2)][1:]
            after = _resident_mb(agent)
            served = time.perf_counter()
            _version(agent)
            request = time.perf_counter() - served
        finally:
            agent.kill()
            server.stop()
    return {
        "supervisor RSS before, MiB": before,
        "supervisor RSS, MiB": after,
        "verify and activate, s": statistics.median(times),
        "verify and activate, least, s": min(times),
        "one request meanwhile, s": request,
    }


def _activate(server: FakeServer, agent: AgentProcess, scratch: Path, version: int) -> float:
    """Order a version whose chunks are here; return the seconds to its first answer."""
    made = _large(scratch / f"version-{version}", version)
    chunks = ChunkStore(agent.state_dir / "chunks")
    for digest, data in made.chunks.items():
        chunks.put(digest, data)
    began, pause = time.perf_counter(), threading.Event()
    server.desire(version, made, soak=Soak(min_s=1, max_s=1, min_rows=0))
    while _version(agent) != version:
        assert not server.outcomes(version), server.outcomes(version)
        pause.wait(0.005)
    took = time.perf_counter() - began
    server.outcome(version, 60)
    return took


def _large(folder: Path, version: int) -> FakeBundle:
    """A real bundle whose model file has 200 kB that do not compress."""
    found = bundles.logistic(folder)
    path = found.path / found.manifest.model_file
    model = onnx.load(path)
    model.doc_string = os.urandom(MODEL_BYTES // 2).hex()
    path.write_bytes(model.SerializeToString())
    data = path.read_bytes()
    spec = FileSpec(path.name, sha256(data), len(data))
    specs = tuple(spec if known.name == path.name else known for known in found.manifest.files)
    folder = rewrite_manifest(found, files=specs).path
    names = [MANIFEST_NAME, *sorted(file.name for file in folder.iterdir() if file.name != MANIFEST_NAME)]
    return pack({name: (folder / name).read_bytes() for name in names}, version, chunk_bytes=128 * 1024)


def _version(agent: AgentProcess) -> int:
    """Ask for a prediction, and return the version that answered; 0 where none did."""
    status = agent.wait_status("an address", lambda found: bool(found.api_url))
    asked = urllib.request.Request(f"{status.api_url}/predict", b'{"rows":[[0.1,0.2]]}')
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:
            return int(json.load(answer)["version"])
    except OSError:
        return 0


def _resident_mb(agent: AgentProcess) -> float:
    assert agent.child is not None
    lines = Path(f"/proc/{agent.child.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
