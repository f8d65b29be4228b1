"""Models with some bytes changed: whatever a runtime makes of them, the parent goes on and says what it was.

A tenth to a fifth of such files still load and answer something else, which golden vectors find on a device; runtimes
have crashed and hung. Each runs in a child process, as the trainer runs every model.
"""

import resource
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edge_agent.contract.manifest import Runtime
from edge_agent.kernels.format import encode
from tests.fakes.trainer_models import fitted_logistic, rows
from trainer.core.arrays import Singles, as_singles
from trainer.errors import ChildError, RejectedError
from trainer.stages import children, emit_onnx, emit_tflite
from trainer.stages.children import run_model
from trainer.stages.lower.estimators import lower
from trainer.stages.onnx_source import accept

MUTATIONS = 80
PARSED = 400
CHILD_S = 30.0
MEMORY_BYTES = 3 << 30
COLUMNS = 5
EMIT = {Runtime.ONNX: emit_onnx.emit, Runtime.TFLITE: emit_tflite.emit, Runtime.NUMPY: encode}


def compiled(runtime: Runtime) -> bytes:
    """A small good model; more of its bytes are structure than weights."""
    return EMIT[runtime](lower(fitted_logistic()[0], COLUMNS))


def mutate(data: bytes, chance: np.random.Generator) -> bytes:
    """Change, cut out, or repeat some bytes; in half of the cases near the start, where the structure is."""
    changed = bytearray(data)
    end = len(data) if chance.random() < 0.5 else min(len(data), 600)
    for _ in range(int(chance.integers(1, 4))):
        at, kind = int(chance.integers(0, end)), chance.random()
        if kind < 0.6:
            changed[at : at + 1] = bytes([int(chance.integers(0, 256))])
        elif kind < 0.75:
            changed[at : at + 4] = b"\xff\xff\xff\x7f"
        elif kind < 0.9:
            del changed[at : at + int(chance.integers(1, 9))]
        else:
            changed[at:at] = changed[at : at + 64]
    return bytes(changed)


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What children inherit: sizes that a mutation makes up must not be the machine's trouble."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    monkeypatch.setattr(children, "TIMEOUT_S", CHILD_S)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def outcome(path: Path, runtime: Runtime, x: Singles, right: Singles) -> str:
    """What became of a model file, in one word; any exception that has none is the test's failure."""
    try:
        scores = run_model(path, runtime, x, {}).scores
    except ChildError as error:
        for words, name in (
            ("killed its process", "crashed"),
            ("did not answer", "hung"),
            ("the runtime refused", "refused"),
            ("not float32", "other-shape"),
        ):
            if words in str(error):
                return name
        raise
    if scores.shape != right.shape:
        return "other-shape"
    return "same" if np.array_equal(scores, right, equal_nan=True) else "other-answers"


@pytest.mark.compiler
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("runtime", EMIT)
def test_a_mutated_model_takes_a_child_and_nothing_else(tmp_path: Path, runtime: Runtime) -> None:
    good = tmp_path / "model"
    good.write_bytes(compiled(runtime))
    x = as_singles(rows(1, n=16)[0])
    right = run_model(good, runtime, x, {}).scores
    chance = np.random.default_rng(7)
    places = []
    for number in range(MUTATIONS):
        places.append(tmp_path / f"model-{number}")
        places[-1].write_bytes(mutate(good.read_bytes(), chance))
    with ThreadPoolExecutor(2) as pool:
        outcomes = Counter(pool.map(lambda place: outcome(place, runtime, x, right), places))
    assert outcomes.total() == MUTATIONS
    assert outcomes["refused"] > 0, outcomes
    assert outcomes["same"] + outcomes["other-answers"] > 0, outcomes
    assert run_model(good, runtime, x, {}).scores.shape == right.shape


def test_a_mutated_source_is_accepted_or_refused() -> None:
    """In this process: what the parser, the limits and the checker do not foresee would end it."""
    data, chance, outcomes = compiled(Runtime.ONNX), np.random.default_rng(3), Counter[str]()
    for _ in range(PARSED):
        try:
            accept(mutate(data, chance), COLUMNS)
            outcomes["accepted"] += 1
        except RejectedError:
            outcomes["refused"] += 1
    assert outcomes["accepted"] > 20, outcomes
    assert outcomes["refused"] > 100, outcomes
