"""What one run found, as a table on the terminal, and as docs/benchmarks.md with its plot.

House rules: every figure in the document stands between two markers and is written from one run; the rest is prose.
"""

import re
from pathlib import Path
from typing import Any

import plot
from bars import mean
from peers import PEERS
from rich.table import Table
from routes import ORT, OURS, ROUTES, SKL2ONNX, SKLEARN

MARKED = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
SHORT = {"ours on ORT": "ORT", "ours on LiteRT": "LiteRT", "ours in numpy": "numpy"}


def line(family: dict[str, Any]) -> str:
    """Return one family in a line: what it is while the others are still measured."""
    ratios = family["ratios"]
    against = f"{ratios['skl2onnx_row']:6.2f}×" if "skl2onnx_row" in ratios else "      –"
    return f"{family['name']:44} skl2onnx {against}   scikit-learn {ratios['sklearn_row']:7.1f}×"


def rich_table(results: dict[str, Any]) -> Table:
    """Return the table of all families: µs of one row by route, kB, and the ratios."""
    table = Table(title="One row in µs (file in kB)", title_justify="left")
    table.add_column("family")
    routes = (*ROUTES, *PEERS)
    for route in routes:
        table.add_column(route, justify="right")
    table.add_column("× skl2onnx", justify="right")
    table.add_column("× scikit-learn", justify="right")
    for family in results["families"]:
        cells = [_row_and_size(family["routes"][route]) for route in routes]
        table.add_row(family["name"], *cells, _ratio(family, "skl2onnx_row"), _ratio(family, "sklearn_row"))
    return table


def rich_bars(results: dict[str, Any]) -> Table:
    """Return the table of the bars."""
    table = Table(title="Bars", title_justify="left")
    for name in ("bar", "what", "figure", "asked", "holds", "missed by"):
        table.add_column(name)
    for bar in results["bars"]:
        missed = ", ".join(f"{name} {figure:.2f}" for name, figure in bar["missed_by"].items())
        holds = "yes" if bar["holds"] else "NO"
        table.add_row(bar["bar"], bar["what"], f"{bar['figure']:.2f}", f"{bar['asked']:g}", holds, missed)
    return table


def _row_and_size(figures: dict[str, Any]) -> str:
    if "missing" in figures:
        return "not installed" if figures["missing"] == "not installed" else "–"
    return f"{_micros(figures['row_us'])} ({_kilobytes(figures['size_bytes'])})"


def _micros(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _kilobytes(size: float) -> str:
    return f"{size / 1e3:.1f}" if size < 1e5 else f"{size / 1e3:,.0f}"


def _ratio(family: dict[str, Any], name: str) -> str:
    return f"{family['ratios'][name]:.2f}" if name in family["ratios"] else "–"


def write_docs(folder: Path, results: dict[str, Any]) -> None:
    """Write what stands between the markers of benchmarks.md, and its plot."""
    path = folder / "benchmarks.md"
    makers = {
        "machine": _machine,
        "bars": _bars,
        "rows": _rows,
        "sizes": _sizes,
        "costs": _costs,
        "scores": _scores,
        "eight": _eight_bits,
    }

    def fill(found: "re.Match[str]") -> str:
        return f"{found[1]}\n{makers[found[2]](results)}\n\n{found[3]}"

    path.write_text(MARKED.sub(fill, path.read_text()))
    (folder / "images" / "benchmarks.svg").write_text(plot.draw(results["families"]))


def _machine(results: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in results["machine"].items()) + "."


def _bars(results: dict[str, Any]) -> str:
    rows = []
    for bar in results["bars"]:
        missed = ", ".join(f"{name} ({figure:.2f})" for name, figure in bar["missed_by"].items())
        rows.append([bar["bar"], bar["what"], f"{bar['figure']:.2f}", f"{bar['asked']:g}", missed or "–"])
    return _markdown(["Bar", "What", "Figure", "Asked", "Missed by"], rows)


def _rows(results: dict[str, Any]) -> str:
    routes = _present(results)
    rows = []
    for family in results["families"]:
        cells = [_cell(family, route, lambda f: _micros(f["row_us"])) for route in routes]
        rows.append(
            [family["name"], family["data"], *cells, _ratio(family, "skl2onnx_row"), _ratio(family, "sklearn_row")]
        )
    ratios = [family["ratios"] for family in results["families"]]
    theirs = mean(found["skl2onnx_row"] for found in ratios if "skl2onnx_row" in found)
    rows.append(
        ["**Geometric mean**", "", *[""] * len(routes), f"**{theirs:.2f}**",
         f"**{mean(found['sklearn_row'] for found in ratios):.1f}**"]
    )  # fmt: skip
    return _markdown(["Family", "Data", *routes, "× skl2onnx", "× scikit-learn"], rows)


def _sizes(results: dict[str, Any]) -> str:
    routes = [route for route in _present(results) if route != SKLEARN]
    rows = []
    for family in results["families"]:
        cells = [
            _cell(family, route, lambda f: f"{_kilobytes(f['size_bytes'])} / {_kilobytes(f['xz_bytes'])}")
            for route in routes
        ]
        rows.append([family["name"], *cells, _ratio(family, "skl2onnx_size")])
    return _markdown(["Family", *routes, "× skl2onnx"], rows)


def _costs(results: dict[str, Any]) -> str:
    """A thousand rows, conversion, loading, memory: of the routes that a device has."""
    routes = (SKLEARN, SKL2ONNX, *OURS)
    rows = []
    for family in results["families"]:
        figures = [family["routes"][route] for route in routes]
        columns = [
            [_plain(one, "thousand_ms", 1) for one in figures],
            [_plain(one, "convert_s", 2) for one in figures[1:3]],
            [_plain(one, "load_ms", 1) for one in figures],
            [_plain(one, "rss_mb", 0) for one in figures],
        ]
        rows.append([family["name"], *(" · ".join(cells) for cells in columns)])
    head = ["Family", "1,000 rows, ms", f"Convert, s: {SKL2ONNX} · {SHORT[ORT]}", "Load, ms", "Memory, MB"]
    return _markdown(head, rows)


def _scores(results: dict[str, Any]) -> str:
    routes = _present(results)
    rows = [
        [family["name"], family["metric"], *[_cell(family, route, _score) for route in routes]]
        for family in results["families"]
    ]
    return _markdown(["Family", "Metric", *routes], rows)


def _eight_bits(results: dict[str, Any]) -> str:
    rows = [
        [
            route,
            f"{found['size_ratio']:.2f}",
            f"{found['points_lost']:.2f}",
            f"{found['float32_row_us']:.1f}",
            f"{found['row_us']:.1f}",
            f"{found['row_ratio']:.2f}",
        ]
        for route, found in results["eight_bits"].items()
    ]
    return _markdown(["Runtime", "Times smaller", "Points lost", "float32, µs", "int8, µs", "Times faster"], rows)


def _present(results: dict[str, Any]) -> list[str]:
    """Return the routes of our own and those peers that were installed."""
    families = results["families"]
    return [
        *ROUTES,
        *(peer for peer in PEERS if any(one["routes"][peer].get("missing") != "not installed" for one in families)),
    ]


def _cell(family: dict[str, Any], route: str, show: Any) -> str:
    figures = family["routes"][route]
    return "–" if "missing" in figures else show(figures)


def _plain(figures: dict[str, Any], name: str, digits: int) -> str:
    return "–" if "missing" in figures else f"{figures[name]:,.{digits}f}"


def _score(figures: dict[str, Any]) -> str:
    return "–" if figures["score"] is None else f"{figures['score']:.4f}"


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])
