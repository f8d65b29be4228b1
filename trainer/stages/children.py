"""Runs model files in a child process of its own, with a deadline, and brings back scores and costs.

A mutated or hostile model has crashed and hung runtimes; here it ends a child, and the build says why.

House rules: a child runs on the trainer's own libraries, or on those of an `Environment` and nothing else.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import edge_agent
from edge_agent.contract.manifest import Runtime
from trainer.core.arrays import Floats, Singles
from trainer.errors import ChildError
from trainer.stages.environments import Environment

TIMEOUT_S = 120.0
_PROGRAM = Path(__file__).with_name("run_model.py")
_ENVIRONMENT = {
    "ORT_DISABLE_TELEMETRY": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "131072",
}


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a model answered, and what it cost: memory in MiB with the runtime, one row's latency in µs, load in ms.

    `memory_mb` is anonymous memory gained by the load and one row; `memory_steady_mb` what is left of it after some
    hundred rows, when freed heap has gone back; `memory_peak_mb` the most that was resident meanwhile, above what the
    bare interpreter has. `batch_us` is a row's share of a batch of 1,000. `single_diff` is how far rows of a batch are
    from the same rows asked for one by one. Without measuring all but `memory_mb` are 0.
    """

    scores: Floats
    runtime_version: str
    memory_mb: float
    load_ms: float = 0.0
    latency_p50_us: float = 0.0
    latency_p99_us: float = 0.0
    single_diff: float = 0.0
    batch_us: float = 0.0
    memory_peak_mb: float = 0.0
    memory_steady_mb: float = 0.0


def run_model(
    path: Path,
    runtime: Runtime,
    x: Singles,
    options: Mapping[str, str],
    *,
    measure: bool = False,
    environment: Environment | None = None,
) -> Run:
    """Load a model file in a fresh process and predict all rows of `x`; measure its costs where that is asked.

    Raises:
        ChildError: the process crashed, hung, or the runtime refused the model or the rows.
    """
    with _job(x, environment) as (folder, job):
        taken = folder / "scores.npy"
        job |= {"models": [_model(path, options)], "runtime": runtime.value}
        answer = _run(folder, {**job, "compare": False, "measure": measure, "output": str(taken)}, environment)
        scores = np.load(taken, allow_pickle=False)
    if scores.dtype != np.float32 or scores.ndim != 2 or len(scores) != len(x):
        raise ChildError(f"{path.name} gives {scores.dtype} of shape {scores.shape}, not float32 of {len(x)} rows")
    return Run(scores.astype(np.float64), **answer)


def measure_many(
    paths: Sequence[Path],
    runtime: Runtime,
    x: Singles,
    options: Sequence[Mapping[str, str]],
    *,
    environment: Environment | None = None,
) -> list[float]:
    """Return one row's median latency in µs for each of several model files, with options of its own.

    All are loaded in one process and take turns, so that the figures compare although the machine is busy. It takes
    about a second, however many they are, and at least a dozen rows of each.

    Raises:
        ChildError: as `run_model`, for the first of them that fails.
    """
    if not paths:
        return []
    models = [_model(path, given) for path, given in zip(paths, options, strict=True)]
    with _job(x, environment) as (folder, job):
        answer = _run(folder, {**job, "models": models, "runtime": runtime.value, "compare": True}, environment)
    return [float(value) for value in answer["latency_p50_us"]]


def _model(path: Path, options: Mapping[str, str]) -> dict[str, Any]:
    return {"model": str(path.resolve()), "options": dict(options)}


@contextmanager
def _job(x: Singles, environment: Environment | None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Give a folder for one child, with the rows in it, and what its job says of them."""
    with tempfile.TemporaryDirectory(prefix="trainer-run-") as name:
        folder = Path(name)
        np.save(folder / "x.npy", x, allow_pickle=False)
        agent = Path(edge_agent.__file__).resolve().parent
        paths = [str(agent.parent)]
        if environment is not None:
            # The interpreter of graphs comes along by a link: its neighbours may be the trainer's own packages.
            (folder / agent.name).symlink_to(agent)
            paths = [str(environment.packages.resolve()), str(folder)]
        yield folder, {"input": str(folder / "x.npy"), "paths": paths}


def _run(folder: Path, job: Mapping[str, Any], environment: Environment | None) -> dict[str, Any]:
    file = folder / "job.json"
    file.write_text(json.dumps(job), encoding="utf-8")
    try:
        child = subprocess.run(
            [*_interpreter(environment), str(_PROGRAM), str(file)],
            env={**os.environ, **_ENVIRONMENT},
            cwd=folder,
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
    answer: dict[str, Any] = json.loads(child.stdout.strip().splitlines()[-1])
    return answer


def _interpreter(environment: Environment | None) -> tuple[str, ...]:
    """Return the command of a Python that writes no bytecode; in an environment, one that has no `site` (-S) either."""
    if environment is None:
        return sys.executable, "-B", "-P"
    return *environment.python, "-B", "-I", "-S"
