"""The canary's promises in full, side by side with the rules that other systems decide by.

    python benchmarks/decisions/canary.py [--runs N] [--only KIND ...] [--docs]

Each row is a kind of rollout, simulated with 50 canary devices against 500 stable ones over 24 looks (what exactly:
tests/fakes/canary_fleet.py); each column is a rule. About a quarter of an hour of one core. Figures go to canary.json
after each row, and with `--docs` into the plot of docs/images; with `--only`, other rows stay as they are there.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import canary_plot  # noqa: E402 - the root comes first
import other_rules  # noqa: E402 - as above

from fleet_server.core.policies import MetricRule  # noqa: E402 - as above
from fleet_server.core.sprt import Sprt, SprtState  # noqa: E402 - as above
from tests.fakes import canary_fleet  # noqa: E402 - as above
from tests.fakes.canary_fleet import LOOKS, POLICY, Fleet, Harm, draw_fleet, halted_at  # noqa: E402 - as above

FIGURES = Path(__file__).with_name("canary.json")
OURS, STRICT = "ours", "ours, margins 0"
_STRICT_POLICY = replace(POLICY, metrics={metric: MetricRule(0.0) for metric in POLICY.metrics})
Rule = Callable[[Fleet, int], int]
RULES: dict[str, Rule] = {
    OURS: lambda fleet, looks: halted_at(fleet, POLICY, looks),
    STRICT: lambda fleet, looks: halted_at(fleet, _STRICT_POLICY, looks),
    "z-test at every look": other_rules.peeking_z,
    "pooled e-process": other_rules.pooled_e_process,
    "before/after": other_rules.before_after,
    "5 % of the canary bad": other_rules.share_of_canary,
}


@dataclass(frozen=True)
class Kind:
    """One kind of rollout: what is wrong with it, over how many looks, in what share of the runs, what is right."""

    name: str
    harm: Harm
    looks: int = LOOKS
    share: float = 1.0
    roll_back: bool = True


KINDS = (
    Kind("nothing changed", Harm(), roll_back=False),
    Kind("surge in the whole fleet", Harm(surge=True), roll_back=False),
    Kind("errors doubled, first look", Harm(errors=2.0), looks=1),
    Kind("5 of 50 devices bad, first look", Harm(bad_devices=5), looks=1),
    Kind("each device bad with 10 %, first look", Harm(bad_share=0.10), looks=1),
    Kind("each device bad with 10 %, 24 looks", Harm(bad_share=0.10), share=0.25),
    Kind("errors up by a half, 24 looks", Harm(errors=1.5), share=0.25),
    Kind("wrong labels doubled, first look", Harm(wrong=2.0), looks=1),
    Kind("latency doubled, first look", Harm(latency=2.0), looks=1),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--only", nargs="*", help="the beginnings of names")
    parser.add_argument("--json", type=Path, default=FIGURES)
    parser.add_argument("--docs", action="store_true")
    options = parser.parse_args()
    print(f"{'share rolled back':40}" + "".join(f"{name:>24}" for name in RULES))
    for number, kind in enumerate(KINDS):
        if options.only is None or any(kind.name.startswith(text) for text in options.only):
            found = measure(kind, max(1, round(options.runs * kind.share)), number)
            keep(options.json, kind.name, found)
            print(f"{kind.name:40}" + "".join(f"{found['rolled_back'][name]:>23.1%} " for name in RULES), flush=True)
    results = keep(options.json, "", None)
    for row in results["promotion"]:
        print(f"bad on {row['bad']:.0%}: promoted {row['good']:.2%}, called bad {row['called_bad']:.2%}, "
              f"open {row['open']:.2%}, devices {row['devices']:.0f}")  # fmt: skip
    if options.docs:
        (ROOT / "docs" / "images" / "canary.svg").write_text(canary_plot.draw(results, list(RULES)))
    return 0 if holds(results) else 1


def keep(path: Path, name: str, found: dict[str, Any] | None) -> dict[str, Any]:
    """Write a row (or, without one, what is not a row) among those that the file holds; return all of them."""
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"kinds": {}}
    if found is None:
        results |= {"simulated": simulated(), "promotion": [promote(share) for share in (0.01, 0.05, 0.10)]}
    else:
        results["kinds"][name] = found
    results["kinds"] = {kind.name: results["kinds"][kind.name] for kind in KINDS if kind.name in results["kinds"]}
    path.write_text(json.dumps(results, indent=1) + "\n")
    return results


def simulated() -> dict[str, float]:
    """Return the constants of the simulation, so that the figures say what they are of."""
    return {name.lower(): value for name, value in vars(canary_fleet).items() if isinstance(value, int | float)}


def measure(kind: Kind, runs: int, number: int) -> dict[str, Any]:
    counts, looks = dict.fromkeys(RULES, 0), []
    for run in range(runs):
        fleet = draw_fleet(np.random.default_rng((number, run)), kind.harm)
        for name, rule in RULES.items():
            look = rule(fleet, kind.looks)
            counts[name] += look > 0
            if name == OURS and look:
                looks.append(look)
    rolled_back = {name: count / runs for name, count in counts.items()}
    return {"runs": runs, "looks": kind.looks, "right": kind.roll_back, "rolled_back": rolled_back, "at": looks}


def promote(share: float, runs: int = 20_000, most: int = 500) -> dict[str, float]:
    """Return how the test of promotion ends where each device is bad with a probability; looks at each fifth device."""
    rng, test, ends, used = np.random.default_rng(7), Sprt(), dict.fromkeys(SprtState, 0), 0
    for _ in range(runs):
        bad = np.cumsum(rng.random(most) < share)
        end, devices = SprtState.OPEN, most
        for n in range(5, most + 1, 5):
            end = test.judge(n, int(bad[n - 1]))
            if end is not SprtState.OPEN:
                devices = n
                break
        ends[end] += 1
        used += devices
    shares = {name: ends[state] / runs for name, state in zip(("good", "open", "called_bad"), SprtState, strict=True)}
    return {"bad": share, "devices": used / runs, **shares}


def holds(results: dict[str, Any]) -> bool:
    """Whether the bars hold: false rollbacks, detection at the first look, nothing for a surge, promotion's errors."""
    if any(kind.name not in results["kinds"] for kind in KINDS):
        return False
    ours = {name: found["rolled_back"][OURS] for name, found in results["kinds"].items()}
    by_share = {row["bad"]: row for row in results["promotion"]}
    return (
        ours["nothing changed"] <= 0.05
        and ours["surge in the whole fleet"] == 0
        and ours["errors doubled, first look"] >= 0.99
        and ours["5 of 50 devices bad, first look"] >= 0.99
        and by_share[0.10]["good"] <= 0.05
        and by_share[0.01]["called_bad"] <= 0.05
    )


if __name__ == "__main__":
    sys.exit(main())
