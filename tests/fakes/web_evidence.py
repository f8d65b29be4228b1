"""What the fake server says of a rollout's evidence."""

from typing import Any


def explanation(rollout: dict[str, Any]) -> dict[str, Any]:
    """Three canary devices against one that waits, a metric judged and one not yet."""
    words = "waiting for 1 device of 3; 0 of 3 canary and 0 of 1 stable devices went bad"
    judged = {
        "metric": "error_ratio", "dry_run": False, "margin": 0.01, "canary_devices": 3, "stable_devices": 1,
        "canary_mean": 0.001, "stable_mean": 0.002, "difference": -0.001, "limit": 0.02, "p_value": 1.0,
        "level": 0.0004, "worse": False, "sentence": "rows in error -0.10% against stable",
    }  # fmt: skip
    unknown = dict.fromkeys(("canary_mean", "stable_mean", "difference", "limit", "p_value"))
    return {
        "id": rollout["id"], "at": rollout["updated"], "state": rollout["state"], "phase": rollout["phase"],
        "verdict": "hold", "sentence": f"{rollout['state']}: {words}", "waits_for": "waiting for 1 device of 3",
        "held_back": "", "look": 1, "next_look_at": rollout["updated"], "canary": {"devices": 3, "bad": 0},
        "stable": {"devices": 1, "bad": 0}, "soaking": 0, "silent": 0, "e_value": 1.0, "e_limit": 200.0,
        "metrics": [judged, {**judged, **unknown, "metric": "memory", "sentence": "memory: too few devices"}],
        "promotion": {
            "devices": 2, "bad": 0, "log_ratio": -0.19, "promote_below": -2.94, "reject_above": 2.94,
            "clean_needed": 31, "state": "open", "decides": False,
        },
    }  # fmt: skip
