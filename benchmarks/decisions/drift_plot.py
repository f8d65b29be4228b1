"""The plot of docs/how-to/drift.md: false alarms of clean windows by rule and kind of rows, on a logarithmic axis."""

import math
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

COLOURS = ("#2f6fb5", "#c2703d", "#8a8f98")
FONT = 'font-family="sans-serif" font-size="12"'
LEFT, TOP, LINE, WIDTH = 150, 64, 30, 480
LEAST = 1e-4
DECADES = range(-4, 1)


def draw(figures: Sequence[dict[str, Any]], rules: Sequence[str]) -> str:
    """Return the plot; the share of 0.5 σ shifts that a rule finds in two windows stands to the right."""
    bottom, right = TOP + LINE * len(rules), LEFT + WIDTH
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right + 200} {bottom + 50}" {FONT}>',
        "<title>False alarms for each clean window of a device, by rule</title>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for place, (item, colour) in enumerate(zip(figures, COLOURS, strict=False)):
        x = LEFT + place * 190
        name = escape(item["setting"])
        parts.append(f'<circle cx="{x}" cy="20" r="5" fill="{colour}"/><text x="{x + 10}" y="24">{name}</text>')
    parts.append(f'<text x="{right + 25}" y="{TOP - 14}" fill="#555">0.5 σ found in two windows</text>')
    for decade in DECADES:
        x = _place(10.0**decade)
        label = f"{10.0 ** (decade + 2):g} %"
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="#e3e5e8"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#555">{label}</text>')
    x = _place(0.01)
    parts.append(
        f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="#b03a3a" stroke-dasharray="4 3"/>'
    )
    parts.append(
        f'<text x="{LEFT}" y="{bottom + 38}" fill="#555">false alarms for each clean window of a device</text>'
    )
    for index, rule in enumerate(rules):
        y = TOP + LINE * index + LINE / 2
        parts.append(f'<text x="{LEFT - 16}" y="{y + 4:.1f}" text-anchor="end">{escape(rule)}</text>')
        found = ", ".join(f"{item['half_sigma_in_two_windows'][rule]:.0%}" for item in figures)
        parts.append(f'<text x="{right + 25}" y="{y + 4:.1f}">{found}</text>')
        for item, colour in zip(figures, COLOURS, strict=False):
            x = _place(item["false_alarms"][rule])
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}" fill-opacity="0.85"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _place(share: float) -> float:
    """Where a share lies; what is below the axis, none at all included, stands at its beginning."""
    decades = math.log10(max(share, LEAST)) - DECADES[0]
    return LEFT + WIDTH * decades / (DECADES[-1] - DECADES[0])
