"""All that a rollout's decision was made from, in a form that is kept, so that anybody can make it again.

House rules: what is kept is what `decide_rollout` reads, and no more; made again from it, a decision is the same.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

from fleet_server.core.rollouts import DeviceState, Policy, Rollout, RolloutDevice, RolloutState, RolloutView

_LEVEL = 9


def plain_inputs(view: RolloutView, now: float) -> dict[str, Any]:
    """Return the inputs of a decision at `now` (epoch seconds), as JSON's own types.

    `members` is base64 of zlib of JSON, since it has a row for every device of the rollout: device, phase, state,
    reason, changed_at (epoch seconds), failed.
    """
    rows = [
        [item.device, item.phase, item.state.value, str(item.reason), item.changed_at, item.failed]
        for item in view.devices
    ]
    packed = zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), _LEVEL)
    return {
        "now": now,
        "state": view.rollout.state.value,
        "reason": view.rollout.reason,
        "phase": view.rollout.phase,
        "phase_started": view.rollout.phase_started,
        "members": base64.b64encode(packed).decode(),
    }


def read_inputs(inputs: Mapping[str, Any], policy: Policy, rollout: str) -> tuple[RolloutView, float]:
    """Return the view of the rollout named `rollout`, and the time (epoch seconds), that a decision was made from.

    They serve to decide again, and nothing else: what no decision reads is left empty.
    """
    members = tuple(
        RolloutDevice(device, phase, DeviceState(state), reason=reason, changed_at=changed_at, failed=failed)
        for device, phase, state, reason, changed_at, failed in json.loads(
            zlib.decompress(base64.b64decode(inputs["members"]))
        )
    )
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
    return RolloutView(made, members), inputs["now"]
