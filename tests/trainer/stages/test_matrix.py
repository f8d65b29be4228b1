"""What is built answers as its source on every release that a fleet may have; what others emit does not, and is caught.

Real environments, made with pip from the package index that is configured, and kept in pytest's cache. Where a release
has no wheel for this Python, that it is refused with the reason is what is tested.
"""

import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge_agent.contract.manifest import Precision, Runtime
from tests.fakes import families, tflite_models
from tests.fakes.families import FAMILIES, verdict
from trainer.core.releases import Release, parse_release
from trainer.errors import RuntimeUnavailableError
from trainer.stages import environments, variants
from trainer.stages.environments import Environment, make_environment
from trainer.stages.export_onnx import export
from trainer.stages.matrix import replay
from trainer.stages.rehearsal import Rehearsal

OLD, WRONG = ("onnxruntime==1.20.1", "ai-edge-litert==2.1.0"), ("onnxruntime==1.26.0", "onnxruntime==1.27.0")
TFLITE_RUNTIME = "tflite-runtime==2.14.0"
HERE = "the trainer's own"
PLANS = {plan.variant: plan for plan in variants.PLANS}
Made = Mapping[str, Environment | RuntimeUnavailableError]


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    """The environments of every release that occurs here, or why there is none."""
    assert request.config.cache is not None
    kept = str(request.config.cache.mkdir("runtimes"))

    def make(text: str) -> Environment | RuntimeUnavailableError:
        try:
            return make_environment(parse_release(text))
        except RuntimeUnavailableError as error:
            return error

    with pytest.MonkeyPatch.context() as patched, ThreadPoolExecutor(2) as pool:
        patched.setenv(environments.FOLDER_VARIABLE, kept)
        names = (*OLD, *WRONG, TFLITE_RUNTIME)
        yield dict(zip(names, pool.map(make, names), strict=True))


@pytest.fixture(scope="module")
def rehearsals() -> Mapping[str, Rehearsal]:
    return families.rehearsals()


def there(found: Environment | RuntimeUnavailableError) -> Environment | None:
    """The environment; of tflite-runtime on a Python without its wheel, nothing but the clear reason."""
    if isinstance(found, RuntimeUnavailableError):
        assert sys.version_info >= (3, 12)
        assert f"{TFLITE_RUNTIME} has no wheel for Python 3." in str(found)
        return None
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("release", [*OLD, TFLITE_RUNTIME, HERE])
def test_ours_is_right_on_old_and_new_releases(
    release: str, family: str, made: Made, rehearsals: Mapping[str, Rehearsal], tmp_path: Path
) -> None:
    environment = None if release == HERE else there(made[release])
    runtimes = (Runtime.ONNX, Runtime.TFLITE)
    if release != HERE:
        if environment is None:
            return
        runtimes = (environment.release.runtime,)
    for runtime in runtimes:
        plan = PLANS[f"{runtime}-fp32"]
        data = plan.make(rehearsals[family].source)
        assert verdict(rehearsals[family], plan, data, tmp_path, environment) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_the_interpreter_of_graphs_is_right_on_numpy_1(
    family: str, made: Made, rehearsals: Mapping[str, Rehearsal], tmp_path: Path
) -> None:
    """As on a 32-bit board, where Debian's numpy stands beside tflite-runtime."""
    environment = there(made[TFLITE_RUNTIME])
    if environment is not None:
        plan = PLANS["numpy-fp32"]
        data = plan.make(rehearsals[family].source)
        assert verdict(rehearsals[family], plan, data, tmp_path, environment) is None


@pytest.mark.parametrize("release", WRONG)
@pytest.mark.parametrize("family", ["forest", "extra"])
def test_a_binary_classifier_of_trees_goes_wrong_and_ours_does_not(
    family: str, release: str, made: Made, rehearsals: Mapping[str, Rehearsal], tmp_path: Path
) -> None:
    """The usual converter emits TreeEnsembleClassifier; these releases answer for it without a word, and wrongly."""
    environment = made[release]
    assert isinstance(environment, Environment)
    rehearsal, plan = rehearsals[family], PLANS["onnx-fp32"]
    converted = export(rehearsal.source.estimator, rehearsal.source.columns, rehearsal.source.output)
    assert verdict(rehearsal, plan, converted, tmp_path, None) is None
    told = verdict(rehearsal, plan, converted, tmp_path, environment)
    assert told is not None
    assert "times what is tolerated" in told
    assert verdict(rehearsal, plan, plan.make(rehearsal.source), tmp_path, environment) is None


def test_one_scale_a_channel_goes_wrong_and_one_a_tensor_does_not(
    made: Made, rehearsals: Mapping[str, Rehearsal], tmp_path: Path
) -> None:
    """tflite-runtime loads both; of three classes, chance is right for a third."""
    rehearsal, plan = rehearsals["mlp"], PLANS["tflite-int8"]
    assert rehearsal.quality > 0.95
    per_channel = tflite_models.one_scale_a_channel(PLANS["tflite-fp32"].make(rehearsal.source))
    assert verdict(rehearsal, plan, per_channel, tmp_path, None) is None
    environment = there(made[TFLITE_RUNTIME])
    if environment is not None:
        told = verdict(rehearsal, plan, per_channel, tmp_path, environment)
        assert told is not None
        assert float(told.split(" to ")[1].split(",")[0]) < 0.6, told
        assert verdict(rehearsal, plan, plan.make(rehearsal.source), tmp_path, environment) is None


@pytest.mark.parametrize("release", [*OLD, TFLITE_RUNTIME])
def test_eight_bits_keep_their_quality_on_old_releases(
    release: str, made: Made, rehearsals: Mapping[str, Rehearsal], tmp_path: Path
) -> None:
    environment = there(made[release])
    if environment is not None:
        plan = PLANS[f"{environment.release.runtime}-int8"]
        assert plan.precision is Precision.INT8
        data = plan.make(rehearsals["mlp"].source)
        assert verdict(rehearsals["mlp"], plan, data, tmp_path, environment) is None


def test_a_replay_tells_proof_from_failure_and_from_what_cannot_be_had(
    made: Made, rehearsals: Mapping[str, Rehearsal], tmp_path: Path
) -> None:
    """Nothing of it stops the others; a release of another runtime is none of this file's business."""

    def make(release: Release) -> Environment:
        found = made.get(str(release), RuntimeUnavailableError("no network"))
        if isinstance(found, RuntimeUnavailableError):
            raise found
        return found

    path, x = tmp_path / "model.onnx", rehearsals["ridge"].x
    path.write_bytes(variants.make_onnx_fp32(rehearsals["ridge"].source))
    releases = [parse_release(text) for text in (OLD[0], WRONG[0], "onnxruntime==0.1", OLD[1])]
    proven, denied, missing = replay(path, Runtime.ONNX, x, {}, releases, make=make)
    assert proven.run is not None
    assert proven.run.runtime_version == "1.20.1"
    assert denied.run is None
    assert "is denied" in denied.unproven
    assert (missing.run, missing.unproven, missing.failure) == (None, "no network", "")
    path.write_bytes(b"no model")
    (failed,) = replay(path, Runtime.ONNX, x, {}, releases[:1], make=make)
    assert (failed.run, failed.unproven) == (None, "")
    assert "refused the model" in failed.failure
