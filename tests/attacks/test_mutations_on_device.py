"""Models with some bytes changed, through the real worker that proves them: the device goes on, and says what it was.

The digests of each hold, as if they had been signed. Many are tried in one worker; a fresh one is started after a
crash or a hang alone, as the supervisor does. Some changes hit anywhere, some only weights, so that a good part comes
as far as the golden vectors.
"""

import resource
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.contract import codec
from edge_agent.contract.artifacts import sha256
from edge_agent.contract.manifest import FileSpec, bundle_digest
from edge_agent.contract.states import Reason
from edge_agent.core.control import LoadFailed
from tests.fakes.bundle_files import FakeBundle, Recipe
from tests.fakes.bundles import _weights, logistic, numpy_logistic, tflite_logistic
from tests.fakes.workers import WorkerProcess

MUTATIONS = 500
_PATIENCE_S = 8.0
_MEMORY_BYTES = 1 << 30
_MAKERS: dict[str, Callable[[Path], FakeBundle]] = {
    "onnx": logistic,
    "tflite": tflite_logistic,
    "numpy": numpy_logistic,
}
# How the device's words are counted; any other reason is the test's failure.
_OUTCOMES = {
    Reason.GOLDEN_MISMATCH: "golden mismatch",
    Reason.NON_FINITE_OUTPUT: "golden mismatch",
    Reason.LOAD_FAILED: "load failed",
    Reason.MANIFEST_MISMATCH: "load failed",
    Reason.OUT_OF_MEMORY: "out of memory",
}


def anywhere(data: bytes, chance: np.random.Generator) -> bytes:
    """Flip bits, write large numbers, cut short, cut out, repeat, or splice in another part."""
    changed, end = bytearray(data), len(data)
    for _ in range(int(chance.integers(1, 3))):
        at, kind = int(chance.integers(0, end)), chance.random()
        if kind < 0.45:
            changed[at : at + 1] = (
                bytes([changed[at] ^ (1 << int(chance.integers(0, 8)))]) if at < len(changed) else b""
            )
        elif kind < 0.6:
            changed[at : at + 4] = bytes([255, 255, 255, int(chance.choice((127, 255)))])
        elif kind < 0.7:
            del changed[at:]
        elif kind < 0.8:
            del changed[at : at + int(chance.integers(1, 9))]
        else:
            source = int(chance.integers(0, end))
            changed[at : at + 16] = data[source : source + 16]
    return bytes(changed)


def one_step(data: bytes, chance: np.random.Generator) -> bytes:
    """Change one byte by a little: a size, an offset, an index, a kind that is nearly right."""
    changed, at = bytearray(data), int(chance.integers(0, len(data)))
    changed[at] = (changed[at] + int(chance.choice((-2, -1, 1, 2)))) % 256
    return bytes(changed)


def weights_alone(data: bytes, chance: np.random.Generator, place: tuple[int, int]) -> bytes:
    """Change one number among the weights: the least of it, its size, or to infinity."""
    changed = bytearray(data)
    at = place[0] + 4 * int(chance.integers(0, (place[1] - place[0]) // 4))
    kind = chance.random()
    if kind < 0.4:
        changed[at] ^= 1  # the last bit: golden vectors allow for it
    elif kind < 0.8:
        changed[at + 3] ^= 1 << int(chance.integers(0, 8))
    else:
        changed[at : at + 4] = np.float32(np.inf).tobytes()
    return bytes(changed)


def find_weights(data: bytes) -> tuple[int, int]:
    """Return where the weights are, as they are or as their back-end turns them."""
    weights, _ = _weights(Recipe())
    for shape in (weights, np.ascontiguousarray(weights.T)):
        if (at := data.find(shape.tobytes())) >= 0:
            return at, at + shape.nbytes
    raise AssertionError("the weights are not in the file")


class Prover:
    """The worker of the moment."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._worker: WorkerProcess | None = None
        self.started = 0

    def close(self) -> None:
        self._stack.close()

    def outcome(self, bundle: FakeBundle) -> str:
        """Load and prove a bundle; say in a few words what became of it."""
        if self._worker is None:
            self._worker = WorkerProcess(())
            self._stack.callback(self._worker.close)
            self.started += 1
        worker = self._worker
        try:
            answer = worker.load(bundle, timeout_s=_PATIENCE_S)
        except EOFError:
            self._worker = None
            return "crashed"
        except TimeoutError:
            worker.process.kill()
            self._worker = None
            return "hung"
        return _OUTCOMES[answer.reason] if isinstance(answer, LoadFailed) else "ok"


@pytest.fixture
def prover() -> Iterator[Prover]:
    """Workers with little memory, as on a board."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, hard))
    found = Prover()
    yield found
    found.close()
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _rewritten(bundle: FakeBundle, data: bytes) -> FakeBundle:
    name = bundle.manifest.model_file
    (bundle.path / name).write_bytes(data)
    other = FileSpec(name, sha256(data), len(data))
    files = tuple(other if file.name == name else file for file in bundle.manifest.files)
    written = codec.encode(replace(bundle.manifest, files=files))
    (bundle.path / "manifest.json").write_bytes(written)
    return replace(bundle, digest=bundle_digest(written))


@pytest.mark.system
@pytest.mark.timeout(900)
@pytest.mark.parametrize("runtime", _MAKERS)
def test_a_mutated_model_is_proven_or_named(
    tmp_path: Path, prover: Prover, runtime: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good = _MAKERS[runtime](tmp_path / "bundle")
    data = (good.path / good.manifest.model_file).read_bytes()
    place, chance = find_weights(data), np.random.default_rng(11)
    outcomes: Counter[str] = Counter()
    for number in range(MUTATIONS):
        match number % 3:
            case 0:
                changed = weights_alone(data, chance, place)
            case 1:
                changed = one_step(data, chance)
            case _:
                changed = anywhere(data, chance)
        outcomes[prover.outcome(_rewritten(good, changed))] += 1
    with capsys.disabled():
        print(f"\n{runtime}: {dict(outcomes)} in {prover.started} workers")
    assert outcomes.total() == MUTATIONS
    assert outcomes["ok"] > 10, outcomes
    assert outcomes["golden mismatch"] > 50, outcomes
    assert outcomes["load failed"] > 50, outcomes
    assert prover.outcome(_rewritten(good, data)) == "ok"
