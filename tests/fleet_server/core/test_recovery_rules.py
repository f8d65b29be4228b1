"""What a device attests since a backup decides its place in the rollouts that the backup remembers."""

from dataclasses import replace

import pytest

from edge_agent.contract.messages import Progress, Reported, Running
from edge_agent.contract.states import UpdateState
from fleet_server.core.recovery_rules import is_settled, judge_ahead
from fleet_server.core.rollout_policy import parse_policy
from fleet_server.core.rollouts import DeviceState, Rollout, RolloutDevice
from tests.fakes.mqtt_devices import capabilities

ROLLOUT = Rollout("ro-1", "digits", 2, "all", parse_policy({"phases": ["100%"]}))
DIGESTS = {1: "1" * 64, 2: "2" * 64, 3: "3" * 64}
S = DeviceState


def report(version: int | None, *, attested: bool = True, seq: int = 9) -> Reported:
    running = () if version is None else (Running("digits", version, "onnx", DIGESTS[version], attested),)
    return Reported("pi-1", 1, 1, 0, seq, running, capabilities())


@pytest.mark.parametrize(
    ("before", "version", "after"),
    [
        (S.WAITING, 2, S.SUCCEEDED),
        (S.OFFERED, 2, S.SUCCEEDED),
        (S.SUCCEEDED, 2, S.SUCCEEDED),
        (S.RETURNING, 2, S.RETURNING),
        (S.WAITING, 3, S.SKIPPED),
        (S.OFFERED, 3, S.SKIPPED),
        (S.SUCCEEDED, 3, S.SKIPPED),
        (S.RETURNING, 3, S.RETURNING),
        (S.WAITING, 1, S.WAITING),
        (S.WAITING, None, S.WAITING),
        (S.OFFERED, 1, S.FAILED),
        (S.OFFERED, None, S.FAILED),
        (S.SUCCEEDED, 1, S.FAILED),
        (S.FAILED, 1, S.FAILED),
        (S.RETURNED, 1, S.RETURNED),
        (S.SKIPPED, 1, S.SKIPPED),
    ],
)
def test_the_place_in_a_rollout(before: DeviceState, version: int | None, after: DeviceState) -> None:
    member = RolloutDevice("pi-1", 0, before, "onnx", DIGESTS[2], 1, DIGESTS[1], offered_seq=4)
    judged = judge_ahead(member, ROLLOUT, report(version), 5.0)
    assert judged.state is after
    if after is before:
        assert judged is member
    else:
        assert judged.changed_at == 5.0
    assert judged.failed == (after is S.FAILED and before is not S.FAILED)


def test_what_is_under_way_or_not_attested_is_not_settled() -> None:
    assert is_settled(report(1))
    assert is_settled(report(None))
    assert not is_settled(report(1, attested=False))
    assert not is_settled(replace(report(1), progress=Progress(9, UpdateState.SOAKING, 1)))
