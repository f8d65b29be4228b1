"""The child process that runs one model file: `python -m trainer.stages.run_model JOB`.

House rules: nothing is imported before the first memory reading but the standard library, so that what is measured is
what a fresh worker gains. A model that crashes, hangs or exhausts memory takes this process and nothing else.

The job is one JSON object: model, runtime, options, input (.npy), output (.npy), measure. The answer is one JSON object
on stdout.
"""

import json
import os
import sys
import time
from typing import Any

MEASURED_ROWS = 400
WARM_ROWS = 20
MEASURED_S = 1.0
SINGLE_ROWS = 32


def anonymous_mb() -> float:
    """Return this process's anonymous resident memory in MiB (RssAnon of proc_pid_status(5))."""
    with open("/proc/self/status", encoding="ascii") as lines:  # noqa: PTH123 - pathlib would count as memory gained
        for line in lines:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no RssAnon")


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
    from importlib.metadata import version

    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_REF if options.get("kernels") == "reference" else OpResolverType.AUTO
    interpreter = Interpreter(model_path=path, num_threads=1, experimental_op_resolver_type=resolver)
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

    return run, version("ai-edge-litert")


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


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Load the model, predict, write the scores, and return what was measured."""
    before = anonymous_mb()
    opener = OPENERS[job["runtime"]]
    began = time.perf_counter()
    run, runtime_version = opener(job["model"], job["options"])
    load_ms = (time.perf_counter() - began) * 1e3
    import numpy as np

    x = np.load(job["input"], mmap_mode="r", allow_pickle=False)
    run(np.ascontiguousarray(x[:1]))
    answer: dict[str, Any] = {"runtime_version": runtime_version, "memory_mb": anonymous_mb() - before}
    if job["measure"]:
        began = time.perf_counter()
        opener(job["model"], job["options"])
        answer["load_ms"] = min(load_ms, (time.perf_counter() - began) * 1e3)
        answer["latency_p50_us"], answer["latency_p99_us"] = measure_latency(run, x)
    scores = np.asarray(run(np.ascontiguousarray(x)))
    if job["measure"]:
        answer["single_diff"] = single_diff(run, x[:SINGLE_ROWS], scores[:SINGLE_ROWS])
    np.save(job["output"], scores, allow_pickle=False)
    return answer


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123 - pathlib would count as memory gained
        task = json.load(file)
    sys.stdout.write(json.dumps(run_job(task)) + "\n")
