"""What a child measures: figures of the right size and order, and several models against each other."""

from pathlib import Path

import numpy as np
import pytest

from edge_agent.contract.manifest import Runtime
from edge_agent.kernels.builder import Builder
from edge_agent.kernels.format import encode
from tests.fakes import trainer_models
from trainer.core.arrays import Singles, as_singles
from trainer.errors import ChildError
from trainer.stages import variants
from trainer.stages.children import Run, measure_many, run_model

pytestmark = pytest.mark.system


def rows(n: int, columns: int) -> Singles:
    return as_singles(np.random.default_rng(0).normal(size=(n, columns)))


def dense(width: int, folder: Path) -> Path:
    """A model of three square matrices, as a file."""
    chance = np.random.default_rng(width)
    builder = Builder(columns=8)
    value = builder.dense(builder.input, chance.normal(size=(8, width)), np.zeros(width))
    for _ in range(3):
        value = builder.dense(value, chance.normal(size=(width, width)), np.zeros(width))
    path = folder / f"dense-{width}.graph"
    path.write_bytes(encode(builder.build(value)))
    return path


def measured(width: int, folder: Path) -> Run:
    return run_model(dense(width, folder), Runtime.NUMPY, rows(50, 8), {}, measure=True)


def test_costs_are_of_the_model(tmp_path: Path) -> None:
    """3 matrices of 1024 × 1024 weigh 12 MiB; the file that they are read from passes through memory too."""
    small, large = measured(4, tmp_path), measured(1024, tmp_path)
    assert large.memory_steady_mb - small.memory_steady_mb > 11
    assert large.memory_peak_mb - small.memory_peak_mb > 11
    assert large.memory_steady_mb < large.memory_peak_mb
    assert small.latency_p50_us < large.latency_p50_us <= large.latency_p99_us
    assert small.batch_us < small.latency_p50_us, "a batch shares the cost of each call"
    assert small.load_ms < large.load_ms


def test_without_measuring_only_memory_is_known(tmp_path: Path) -> None:
    run = run_model(dense(4, tmp_path), Runtime.NUMPY, rows(5, 8), {})
    assert run.memory_mb > 1
    assert (run.batch_us, run.memory_peak_mb, run.memory_steady_mb, run.latency_p50_us) == (0, 0, 0, 0)


def test_several_models_are_measured_against_each_other(tmp_path: Path) -> None:
    """In the order in which they were given; a file that comes twice takes about as long twice."""
    small, large = dense(4, tmp_path), dense(512, tmp_path)
    first, other, second = measure_many([large, small, large], Runtime.NUMPY, rows(50, 8), [{}, {}, {}])
    assert 0 < other < min(first, second) / 3
    assert max(first, second) < 2 * min(first, second)
    assert measure_many([], Runtime.NUMPY, rows(50, 8), []) == []


def test_each_model_has_its_own_options(tmp_path: Path) -> None:
    """An option that the runtime refuses ends the measuring, whichever of the models has it."""
    model, x, _ = trainer_models.fitted_logistic()
    path = tmp_path / "model.onnx"
    path.write_bytes(variants.make_onnx_fp32(trainer_models.source(model)))
    good = {"session.disable_quant_qdq": "1"}
    assert len(measure_many([path, path], Runtime.ONNX, as_singles(x), [{}, good])) == 2
    with pytest.raises(ChildError, match="refused the model"):
        measure_many([path, path], Runtime.ONNX, as_singles(x), [{}, {"": "1"}])
