"""What a device's place in a rollout is, where the server has forgotten what came after a backup.

House rules: what a device attests under a newer document than the server remembers was decided since, and holds.
"""

from dataclasses import replace

from edge_agent.contract.messages import Reported
from edge_agent.contract.states import Reason
from fleet_server.core.rollouts import DeviceState, Rollout, RolloutDevice

_ASKED = (DeviceState.OFFERED, DeviceState.SUCCEEDED)


def is_settled(report: Reported) -> bool:
    """Whether a report says what a device has come to rest on: nothing is under way, and all that runs is attested."""
    return report.progress is None and all(bundle.attested for bundle in report.running)


def judge_ahead(member: RolloutDevice, rollout: Rollout, report: Reported, now: float) -> RolloutDevice:
    """Return how a device stands in a rollout, by its settled report under a newer document than is remembered.

    It succeeded where it attests the version. It is passed over where a newer version came to it since. Where it was
    offered the version and runs an older one, or none, that was taken back: it failed.
    """
    running = {bundle.model: bundle for bundle in report.running}.get(rollout.model)
    if running is not None and running.digest == member.digest:
        if member.state not in (DeviceState.WAITING, DeviceState.OFFERED):
            return member
        seq = max(member.offered_seq, report.desired_seq)
        offered = replace(member, offered_seq=seq, offered_at=member.offered_at or now)
        return replace(offered, state=DeviceState.SUCCEEDED, reason=Reason.OK, detail="", changed_at=now)
    if running is not None and running.version > rollout.version:
        if member.state not in (DeviceState.WAITING, *_ASKED):
            return member
        detail = f"it runs version {running.version}, from after the backup"
        return replace(member, state=DeviceState.SKIPPED, reason="passed_by", detail=detail, changed_at=now)
    if member.state in _ASKED:
        detail = f"after the backup it was given {f'version {running.version}' if running else 'no version'} instead"
        failed = replace(member, state=DeviceState.FAILED, reason="taken_back", detail=detail)
        return replace(failed, changed_at=now, failed=True, failed_at=now)
    return member
