"""All that a rollout's decision was made from, in a form that is kept, so that anybody can make it again.

House rules: what is kept is what `decide_rollout` reads, and no more; made again from it, a decision is the same.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

from fleet_server.core.canary import BoardFacts, Observed
from fleet_server.core.differences import Difference
from fleet_server.core.policies import Metric, Policy
from fleet_server.core.rollouts import DeviceState, Rollout, RolloutDevice, RolloutState, RolloutView

_LEVEL = 9


def plain_inputs(view: RolloutView, now: float, observed: Observed) -> dict[str, Any]:
    """Return the inputs of a decision at `now` (epoch seconds), as JSON's own types.

    `members` is base64 of zlib of JSON, since it has a row for every device of the rollout: device, phase, state,
    reason, changed_at (epoch seconds), failed, offered_at, heard_at, failed_at, from_version. `boards` is packed in the
    same way, by device: online, the zone's offset from UTC (s), rows answered, bad since; `differences` has each
    metric's devices, means, difference, standard error and degrees of freedom.
    """
    rows = [
        [
            item.device,
            item.phase,
            item.state.value,
            str(item.reason),
            item.changed_at,
            item.failed,
            item.offered_at,
            item.heard_at,
            item.failed_at,
            item.from_version,
        ]
        for item in view.devices
    ]
    return {
        "now": now,
        "state": view.rollout.state.value,
        "reason": view.rollout.reason,
        "phase": view.rollout.phase,
        "phase_started": view.rollout.phase_started,
        "members": _pack(rows),
        "boards": _pack(_plain_boards(observed)),
        "look": observed.look,
        "differences": [
            [
                item.metric.value,
                item.canary_devices,
                item.stable_devices,
                item.canary_mean,
                item.stable_mean,
                item.difference,
                item.error,
                item.freedom,
            ]
            for item in observed.differences
        ],
    }


def read_inputs(inputs: Mapping[str, Any], policy: Policy, rollout: str) -> tuple[RolloutView, float, Observed]:
    """Return the view of the rollout named `rollout`, the time (epoch seconds), and what else a decision was made from.

    They serve to decide again, and nothing else: what no decision reads is left empty.
    """
    members = tuple(_member(row) for row in _unpack(inputs["members"]))
    made = Rollout(
        id=rollout,
        model="",
        version=0,
        group="",
        policy=policy,
        state=RolloutState(inputs["state"]),
        reason=inputs["reason"],
        phase=inputs["phase"],
        phase_started=inputs["phase_started"],
    )
    return RolloutView(made, members), inputs["now"], _observed(inputs)


def _pack(plain: Any) -> str:
    return base64.b64encode(zlib.compress(json.dumps(plain, separators=(",", ":")).encode(), _LEVEL)).decode()


def _unpack(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(text)))


def _member(row: list[Any]) -> RolloutDevice:
    device, phase, state, reason, changed_at, failed, offered_at, heard_at, failed_at, from_version = row
    return RolloutDevice(
        device,
        phase,
        DeviceState(state),
        from_version=from_version,
        reason=reason,
        changed_at=changed_at,
        failed=failed,
        offered_at=offered_at,
        heard_at=heard_at,
        failed_at=failed_at,
    )


def _plain_boards(observed: Observed) -> dict[str, list[Any]]:
    """Return a row for each device of which there is anything to say."""
    plain = BoardFacts()
    found = {}
    for device in sorted(observed.boards.keys() | observed.inferences.keys() | observed.bad_at.keys()):
        facts = observed.boards.get(device, plain)
        row = [facts.online, facts.utc_offset_s, observed.inferences.get(device, 0), observed.bad_at.get(device)]
        if row != [plain.online, plain.utc_offset_s, 0, None]:
            found[device] = row
    return found


def _observed(inputs: Mapping[str, Any]) -> Observed:
    boards = _unpack(inputs["boards"])
    return Observed(
        boards={device: BoardFacts(online, offset) for device, (online, offset, _, _) in boards.items()},
        inferences={device: rows for device, (_, _, rows, _) in boards.items() if rows},
        bad_at={device: since for device, (_, _, _, since) in boards.items() if since is not None},
        look=inputs["look"],
        differences=tuple(Difference(Metric(name), *rest) for name, *rest in inputs["differences"]),
    )
