"""Writes docs/reference/estimators.md, what becomes of every estimator of scikit-learn: `python scripts/estimators.py`.

The tables of lowerings are the source: nothing is said here that they do not say. A test fails when the file differs.
"""

import sys
from pathlib import Path
from typing import Any

from sklearn.utils import all_estimators

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from trainer.stages.lower import registry  # noqa: E402 - the root comes first
from trainer.stages.lower.refusals import HOPELESS, REFUSALS  # noqa: E402 - as above

PLACE = ROOT / "docs" / "reference" / "estimators.md"
METHODS = ("predict", "predict_proba", "decision_function", "score_samples", "transform")
EXPERIMENTS = ("sklearn.model_selection._search_successive_halving", "sklearn.impute._iterative")
OWN, OTHER, REFUSED = "own", "skl2onnx", "refused"
HEAD = """# Estimators

What becomes of each estimator of scikit-learn when a version is built. Made by `python scripts/estimators.py`.

- **own**: lowered by Edgeloop to one graph, which runs on ONNX Runtime, LiteRT and numpy. Parameters under which an
  estimator has no exact graph are refused in the build, with the reason.
- **skl2onnx**: its converter makes an ONNX model; the other runtimes have none.
- **refused**: no variant can be made; what to use instead is named.

Whatever the way, a variant is shipped only if it answers as the estimator does on the held-out rows. Each estimator
with a lowering of its own is compared with it in a property test (`tests/trainer/stages/lower`), on all three runtimes.
"""
OTHERS = """
## Other libraries

With `pip install 'edgeloop[boost]'`, saved with skops like every other, alone or as a step of a Pipeline. Splits by
category, objectives that are functions of Python, and what else has no exact graph are refused in the build, with the
reason.
"""
COLUMNS = "| Estimator | Way | What is computed, or why not |\n|---|---|---|"


def classes() -> dict[str, Any]:
    """Every estimator by its name, but those that are there only where somebody has enabled an experiment."""
    return {name: kind for name, kind in all_estimators() if kind.__module__ not in EXPERIMENTS}


def lowerings() -> dict[Any, dict[registry.Table, registry.Lowering]]:
    """The lowerings of each class, refusals apart."""
    found: dict[Any, dict[registry.Table, registry.Lowering]] = {}
    for table in registry.Table:
        for entries in registry._entries(table).values():  # noqa: SLF001 - the tables have no other reader
            for name, lowering in entries:
                if name not in REFUSALS:
                    found.setdefault(registry._class(name), {})[table] = lowering  # noqa: SLF001 - as above
    return found


def summary(lowering: registry.Lowering) -> str:
    """The first sentence of a lowering's docstring, without the names in front of it."""
    first = " ".join((lowering.__doc__ or "").split("\n\n")[0].split()).rstrip(".")
    return first.partition(": ")[2] or first or "what the estimator inside of it computes"


def rows() -> list[tuple[str, str, str]]:
    """Name, way and words of each estimator that infers anything."""
    from skl2onnx._supported_operators import sklearn_operator_name_map as converters

    own = lowerings()
    refused = {registry._class(name): told for name, told in REFUSALS.items()}  # noqa: SLF001 - as above
    found = []
    for name, kind in sorted(classes().items()):
        if not any(hasattr(kind, method) for method in METHODS) and kind not in refused:
            continue
        reason, instead = refused.get(kind, ("nobody has written its lowering", "ask for it"))
        if kind in own:
            tables = own[kind]
            told = summary(tables.get(registry.Table.SCORES) or tables[registry.Table.FEATURES])
            found.append((name, OWN, told))
        elif kind in converters and (reason, instead) not in HOPELESS:
            found.append((name, OTHER, f"no graph of our own: {reason}" if kind in refused else ""))
        else:
            found.append((name, REFUSED, f"{reason}: {instead}"))
    return found


def others() -> list[tuple[str, str, str]]:
    """The same of the estimators of other libraries."""
    names = [
        (name, lowering)
        for entries in registry._entries(registry.Table.SCORES).values()  # noqa: SLF001 - as above
        for name, lowering in entries
        if not name.startswith("sklearn.")
    ]
    return [(name, OWN, summary(lowering)) for name, lowering in sorted(names)]


def table(found: list[tuple[str, str, str]]) -> str:
    """Rows in Markdown."""
    lines = [f"| {name} | {way} | {told.replace('|', chr(92) + '|')} |" for name, way, told in found]
    return "\n".join([COLUMNS, *lines, ""])


def document() -> str:
    """The whole file."""
    found = rows()
    infer = {name for name, kind in classes().items() if any(hasattr(kind, method) for method in METHODS)}
    counts = {
        way: sum(1 for name, taken, _ in found if taken == way and name in infer) for way in (OWN, OTHER, REFUSED)
    }
    total = (
        f"Of the {len(infer)} estimators that infer anything: {counts[OWN]} by their own lowering, {counts[OTHER]} by "
        f"skl2onnx, {counts[REFUSED]} refused. The rest of the table has no method for new rows."
    )
    return "\n".join([HEAD, total, "", table(found) + OTHERS, table(others())])


if __name__ == "__main__":
    PLACE.write_text(document())
