"""Every family of models by every route, side by side in one run, and the bars that the compiler is held to.

    python benchmarks/compile [FAMILY ...] [--json FILE] [--docs] [--rounds N]

Routes: scikit-learn, skl2onnx on ONNX Runtime, ours on ONNX Runtime, on LiteRT and in numpy; emlearn, m2cgen and
tl2cgen where they are installed. Some minutes in all. With `--docs`, docs/benchmarks.md and its plot are written anew.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

# One thread for everybody, as on a board; and no telemetry: both before anything is imported.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", ORT_DISABLE_TELEMETRY="1")
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import bars  # noqa: E402 - as above
import eight_bits  # noqa: E402 - as above
import report  # noqa: E402 - as above
from families import FAMILIES, Family, load  # noqa: E402 - as above
from family import measure_family  # noqa: E402 - as above
from rich.console import Console  # noqa: E402 - as above
from rich.progress import track  # noqa: E402 - as above
from routes import ROUTES, build  # noqa: E402 - as above

# What the document was written from.
FIGURES = Path(__file__).with_name("figures.json")
SHOWN = Console(width=max(Console().width, 180))


def main() -> int:
    options = _parse()
    chosen = [family for family in FAMILIES if not options.families or _is_named(family, options.families)]
    warnings.simplefilter("ignore")
    _import_everything()
    measured = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, family in enumerate(track(chosen, "measuring", console=SHOWN, transient=True)):
            folder = Path(scratch, str(number))
            folder.mkdir()
            measured.append(measure_family(family, folder, options.rounds))
            SHOWN.print(report.line(measured[-1]))
        small = {} if options.families else eight_bits.measure(Path(scratch), options.rounds)
    results: dict[str, Any] = {"machine": _machine(), "families": measured, "eight_bits": small}
    results["bars"] = bars.judge(measured, small)
    SHOWN.print(report.rich_table(results), report.rich_bars(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    if options.docs:
        FIGURES.write_text(json.dumps(results, indent=1) + "\n")
        report.write_docs(ROOT / "docs", results)
    return 0 if all(bar["holds"] for bar in results["bars"]) else 1


def _import_everything() -> None:
    """Convert something small by every route: what is imported on the way is no conversion's time."""
    smallest = FAMILIES[0]
    with tempfile.TemporaryDirectory() as scratch:
        for route in ROUTES:
            build(route, smallest.fit(), load(smallest.data).x.shape[1], Path(scratch))


def _is_named(family: Family, words: list[str]) -> bool:
    return any(word.lower() in family.name.lower() for word in words)


def _machine() -> dict[str, str]:
    """Return what the figures depend on."""
    from importlib.metadata import version

    packages = ("scikit-learn", "skl2onnx", "onnxruntime", "ai-edge-litert", "numpy")
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "processor": processor or platform.machine(),
        "architecture": platform.machine(),
        "cores": str(os.cpu_count()),
        "Python": platform.python_version(),
    } | {name: version(name) for name in packages}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("families", nargs="*", help="parts of families' names; without any: all of them")
    parser.add_argument("--rounds", type=int, default=60, help="bursts of single rows for each route")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--docs", action="store_true", help="also write docs/benchmarks.md and its plot")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
