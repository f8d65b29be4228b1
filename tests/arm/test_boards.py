"""What is built answers on a board's processor as it did where it was built, with the wheels that a board has.

The processor is emulated (a Cortex-A53, for 32 bits a Cortex-A7), all else is real. Latency measured so means nothing,
and none is looked at.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from edge_agent.contract.manifest import Runtime
from tests.arm.conftest import Boards, make_board
from tests.fakes import families
from tests.fakes.families import verdict
from tests.fakes.fleet import train
from trainer.core.releases import parse_release
from trainer.errors import ChildError
from trainer.stages import variants
from trainer.stages.children import run_model
from trainer.stages.environments import Environment
from trainer.stages.rehearsal import Rehearsal
from trainer.stages.verify import read_record, verify_variant

PLANS = {plan.variant: plan for plan in variants.PLANS}
RUNTIMES = {"aarch64": tuple(Runtime), "armv7l": (Runtime.TFLITE, Runtime.NUMPY)}
# An emulated process takes seconds to start, so these stand for all: matrices, kernels, distances, trees and NaN.
HARDEST = ("mlp", "svc", "neighbours", "forest", "hist-nan", "isolation")
BOARDS = [(machine, runtime) for machine, runtimes in RUNTIMES.items() for runtime in runtimes]

# A version is half a dozen emulated processes, each of which takes its seconds.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def rehearsals() -> Mapping[str, Rehearsal]:
    return families.rehearsals()


@pytest.fixture(scope="module", params=["digits-mlp", "digits-forest"])
def version(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version folder, as the trainer's command writes it."""
    return train(request.param, 0, tmp_path_factory.mktemp("arm") / request.param)


@pytest.mark.parametrize("machine", RUNTIMES)
def test_golden_vectors_of_a_version_hold_on_the_board(machine: str, version: Path, boards: Boards) -> None:
    """Of every variant that was built for a runtime that the board has."""
    record = read_record(version)
    proven = set()
    for entry in record.variants:
        if entry.digest is not None and entry.runtime in RUNTIMES[machine]:
            found = verify_variant(version, record, entry, boards(machine, entry.runtime))
            assert found.problem is None, f"{entry.variant}: {found.problem}"
            proven.add(entry.runtime)
    assert proven == set(RUNTIMES[machine])


@pytest.mark.parametrize("family", HARDEST)
@pytest.mark.parametrize(("machine", "runtime"), BOARDS)
def test_hard_rows_are_within_the_gate_on_the_board(
    machine: str, runtime: Runtime, family: str, boards: Boards, rehearsals: Mapping[str, Rehearsal], tmp_path: Path
) -> None:
    """On every threshold, and one float32 step beside it: another processor's rounding shows here first."""
    plan = PLANS[f"{runtime}-fp32"]
    data = plan.make(rehearsals[family].source)
    assert verdict(rehearsals[family], plan, data, tmp_path, boards(machine, runtime)) is None


@pytest.mark.parametrize(("machine", "runtime"), BOARDS)
def test_eight_bits_keep_their_quality_on_the_board(
    machine: str, runtime: Runtime, boards: Boards, rehearsals: Mapping[str, Rehearsal], tmp_path: Path
) -> None:
    plan = PLANS[f"{runtime}-int8"]
    data = plan.make(rehearsals["mlp"].source)
    assert verdict(rehearsals["mlp"], plan, data, tmp_path, boards(machine, runtime)) is None


def test_a_denied_release_dies_on_the_board(rehearsals: Mapping[str, Rehearsal], tmp_path: Path) -> None:
    """Why onnxruntime 1.21.0 is on the list: its import is an instruction that a Cortex-A53 does not have."""
    release = "onnxruntime==1.21.0"
    folder = make_board("aarch64", release)
    environment = Environment(parse_release(release), folder / release, (str(folder / "python"),))
    path = tmp_path / "model.onnx"
    path.write_bytes(variants.make_onnx_fp32(rehearsals["ridge"].source))
    with pytest.raises(ChildError, match=r"killed its process \(signal 4\)"):
        run_model(path, Runtime.ONNX, rehearsals["ridge"].x, {}, environment=environment)
