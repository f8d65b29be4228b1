"""How often a rule finds a retrained model *surely better*: `.venv/bin/python benchmarks/decisions/retrain_gate.py`.

Two models answer the same rows in the order of time. Each errs on 15 % of rows in the long run (the retrained one on
10 % where it is better), in runs that last for some rows on average: a Markov chain. The rules look at the paired
differences, one-sided at 5 %. About two minutes on one core.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import binom, t

sys.path.insert(0, str(Path(__file__).parents[2]))

from trainer.core.retraining import lower_bound

RUNS = 400
RATE, BETTER = 0.15, 0.05
ROWS = (500, 2000, 5000)
LASTING = (1, 10, 60)
ALPHA = 0.05

Rule = Callable[[np.ndarray, int], bool]


def mcnemar(gains: np.ndarray, _seed: int) -> bool:
    """McNemar's exact test: of the rows on which they differ, too many for the retrained one."""
    wins, losses = int((gains > 0).sum()), int((gains < 0).sum())
    return wins + losses > 0 and float(binom.sf(wins - 1, wins + losses, 0.5)) < ALPHA


def paired_t(gains: np.ndarray, _seed: int) -> bool:
    """A paired t-test over rows."""
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    return bool(error > 0 and gains.mean() / error > t.ppf(1 - ALPHA, len(gains) - 1))


def ours(gains: np.ndarray, seed: int) -> bool:
    """The lower bound by blocks."""
    return lower_bound(gains, 1 - ALPHA, seed)[0] > 0


RULES: dict[str, Rule] = {"McNemar by rows": mcnemar, "paired t by rows": paired_t, "by blocks (ours)": ours}


def errors(rng: np.random.Generator, rows: int, rate: float, lasting: float) -> np.ndarray:
    """Which rows a model gets wrong; a state is kept with probability 1 - 1/lasting, else drawn anew."""
    drawn, anew = rng.random(rows) < rate, rng.random(rows) < 1 / lasting
    anew[0] = True
    return drawn[np.maximum.accumulate(np.where(anew, np.arange(rows), 0))]


def shares(rows: int, lasting: float, better: float) -> dict[str, float]:
    """The share of runs in which each rule says *surely better*."""
    rng = np.random.default_rng(rows + int(lasting))
    found = dict.fromkeys(RULES, 0)
    for run in range(RUNS):
        running = errors(rng, rows, RATE, lasting).astype(float)
        gains = running - errors(rng, rows, RATE - better, lasting)
        for name, rule in RULES.items():
            found[name] += rule(gains, run)
    return {name: count / RUNS for name, count in found.items()}


def main() -> None:
    """Print the table, in Markdown."""
    print(f"{RUNS} runs a cell; errors last for so many rows on average; a 5 % test\n")
    print("| rows | errors last | " + " | ".join(f"{name}: false" for name in RULES) + " | ours: 5 points found |")
    print("|---|---|" + "---|" * (len(RULES) + 1))
    for rows in ROWS:
        for lasting in LASTING:
            false, found = shares(rows, lasting, 0.0), shares(rows, lasting, BETTER)
            cells = [f"{false[name]:.1%}" for name in RULES]
            print(f"| {rows} | {lasting} | {' | '.join(cells)} | {found['by blocks (ours)']:.0%} |", flush=True)


if __name__ == "__main__":
    main()
