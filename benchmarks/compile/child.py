"""The child that loads one file of one route: `python child.py JOB`, an answer in JSON on stdout.

House rules: nothing is imported that the route does not need, so that its memory is what a program with it would take.

The job is one JSON object: runtime, file, rows (.npy), root (of the repository).
"""

import json
import sys
import time
from typing import Any

LOADS = 3


def resident_mb() -> float:
    """Return this process's resident memory in MiB (VmRSS of proc_pid_status(5))."""
    with open("/proc/self/status", encoding="ascii") as lines:  # noqa: PTH123 - pathlib would count as memory
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def open_pickle(path: str) -> Any:
    """Return the function from rows to scores of an estimator that scikit-learn's users keep as a pickle."""
    import pickle  # noqa: TID251 - it reads the file that the benchmark has just written itself

    with open(path, "rb") as file:  # noqa: PTH123 - as above
        estimator = pickle.load(file)
    return estimator.predict


def open_file(runtime: str, path: str) -> Any:
    """Return the function from rows to answers of one file."""
    if runtime == "sklearn":
        return open_pickle(path)
    if runtime.startswith("c:"):
        from c_library import load_library

        return load_library(path, int(runtime.removeprefix("c:")))
    from trainer.stages.run_model import OPENERS

    return OPENERS[runtime](path, {})[0]


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123 - as above
        job = json.load(file)
    sys.path.insert(0, job["root"])
    import numpy as np

    row = np.load(job["row"])
    open_file(job["runtime"], job["file"])(row)
    memory = resident_mb()
    taken = []
    for _ in range(LOADS):
        began = time.perf_counter()
        open_file(job["runtime"], job["file"])
        taken.append(time.perf_counter() - began)
    sys.stdout.write(json.dumps({"rss_mb": memory, "load_ms": min(taken) * 1e3}) + "\n")


if __name__ == "__main__":
    main()
