"""A device is offered the best variant that fits, and told why the others do not."""

from dataclasses import replace

import pytest

from edge_agent.contract.manifest import (
    Cost,
    Feature,
    FileSpec,
    Golden,
    InputSpec,
    Manifest,
    OutputSpec,
    Parity,
    Precision,
    Proof,
    Requirements,
    Runtime,
    ScoreKind,
    Task,
)
from edge_agent.contract.profile import Prefer, Profile
from edge_agent.contract.runtimes import Denial
from fleet_server.core.variants import Candidate, MeasuredCost, choose_variant
from tests.fakes.mqtt_devices import capabilities

ALLOWED = (Precision.FP32, Precision.INT16, Precision.INT8)
PI4 = Profile("pi4", "", "aarch64", 4, 4096, (Runtime.ONNX, Runtime.TFLITE), ALLOWED, 512, 100)
BOARD = capabilities(runtimes={"onnx": "1.24", "tflite": "2.1"})


def candidate(
    variant: str,
    latency_us: float,
    size: int = 1000,
    memory_mb: float = 60,
    disk_mb: float = 1,
    model_size: int = 5000,
    form: str = "",
) -> Candidate:
    runtime, precision = Runtime(variant.split("-")[0]), Precision(variant.split("-")[1])
    files = tuple(FileSpec(name, "a" * 64, 1) for name in ("model.onnx", "baseline.json", "golden.npz"))
    manifest = Manifest(
        model="digits",
        variant=variant,
        task=Task.REGRESSION,
        runtime=runtime,
        precision=precision,
        input=InputSpec("x", (Feature("a", 0, 1),)),
        output=OutputSpec("scores", ScoreKind.VALUE, 1),
        model_file="model.onnx",
        baseline_file="baseline.json",
        golden=Golden("golden.npz", 1, 0, 0),
        files=files,
        requires=Requirements(memory_mb, disk_mb),
        parity=Parity(1, 1, 0, 0, "r2", 1, 1, "1"),
        cost=Cost(model_size, size, latency_us, latency_us, 1),
        form=form,
    )
    digest = variant.encode().hex().ljust(64, "0")
    return Candidate(variant, runtime, precision, digest, None, manifest, size)


def chosen(
    *candidates: Candidate, profile: Profile | None = PI4, measured: tuple[MeasuredCost, ...] = ()
) -> str | None:
    found = choose_variant(BOARD, profile, candidates, measured).candidate
    return found.variant if found is not None else None


FP32, INT8 = candidate("onnx-fp32", 10.0, 5000), candidate("onnx-int8", 9.0, 2000)
LITE, LITE8 = candidate("tflite-fp32", 2.0, 5000), candidate("tflite-int8", 1.0, 2000)


def test_least_latency_wins_and_precision_among_equals() -> None:
    assert chosen(FP32, INT8) == "onnx-fp32"  # within twice: the more precise one
    assert chosen(FP32, candidate("onnx-int8", 4.9)) == "onnx-int8"
    assert chosen(FP32, INT8, LITE, LITE8) == "tflite-fp32"
    assert chosen(FP32, INT8, LITE, candidate("tflite-int8", 0.9)) == "tflite-int8"
    assert chosen(candidate("onnx-fp32", 10, 4000), candidate("tflite-fp32", 9, 5000)) == "tflite-fp32"
    assert chosen(candidate("onnx-fp32", 10, 4000), candidate("tflite-fp32", 10, 4000)) == "onnx-fp32"


PRUNED = candidate("onnx-fp32-pruned", 6.0, 700, form="pruned to 1/8 of its nodes")


def test_what_loses_nothing_comes_before_what_does_among_equals() -> None:
    assert chosen(PRUNED, FP32) == "onnx-fp32"
    assert chosen(PRUNED, candidate("onnx-int16", 5.5), FP32, INT8) == "onnx-fp32"
    assert chosen(replace_latency(PRUNED, 4.9), FP32) == "onnx-fp32-pruned"  # clearly faster
    assert chosen(candidate("onnx-int16", 9.0), INT8) == "onnx-int16"
    told = choose_variant(BOARD, PI4, [PRUNED]).reason
    assert told == "least latency of 1 that fit: about 6.0 µs a row, fp32, pruned to 1/8 of its nodes"


def test_the_smallest_may_lose_something_where_the_profile_wants_it_small() -> None:
    small = replace(PI4, prefer=Prefer.SIZE)
    assert chosen(PRUNED, FP32, INT8, profile=small) == "onnx-fp32-pruned"
    assert chosen(PRUNED, candidate("onnx-fp32", 10.0, 770), profile=small) == "onnx-fp32"  # hardly larger, and exact
    assert chosen(PRUNED, candidate("onnx-fp32", 10.0, 771), profile=small) == "onnx-fp32-pruned"


def replace_latency(found: Candidate, latency_us: float) -> Candidate:
    assert found.manifest is not None
    cost = replace(found.manifest.cost, latency_p50_us=latency_us)
    return replace(found, manifest=replace(found.manifest, cost=cost))


