"""Proposals as the REST API tells of them: one that waits for a word, and one that won."""

from typing import Any

from tests.fakes.web_data import digest, iso

_FIGURES = {"rows": 180, "running": 0.8, "retrained": 0.91, "gain": 0.11, "lower": 0.04, "block": 12}


def _proposal(identity: str, state: str, **more: Any) -> dict[str, Any]:
    return {
        "id": identity,
        "model": "digits",
        "version": 2,
        "state": state,
        "reason": "",
        "cause": "inputs",
        "sentence": "pixel_3_4 rose by about 0.5 σ on 3 of 4 devices",
        "evidence": {"group": None},
        "pipeline": digest("pipe"),
        "author": "monitor",
        "opened": iso(60),
        "changed": iso(30),
        "operation": None,
        "made": None,
        "rollout": None,
        "verdict": None,
        "fresh": {},
        **more,
    }


PROPOSALS = (
    _proposal("pr-2", "proposed", reason="pixel_3_4 rose by about 0.5 σ on 3 of 4 devices"),
    _proposal(
        "pr-1",
        "done",
        reason="the rollout r1 is succeeded",
        made=2,
        rollout="r1",
        verdict={"newest": _FIGURES, "backtest": {**_FIGURES, "lower": -0.01}, "won": True},
    ),
)
