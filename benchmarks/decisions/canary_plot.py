"""The plot of docs/how-to/rollouts.md: how often each rule rolls back each kind of rollout, as SVG."""

from typing import Any
from xml.sax.saxutils import escape

COLOURS = ("#2f6fb5", "#7fb0de", "#c2703d", "#8b5fb0", "#b5a02f", "#8a8f98")
FONT = 'font-family="sans-serif" font-size="12"'
LEFT, TOP, WIDTH, BAR, GAP = 250, 70, 560, 9, 16


def draw(results: dict[str, Any], rules: list[str]) -> str:
    """Return the plot of a run's figures."""
    height = BAR * len(rules) + GAP
    bottom = TOP + height * len(results["kinds"])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 70} {bottom + 30}" {FONT}>',
        "<title>Share of simulated rollouts that each rule rolls back</title>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for place, (rule, colour) in enumerate(zip(rules, COLOURS, strict=True)):
        x, y = LEFT + place % 3 * 190, 18 + place // 3 * 20
        parts.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 15}" y="{y}">{escape(rule)}</text>')
    for share in (0, 25, 50, 75, 100):
        x = LEFT + WIDTH * share / 100
        parts.append(f'<line x1="{x}" y1="{TOP - 6}" x2="{x}" y2="{bottom}" stroke="#e3e5e8"/>')
        parts.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="middle" fill="#555">{share} %</text>')
    for index, (name, found) in enumerate(results["kinds"].items()):
        parts += _draw_kind(name, found, rules, TOP + height * index)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _draw_kind(name: str, found: dict[str, Any], rules: list[str], y: int) -> list[str]:
    middle = y + BAR * len(rules) / 2
    parts = [f'<text x="{LEFT - 12}" y="{middle}" text-anchor="end">{escape(name)}</text>']
    right = "right: roll back" if found["right"] else "right: keep"
    parts.append(f'<text x="{LEFT - 12}" y="{middle + 14}" text-anchor="end" fill="#777">{right}</text>')
    for place, (rule, colour) in enumerate(zip(rules, COLOURS, strict=True)):
        share, top = found["rolled_back"][rule], y + place * BAR
        parts.append(
            f'<rect x="{LEFT}" y="{top}" width="{max(WIDTH * share, 1):.1f}" height="{BAR - 2}" fill="{colour}"/>'
        )
        parts.append(
            f'<text x="{LEFT + WIDTH * share + 4:.1f}" y="{top + BAR - 2}" font-size="9" fill="#555">{share:.1%}</text>'
        )
    return parts
