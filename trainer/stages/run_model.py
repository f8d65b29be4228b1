"""The child process that runs model files: `python run_model.py JOB`, with this file by its path.

House rules: nothing is imported before the first memory reading but the standard library, so that what is measured is
what a fresh worker gains; and nothing of the trainer at all, since the interpreter may be that of another environment,
which sees only the folders that the job names. A model that crashes, hangs or exhausts memory takes this process and
nothing else.

The job is one JSON object: models (a list of model and options), runtime, paths (folders to import from), input (.npy),
and either output (.npy) and measure, to run the one model; or compare, to measure several against each other. The
answer is one JSON object on stdout.
"""

# What stands here runs on the Python and the libraries of old boards too: 3.11, numpy 1.24.

import ctypes
import json
import os
import sys
import time
from typing import Any

MEASURED_ROWS = 400
WARM_ROWS = 20
MEASURED_S = 0.6
SINGLE_ROWS = 32
BATCH_ROWS = 1000
BATCH_REPEATS = 9
BATCH_S = 0.3
# Several models take turns, a few rows each: what disturbs the machine disturbs them all alike.
TURNS = 40
TURN_ROWS = 12
TURN_WARM_ROWS = 2
TURNS_S = 1.0


def memory_mb(name: str) -> float:
    """Return a memory figure of this process in MiB, by its name in proc_pid_status(5)."""
    with open("/proc/self/status", encoding="ascii") as lines:  # noqa: PTH123 - pathlib would count as memory gained
        for line in lines:
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def trim_memory() -> None:
    """Give freed heap back to the system, as a worker does (glibc only)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def open_onnx(path: str, options: dict[str, str]) -> tuple[Any, str]:
    """Return (function from float32 rows to scores, version of the runtime) for an ONNX model."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it must be set before the import, or a thread begins to send
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.enable_cpu_mem_arena = False
    settings.log_severity_level = 3
    for key, value in options.items():
        settings.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    (given,), names = session.get_inputs(), [output.name for output in session.get_outputs()]
    return (lambda x: session.run(names, {given.name: x})[0]), onnxruntime.__version__


def open_tflite(path: str, options: dict[str, str]) -> tuple[Any, str]:
    """Return (function from float32 rows to scores, version of the runtime) for a TFLite model.

    The option `kernels=reference` takes the plain kernels instead of the optimized ones.
    """
    interpreter_of, version = find_tflite()
    kinds = interpreter_of.OpResolverType
    resolver = kinds.BUILTIN_REF if options.get("kernels") == "reference" else kinds.AUTO
    interpreter = interpreter_of.Interpreter(model_path=path, num_threads=1, experimental_op_resolver_type=resolver)
    shape: list[int] = []
    source, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.allocate_tensors()

    def run(x: Any) -> Any:
        if shape != list(x.shape):
            interpreter.resize_tensor_input(source, x.shape)
            interpreter.allocate_tensors()
            shape[:] = x.shape
        interpreter.set_tensor(source, x)
        interpreter.invoke()
        return interpreter.get_tensor(result)

    return run, version


def find_tflite() -> tuple[Any, str]:
    """Return the module of LiteRT's interpreter, or of TFLite's where only that is, and its distribution's version."""
    import importlib
    from importlib.metadata import version

    try:
        return importlib.import_module("ai_edge_litert.interpreter"), version("ai-edge-litert")
    except ModuleNotFoundError:
        return importlib.import_module("tflite_runtime.interpreter"), version("tflite-runtime")


def open_numpy(path: str, _: dict[str, str]) -> tuple[Any, str]:
    """Return (function from float32 rows to scores, version of numpy) for the file of a lowered graph."""
    import numpy as np

    from edge_agent.kernels.format import decode
    from edge_agent.kernels.interpreter import Interpreter

    with open(path, "rb") as file:  # noqa: PTH123 - pathlib would count as memory gained
        return Interpreter(decode(file.read())).run, np.__version__


OPENERS = {"onnx": open_onnx, "tflite": open_tflite, "numpy": open_numpy}


def measure_latency(run: Any, x: Any) -> tuple[float, float]:
    """Return p50 and p99 in µs of single rows, over at most `MEASURED_ROWS` rows and about `MEASURED_S` seconds."""
    import numpy as np

    rows = [np.ascontiguousarray(x[index % len(x)][None]) for index in range(WARM_ROWS + MEASURED_ROWS)]
    taken: list[float] = []
    ends = time.perf_counter() + MEASURED_S
    for row in rows:
        began = time.perf_counter()
        run(row)
        ended = time.perf_counter()
        taken.append((ended - began) * 1e6)
        if ended > ends:
            break
    steady = taken[WARM_ROWS:] or taken
    return float(np.percentile(steady, 50)), float(np.percentile(steady, 99))


