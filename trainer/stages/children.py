"""Runs a model file in a child process of its own, with a deadline, and brings back its scores and costs.

A mutated or hostile model has crashed and hung runtimes; here it ends a child, and the build says why.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import trainer
from edge_agent.contract.manifest import Runtime
from trainer.core.arrays import Floats, Singles
from trainer.errors import ChildError

TIMEOUT_S = 120.0
_ENVIRONMENT = {
    "ORT_DISABLE_TELEMETRY": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a model answered, and what it cost: memory in MiB with the runtime, one row's latency in µs, load in ms.

    `single_diff` is how far rows of a batch are from the same rows asked for one by one. Without measuring, it, latency
    and load are 0.
    """

    scores: Floats
    runtime_version: str
    memory_mb: float
    load_ms: float = 0.0
    latency_p50_us: float = 0.0
    latency_p99_us: float = 0.0
    single_diff: float = 0.0


def run_model(path: Path, runtime: Runtime, x: Singles, options: Mapping[str, str], *, measure: bool = False) -> Run:
    """Load a model file in a fresh process and predict all rows of `x`.

    Raises:
        ChildError: the process crashed, hung, or the runtime refused the model or the rows.
    """
    with tempfile.TemporaryDirectory(prefix="trainer-run-") as name:
        folder = Path(name)
        given, taken, job = folder / "x.npy", folder / "scores.npy", folder / "job.json"
        np.save(given, x, allow_pickle=False)
        wanted = {"model": str(path.resolve()), "runtime": runtime.value, "options": dict(options), "measure": measure}
        job.write_text(json.dumps({**wanted, "input": str(given), "output": str(taken)}), encoding="utf-8")
        answer = json.loads(_run(job))
        scores = np.load(taken, allow_pickle=False)
    if scores.dtype != np.float32 or scores.ndim != 2 or len(scores) != len(x):
        raise ChildError(f"{path.name} gives {scores.dtype} of shape {scores.shape}, not float32 of {len(x)} rows")
    return Run(scores.astype(np.float64), **answer)


def _run(job: Path) -> str:
    root = str(Path(trainer.__file__).parent.parent)
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, "-m", "trainer.stages.run_model", str(job)]
    try:
        child = subprocess.run(
            command,
            env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": paths},
            cwd=job.parent,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ChildError(f"the model did not answer within {TIMEOUT_S:.0f} s") from error
    if child.returncode < 0:
        raise ChildError(f"the model killed its process (signal {-child.returncode})")
    if child.returncode:
        lines = child.stderr.strip().splitlines() or ["no reason given"]
        raise ChildError(f"the runtime refused the model: {lines[-1][:300]}")
    return child.stdout.strip().splitlines()[-1]
