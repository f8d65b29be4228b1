"""Which documents are begun, adopted or refused, and why."""

import dataclasses

import pytest

from edge_agent.contract.manifest import Runtime
from edge_agent.contract.messages import AgentSettings, Capabilities, Desired, DesiredBundle
from edge_agent.contract.states import REFUSALS, Reason
from edge_agent.core.offer_rules import MIB, Offer, judge_document, judge_offer
from edge_agent.core.update_machine import Move

BOARD = Capabilities("aarch64", 4, 1024, 500, 300, {"onnx": "1.31"}, "3.11", "0.1", "pi4")


def bundle(model: str = "digits", digit: str = "a", **changes: object) -> DesiredBundle:
    made = DesiredBundle(
        model, 1, "onnx-fp32", digit * 64, "b" * 64, "pi4", 10 * MIB, Runtime.ONNX, 100.0, threshold=None
    )
    return dataclasses.replace(made, **changes)


def desired(seq: int, *bundles: DesiredBundle) -> Desired:
    return Desired("dev", seq, 0, bundles)


def judge(document: Desired, good: Desired | None = None, worker_mb: float = 400, staged: str = "") -> tuple[Move, str]:
    move, verdict = judge_offer(Offer(document, BOARD, worker_mb, good, frozenset({staged})))
    if verdict is not None:
        assert verdict.reason in REFUSALS
        assert verdict.detail
    return move, verdict.reason if verdict else ""


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (desired(1, bundle()), (Move.ACCEPT, "")),
        (desired(1), (Move.ACCEPT, "")),
        (desired(1, bundle(runtime=Runtime.TFLITE)), (Move.REFUSE, Reason.RUNTIME_MISSING)),
        (desired(1, bundle(memory_mb=401.0)), (Move.REFUSE, Reason.LOW_MEMORY)),
        (desired(1, bundle(memory_mb=400.0)), (Move.ACCEPT, "")),
        (desired(1, bundle(memory_mb=250.0), bundle("wine", "c", memory_mb=250.0)), (Move.REFUSE, Reason.LOW_MEMORY)),
        (desired(1, bundle(size=142 * MIB + 1)), (Move.REFUSE, Reason.LOW_DISK)),
        (desired(1, bundle(size=142 * MIB)), (Move.ACCEPT, "")),
        (desired(1, bundle(size=71 * MIB), bundle("wine", "c", size=71 * MIB + 1)), (Move.REFUSE, Reason.LOW_DISK)),
    ],
)
def test_fit(document: Desired, expected: tuple[Move, str]) -> None:
    assert judge(document) == expected


def test_free_memory_counts_as_well_as_the_limit() -> None:
    assert judge(desired(1, bundle(memory_mb=501.0)), worker_mb=1000) == (Move.REFUSE, Reason.LOW_MEMORY)


def test_what_is_on_disk_needs_no_room() -> None:
    assert judge(desired(1, bundle(size=1000 * MIB)), staged="a" * 64) == (Move.ACCEPT, "")


def test_other_settings_or_thresholds_are_adopted() -> None:
    good = desired(1, bundle())
    changed = dataclasses.replace(desired(2, bundle(threshold=0.7)), settings=AgentSettings(health_s=5))
    assert judge(changed, good) == (Move.ADOPT, "")
    assert judge(desired(2, bundle(digit="c")), good) == (Move.ACCEPT, "")
    assert judge(desired(2, bundle(version=2)), good) == (Move.ACCEPT, "")
    assert judge(desired(2), good) == (Move.ACCEPT, "")


@pytest.mark.parametrize(
    ("document", "highest", "failed", "reason"),
    [
        (desired(2), 1, None, None),
        (desired(1), 1, None, Reason.STALE),
        (desired(1), 2, None, Reason.STALE),
        (dataclasses.replace(desired(2), device="other"), 1, None, Reason.WRONG_DEVICE),
        (desired(2, bundle()), 2, desired(2, bundle()), Reason.LOOP_BREAKER),
        (desired(3, bundle()), 2, desired(2, bundle()), None),
    ],
)
def test_documents(document: Desired, highest: int, failed: Desired | None, reason: Reason | None) -> None:
    verdict = judge_document(document, "dev", highest, failed)
    assert (verdict.reason if verdict else None) == reason