def single_diff(run: Any, x: Any, scores: Any) -> float:
    """Return how far the rows' scores are from those of the same rows asked for one by one."""
    import numpy as np

    alone = [run(np.ascontiguousarray(row[None])) for row in x]
    return float(np.abs(np.concatenate(alone).astype(np.float64) - scores).max())


def measure_batch(run: Any, x: Any, row_us: float) -> float:
    """Return µs per row at `BATCH_ROWS` rows, the median of some repeats; of one where that alone takes `BATCH_S`."""
    import numpy as np

    batch = np.ascontiguousarray(x[np.arange(BATCH_ROWS) % len(x)])
    if row_us * BATCH_ROWS < BATCH_S * 1e6:
        run(batch)  # the first pass makes room for a batch of this size
    taken: list[float] = []
    ends = time.perf_counter() + BATCH_S
    while len(taken) < BATCH_REPEATS and (not taken or time.perf_counter() < ends):
        began = time.perf_counter()
        run(batch)
        taken.append((time.perf_counter() - began) * 1e6 / BATCH_ROWS)
    return float(np.median(taken))


def measure_costs(job: dict[str, Any], run: Any, x: Any, before: dict[str, float]) -> dict[str, float]:
    """Return what single rows and a batch cost; memory before a batch or a second copy of the model takes some."""
    p50, p99 = measure_latency(run, x)
    peak = memory_mb("VmHWM") - before["VmRSS"]
    trim_memory()
    steady = memory_mb("RssAnon") - before["RssAnon"]
    batch = measure_batch(run, x, p50)
    began = time.perf_counter()
    open_model(job, 0)
    return {
        "latency_p50_us": p50,
        "latency_p99_us": p99,
        "memory_peak_mb": max(peak, 0.0),
        "memory_steady_mb": max(steady, 0.0),
        "batch_us": batch,
        "load_ms": (time.perf_counter() - began) * 1e3,
    }


def open_model(job: dict[str, Any], index: int) -> tuple[Any, str]:
    """Return the run function of one of the job's models, and its runtime's version."""
    given = job["models"][index]
    return OPENERS[job["runtime"]](given["model"], given["options"])


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Load the model, predict, write the scores, and return what was measured."""
    before = {name: memory_mb(name) for name in ("RssAnon", "VmRSS")}
    began = time.perf_counter()
    run, runtime_version = open_model(job, 0)
    load_ms = (time.perf_counter() - began) * 1e3
    import numpy as np

    x = np.load(job["input"], mmap_mode="r", allow_pickle=False)
    run(np.ascontiguousarray(x[:1]))
    answer: dict[str, Any] = {"runtime_version": runtime_version, "memory_mb": memory_mb("RssAnon") - before["RssAnon"]}
    if job["measure"]:
        answer |= measure_costs(job, run, x, before)
        answer["load_ms"] = min(load_ms, answer["load_ms"])
    scores = np.asarray(run(np.ascontiguousarray(x)))
    if job["measure"]:
        answer["single_diff"] = single_diff(run, x[:SINGLE_ROWS], scores[:SINGLE_ROWS])
    np.save(job["output"], scores, allow_pickle=False)
    return answer


def compare_models(job: dict[str, Any]) -> dict[str, Any]:
    """Return the p50 of single rows in µs for each of the job's models, which take turns."""
    import numpy as np

    runs = [open_model(job, index)[0] for index in range(len(job["models"]))]
    x = np.load(job["input"], mmap_mode="r", allow_pickle=False)
    taken: list[list[float]] = [[] for _ in runs]
    ends = time.perf_counter() + TURNS_S
    for turn in range(TURNS):
        rows = [np.ascontiguousarray(x[(turn * TURN_ROWS + index) % len(x)][None]) for index in range(TURN_ROWS)]
        for run, times in zip(runs, taken, strict=True):
            for index, row in enumerate(rows):
                began = time.perf_counter()
                run(row)
                ended = time.perf_counter()
                if index >= TURN_WARM_ROWS:
                    times.append((ended - began) * 1e6)
        if time.perf_counter() > ends:
            break
    return {"latency_p50_us": [float(np.percentile(times, 50)) for times in taken]}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123 - pathlib would count as memory gained
        task = json.load(file)
    sys.path[:0] = task["paths"]
    answered = compare_models(task) if task["compare"] else run_job(task)
    sys.stdout.write(json.dumps(answered) + "\n")