@pytest.mark.parametrize("nonsense", [0.0, -5.0])
def test_a_time_that_is_no_time_wins_nothing(nonsense: float) -> None:
    """Bundles are uploaded and boards report: neither may jump the queue, or stop the choice, by a figure."""
    assert chosen(FP32, candidate("tflite-fp32", nonsense)) == "onnx-fp32"
    assert chosen(FP32, LITE, measured=(MeasuredCost("pi4", FP32.digest or "", nonsense),)) == "tflite-fp32"
    alone = choose_variant(BOARD, PI4, [candidate("tflite-int8", nonsense)])
    assert alone.candidate is not None
    assert "latency not known" in alone.reason


def test_size_wins_where_the_profile_says_so() -> None:
    small = replace(PI4, prefer=Prefer.SIZE)
    assert chosen(FP32, INT8, profile=small) == "onnx-int8"
    assert chosen(FP32, candidate("onnx-int8", 1, 5000), profile=small) == "onnx-fp32"
    assert chosen(INT8, candidate("tflite-int8", 3.0, 2100), profile=small) == "tflite-int8"  # hardly larger, faster
    assert chosen(INT8, candidate("tflite-int8", 3.0, 2300), profile=small) == "onnx-int8"


def test_measurements_on_real_boards_of_the_profile_decide() -> None:
    slow = MeasuredCost("pi4", LITE.digest or "", 500.0)
    fast = MeasuredCost("pi4", FP32.digest or "", 50.0)
    assert chosen(FP32, LITE) == "tflite-fp32"
    assert chosen(FP32, LITE, measured=(slow, fast)) == "onnx-fp32"
    foreign = tuple(replace(cost, profile="pi5") for cost in (slow, fast))
    assert chosen(FP32, LITE, measured=foreign) == "tflite-fp32"
    assert chosen(FP32, LITE, measured=(replace(slow, boards=0), replace(fast, boards=0))) == "tflite-fp32"


def test_one_measurement_does_not_compare_a_boards_time_with_a_build_machines() -> None:
    """The measured one takes 20 times its time at the build; so would the other."""
    assert chosen(FP32, LITE, measured=(MeasuredCost("pi4", LITE.digest or "", 40.0),)) == "tflite-fp32"


@pytest.mark.parametrize(
    ("misfit", "told"),
    [
        (candidate("numpy-fp32", 1), "runtime numpy is not on the device (there: onnx, tflite)"),
        (candidate("onnx-fp16", 1), "profile pi4 does not allow precision fp16"),
        (candidate("onnx-fp32", 1, memory_mb=3000), "2048 MiB are free"),
        (candidate("onnx-fp32", 1, memory_mb=600), "gives the worker 512"),
        (candidate("onnx-fp32", 1, disk_mb=9000), "8000 MiB are free"),
        (candidate("onnx-fp32", 1, model_size=101 * 2**20), "carries 100.0 MiB at most"),
        (Candidate("onnx-fp32", Runtime.ONNX, Precision.FP32, reason="no rule for it"), "not built: no rule for it"),
    ],
)
def test_what_does_not_fit_has_its_reason(misfit: Candidate, told: str) -> None:
    alone = choose_variant(BOARD, PI4, [misfit])
    assert alone.candidate is None
    assert told in alone.reason
    beside = choose_variant(BOARD, PI4, [misfit, LITE])
    assert beside.candidate == LITE
    assert told in beside.rejected[0].reason


def test_a_profile_may_forbid_a_runtime_that_is_there() -> None:
    only_onnx = replace(PI4, runtimes=(Runtime.ONNX,))
    assert chosen(FP32, LITE, profile=only_onnx) == "onnx-fp32"


def test_without_a_profile_only_the_devices_own_limits_hold() -> None:
    assert chosen(candidate("onnx-fp16", 1, memory_mb=600), profile=None) == "onnx-fp16"
    assert chosen(candidate("onnx-fp16", 1, memory_mb=6000), profile=None) is None
    assert "has no variants" in choose_variant(BOARD, None, []).reason


def test_a_denied_release_of_a_runtime_gets_no_variant_of_it() -> None:
    """The reason is the list's own; the other runtime's variants are offered still."""
    denials = (Denial("onnxruntime", ("1.24.*",), "it answers wrongly", "seen"),)
    board = replace(BOARD, runtimes={"onnx": "1.24.1", "tflite": "2.1"})
    alone = choose_variant(board, PI4, [FP32], (), denials)
    assert alone.candidate is None
    assert "onnxruntime 1.24.1 is denied: it answers wrongly" in alone.reason
    beside = choose_variant(board, PI4, [FP32, LITE], (), denials)
    assert beside.candidate == LITE
    assert [item.variant for item in beside.rejected] == ["onnx-fp32"]
    newer = replace(board, runtimes={"onnx": "1.25.0"})
    assert choose_variant(newer, PI4, [FP32], (), denials).candidate == FP32


def test_a_release_on_which_a_variant_failed_its_proof_is_not_offered_it() -> None:
    assert FP32.manifest is not None
    proofs = (
        Proof("onnxruntime", "1.31.0", rows=10),
        Proof("onnxruntime", "1.24", rows=10, reason="scores differ by up to 0.5"),
    )
    failed = replace(FP32, manifest=replace(FP32.manifest, certificate=proofs))
    alone = choose_variant(BOARD, PI4, [failed])
    assert alone.candidate is None
    assert "failed its proof on onnxruntime 1.24: scores differ by up to 0.5" in alone.reason
    proven = replace(BOARD, runtimes={"onnx": "1.31.0", "tflite": "2.1"})
    assert choose_variant(proven, PI4, [failed]).candidate == failed
