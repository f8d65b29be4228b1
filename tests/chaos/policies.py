"""What rollouts of a simulated fleet are allowed: a policy by chance, most of it as by default."""

import random
from typing import Any

_PHASES = (["100%"], ["1", "100%"], ["50%", "100%"], ["1", "2", "100%"])
_PACE: dict[str, tuple[Any, ...]] = {
    "stable": (1, "34%"),
    "min_soak_s": (3.0, 15.0),
    "max_unavailable": (1, "50%"),
    "offers_per_hour": (1, 3),
    "silent_s": (10.0, 60.0),
    "silent": ("bad", "missing"),
    "look_s": (5.0,),
    "promotion": (None, {"p0": 0.1, "p1": 0.6}),
}


def draw_policy(rng: random.Random) -> dict[str, Any]:
    """Return the document of a policy."""
    document: dict[str, Any] = {
        "phases": rng.choice(_PHASES),
        "max_failures": rng.choice((0, 0, 1, 2)),
        "phase_soak_s": rng.choice((0.0, 5.0, 20.0)),
        "phase_timeout_s": rng.choice((120.0, 300.0)),
    }
    for key, values in _PACE.items():
        if rng.random() < 0.2:
            document[key] = rng.choice(values)
    if len(document["phases"]) == 1:
        document.pop("stable", None)
    return document
