"""A certificate has a line for each release that a variant was proven on, and the reason where it failed or was not."""

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from edge_agent.contract import codec
from edge_agent.contract.manifest import Manifest, Runtime
from tests.fakes.trainer_models import fitted_mlp, proving
from trainer.core.releases import parse_release
from trainer.stages import environments, pack, variants
from trainer.stages.certificate import certify
from trainer.stages.environments import make_environment
from trainer.stages.variants import Proven, Proving

pytestmark = pytest.mark.compiler

OLD, DENIED, OTHER = (
    parse_release(text) for text in ("onnxruntime==1.20.1", "onnxruntime==1.26.0", "ai-edge-litert==2.1.0")
)
PLANS = {plan.variant: plan for plan in variants.PLANS}


@pytest.fixture(scope="module", autouse=True)
def kept(request: pytest.FixtureRequest) -> Iterator[None]:
    """Environments are kept in pytest's cache, as those of the matrix."""
    assert request.config.cache is not None
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(environments.FOLDER_VARIABLE, str(request.config.cache.mkdir("runtimes")))
        make_environment(OLD)
        yield


@pytest.fixture(scope="module")
def against() -> Proving:
    return proving(*fitted_mlp())


def proven(name: str, against: Proving, folder: Path) -> Proven:
    plan = PLANS[name]
    return variants.prove_variant(plan, plan.make(against.rehearsal.source), against, folder)


@pytest.mark.parametrize("name", ["onnx-fp32", "onnx-int8"])
def test_each_release_has_its_line_and_a_denied_one_its_reason(name: str, against: Proving, tmp_path: Path) -> None:
    variant = proven(name, against, tmp_path)
    certificate = certify(tmp_path, variant, against, (OLD, DENIED, OTHER))
    own, old = certificate.proofs
    assert (own.package, own.version) == ("onnxruntime", variant.run.runtime_version)
    assert (old.package, old.version, old.reason) == ("onnxruntime", "1.20.1", None)
    assert own.rows == old.rows == len(against.rehearsal.x)
    assert own.hard_rows == old.hard_rows == len(against.hard.rows.x) > 0
    if name == "onnx-fp32":
        assert max(own.worst_excess, old.worst_excess) <= 1
    (unproven,) = certificate.unproven
    assert "onnxruntime 1.26.0 is denied" in unproven
    manifest, _ = pack.write_bundle(tmp_path, variant, against, certificate.proofs)
    assert codec.decode(Manifest, codec.encode(manifest)).certificate == certificate.proofs


def test_a_release_that_cannot_run_the_variant_says_so_in_its_line(against: Proving, tmp_path: Path) -> None:
    variant = proven("onnx-fp32", against, tmp_path)
    path = tmp_path / variant.plan.model_file
    model = onnx.load(path)
    # The last operator set that 1.20 knows is 21.
    model.opset_import[0].version = 23
    model.ir_version = 11
    path.write_bytes(model.SerializeToString())
    failed = certify(tmp_path, variant, against, (OLD,)).proofs[1]
    assert failed.version == "1.20.1"
    assert "the runtime refused the model" in str(failed.reason)


def test_the_release_that_it_was_built_with_is_not_proven_twice(against: Proving, tmp_path: Path) -> None:
    variant = proven("numpy-fp32", against, tmp_path)
    same = parse_release(f"numpy=={variant.run.runtime_version}")
    assert same.runtime is Runtime.NUMPY
    assert len(certify(tmp_path, variant, against, (same,)).proofs) == 1
