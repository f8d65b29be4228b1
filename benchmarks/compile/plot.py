"""The plot of docs/benchmarks.md: one row's time by every route, one line a family, on a logarithmic axis, as SVG."""

import math
from typing import Any
from xml.sax.saxutils import escape

from routes import LITERT, NUMPY, ORT, SKL2ONNX, SKLEARN

COLOURS = {SKLEARN: "#8a8f98", SKL2ONNX: "#c2703d", ORT: "#2f6fb5", LITERT: "#2e8b62", NUMPY: "#8b5fb0"}
FONT = 'font-family="sans-serif" font-size="12"'
LEFT, TOP, LINE, WIDTH = 330, 60, 19, 620
LEAST_US, MOST_US = 1.0, 100_000.0
DECADES = range(round(math.log10(LEAST_US)), round(math.log10(MOST_US)) + 1)


def draw(families: list[dict[str, Any]]) -> str:
    """Return the plot of these families."""
    bottom = TOP + LINE * len(families)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 30} {bottom + 40}" {FONT}>',
        "<title>Time of one row, in microseconds, by family and route</title>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for place, (route, colour) in enumerate(COLOURS.items()):
        x = LEFT + place * 125
        parts.append(
            f'<circle cx="{x}" cy="22" r="5" fill="{colour}"/><text x="{x + 10}" y="26">{escape(route)}</text>'
        )
    for decade in DECADES:
        x = _place(10.0**decade)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="#e3e5e8"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle" fill="#555">{_label(decade)}</text>')
    for index, family in enumerate(families):
        parts.extend(_draw_family(family, TOP + LINE * index + LINE / 2))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _draw_family(family: dict[str, Any], y: float) -> list[str]:
    times = {
        route: figures["row_us"]
        for route in COLOURS
        if "row_us" in (figures := family["routes"][route])
    }  # fmt: skip
    ends = _place(min(times.values())), _place(max(times.values()))
    name = f'<text x="{LEFT - 20}" y="{y + 4:.1f}" text-anchor="end">{escape(family["name"])}</text>'
    span = f'<line x1="{ends[0]:.1f}" y1="{y:.1f}" x2="{ends[1]:.1f}" y2="{y:.1f}" stroke="#c9ccd1"/>'
    dots = [
        f'<circle cx="{_place(time):.1f}" cy="{y:.1f}" r="4.5" fill="{COLOURS[route]}"/>'
        for route, time in times.items()
    ]
    return [name, span, *dots]


def _place(micros: float) -> float:
    share = (math.log10(micros) - DECADES[0]) / (DECADES[-1] - DECADES[0])
    return LEFT + WIDTH * min(max(share, 0.0), 1.0)


def _label(decade: int) -> str:
    return f"{10**decade} µs" if decade < 3 else f"{10 ** (decade - 3)} ms"
