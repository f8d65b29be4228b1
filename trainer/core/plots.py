"""Plots as SVG: points between two axes, and bars; values in, elements out.

House rules: a series has a colour, a shape and a dash of its own, so that nothing is told by colour alone; colours are
the style sheet's, by the classes `series-0` to `series-2`. What a point is stands in its `title`, which browsers show
as a tooltip. Lengths are CSS pixels at a scale of 1.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainer.core.axes import Linear, Logarithmic, Scale, plain
from trainer.core.labelling import Box, Candidate, place_label, text_width
from trainer.core.markup import Element, element

_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 16.0, 30.0, 46.0
# Room beside the plot for the words at the ends of its levels.
_LEVEL_WIDTH = 58.0
_LINE_HEIGHT = 14.0
_RADIUS = 4.5
_DASHES = (None, "7 3", "2 3")


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis: from where to where, in which scale, and how it and its ticks are written."""

    kind: type[Linear] | type[Logarithmic]
    low: float
    high: float
    title: str
    write: Callable[[float], str] = plain


@dataclass(frozen=True, slots=True)
class Dot:
    """A point: hollow where it is not `filled`, in a ring where it is what others are compared with.

    One that is `beyond` the axis stands at its lower end, over an arrow that points down.
    """

    x: float
    y: float
    series: int
    title: str
    filled: bool = True
    ringed: bool = False
    beyond: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line over the whole plot with a word at its right end; `name` is its class."""

    y: float
    word: str
    name: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """Points of several series, a line for each series that has one, and levels."""

    title: str
    description: str
    x: Axis
    y: Axis
    dots: tuple[Dot, ...]
    lines: tuple[tuple[int, tuple[tuple[float, float], ...]], ...] = ()
    levels: tuple[Level, ...] = ()


def draw_scatter(plot: Scatter, width: float, height: float) -> Element:
    """Draw points between axes."""
    right = width - _RIGHT - (_LEVEL_WIDTH if plot.levels else 0)
    x = plot.x.kind(plot.x.low, plot.x.high, _LEFT, right)
    y = plot.y.kind(plot.y.low, plot.y.high, height - _BOTTOM, _TOP)
    lines = (_line(series, points, x, y) for series, points in plot.lines)
    return _canvas(
        plot.title,
        plot.description,
        (width, height),
        *_x_axis(plot.x, x, (_TOP, height - _BOTTOM), right),
        *_y_axis(plot.y, y, (_LEFT, right)),
        *_levels(plot.levels, y, (_LEFT, right)),
        *lines,
        *(_dot(dot, x.place(dot.x), y.place(dot.y)) for dot in plot.dots),
        *_labels(plot.dots, x, y, Box(_LEFT, _TOP - 8, right, height - _BOTTOM)),
    )


def _canvas(title: str, description: str, size: tuple[float, float], *content: Element) -> Element:
    told = (element("title", title), element("desc", description))
    return element("svg", *told, *content, viewBox=f"0 0 {size[0]:g} {size[1]:g}", role="img", aria_label=title)


def _text(words: str, x: float, y: float, anchor: str, class_: str | None = None) -> Element:
    return element("text", words, x=x, y=y, text_anchor=anchor, class_=class_)


def _rule(x1: float, y1: float, x2: float, y2: float, class_: str) -> Element:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def _x_axis(axis: Axis, scale: Scale, between: tuple[float, float], right: float) -> Sequence[Element]:
    """Draw upright rules at ticks with the figures below, as many as there is room for."""
    top, bottom = between
    ticks = scale.ticks(max(4, int((right - _LEFT) / 75)))
    places = [(scale.place(tick), axis.write(tick)) for tick in ticks]
    return (
        *(_rule(place, top, place, bottom, "grid") for place, _ in places),
        *(_text(words, place, bottom + 17, "middle", "tick") for place, words in places),
        _rule(_LEFT, bottom, right, bottom, "axis"),
        _text(axis.title, right, bottom + 36, "end", "axis-title"),
    )


def _y_axis(axis: Axis, scale: Scale, between: tuple[float, float]) -> Sequence[Element]:
    left, right = between
    places = [(scale.place(tick), axis.write(tick)) for tick in scale.ticks(6)]
    return (
        *(_rule(left, place, right, place, "grid") for place, _ in places),
        *(_text(words, left - 8, place + 4, "end", "tick") for place, words in places),
        _text(axis.title, 2, 14, "start", "axis-title"),
    )


def _levels(levels: Sequence[Level], scale: Scale, between: tuple[float, float]) -> Sequence[Element]:
    """Draw levels, their words one below the other where the lines are close."""
    drawn: list[Element] = []
    free = -math.inf
    for place, level in sorted(((scale.place(level.y), level) for level in levels), key=lambda item: item[0]):
        words = max(place + 4, free)
        free = words + _LINE_HEIGHT
        drawn.append(_rule(between[0], place, between[1], place, f"level {level.name}"))
        drawn.append(_text(level.word, between[1] + 7, words, "start", f"level-word {level.name}"))
    return drawn


def _line(series: int, points: Sequence[tuple[float, float]], x: Scale, y: Scale) -> Element:
    """Draw steps: from each point on, its value holds until the next point."""
    (first_x, first_y), *rest = ((x.place(a), y.place(b)) for a, b in points)
    steps = f"M{first_x:.1f} {first_y:.1f}" + "".join(f"H{a:.1f}V{b:.1f}" for a, b in rest)
    return element("path", d=steps, class_=f"front series-{series}", stroke_dasharray=_DASHES[series])


def _dot(dot: Dot, x: float, y: float) -> Element:
    state = "filled" if dot.filled else "hollow"
    ring = element("circle", cx=x, cy=y, r=_RADIUS + 4, class_="ring") if dot.ringed else None
    arrow = element("path", d=f"M{x - 3:.1f} {y + 8:.1f}l3 3 3 -3", class_="beyond") if dot.beyond else None
    return element(
        "g",
        element("title", dot.title),
        ring,
        arrow,
        draw_mark(dot.series, x, y),
        class_=f"dot series-{dot.series} {state}",
    )


def draw_mark(series: int, x: float, y: float) -> Element:
    """Draw the shape of a series: a circle, a square or a triangle of about the same area."""
    r = _RADIUS
    if series == 0:
        return element("circle", cx=x, cy=y, r=r)
    if series == 1:
        return element("rect", x=x - r * 0.9, y=y - r * 0.9, width=r * 1.8, height=r * 1.8, rx=0.8)
    corners = f"M{x:.1f} {y - r * 1.25:.1f}l{r * 1.2:.1f} {r * 2.1:.1f}h{-r * 2.4:.1f}z"
    return element("path", d=corners)


def _labels(dots: Sequence[Dot], x: Scale, y: Scale, area: Box) -> Sequence[Element]:
    """Write labels beside their points, where they cover neither a point nor each other."""
    places = [(x.place(dot.x), y.place(dot.y)) for dot in dots]
    taken = [Box.around(a, b, _RADIUS + 1) for a, b in places]
    drawn = []
    for dot, (a, b) in zip(dots, places, strict=True):
        if dot.label:
            found: Candidate = place_label(dot.label, (a, b), taken, area)
            taken.append(found.box)
            drawn.append(_text(dot.label, found.x, found.y, found.anchor, f"label series-{dot.series}"))
    return drawn


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar with its name before it, its figure after it, and how far the rarer values reach (0: not known)."""

    name: str
    value: float
    figure: str
    title: str
    series: int | None = None
    reach: float = 0.0


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars below each other on one logarithmic axis; their values are over 0."""

    title: str
    description: str
    axis: str
    bars: tuple[Bar, ...]


def draw_bars(chart: BarChart, width: float) -> Element:
    """Draw bars, each under its name."""
    pitch, thick, top = 38.0, 9.0, 4.0
    bottom = top + pitch * len(chart.bars)
    longest = max(text_width(bar.figure) for bar in chart.bars)
    values = [value for bar in chart.bars for value in (bar.value, max(bar.value, bar.reach))]
    # A bar on a logarithmic axis begins where the axis does: at a power of ten, so that lengths can be compared.
    low = 10.0 ** math.floor(math.log10(min(values) / 1.5))
    right = width - _RIGHT - longest
    scale = Logarithmic(low, max(values) * 1.05, 2.0, right)
    ticks = [(scale.place(tick), plain(tick)) for tick in scale.ticks(5)]
    return _canvas(
        chart.title,
        chart.description,
        (width, bottom + 42),
        *(_rule(place, top, place, bottom, "grid") for place, _ in ticks),
        *(_text(words, place, bottom + 17, "middle" if place > 20 else "start", "tick") for place, words in ticks),
        *(_bar(bar, scale, top + index * pitch, thick) for index, bar in enumerate(chart.bars)),
        _text(chart.axis, width - 2, bottom + 36, "end", "axis-title"),
    )


def _bar(bar: Bar, scale: Logarithmic, top: float, thick: float) -> Element:
    end, middle = scale.place(bar.value), top + 17 + thick / 2
    reach = scale.place(max(bar.value, bar.reach))
    whisker = f"M{end:.1f} {middle:.1f}H{reach:.1f}m0 -3v6" if reach > end + 1 else None
    series = "source" if bar.series is None else f"series-{bar.series}"
    return element(
        "g",
        element("title", bar.title),
        _text(bar.name, 2, top + 12, "start", "bar-name"),
        element("rect", x=scale.start, y=top + 17, width=max(end - scale.start, 1), height=thick, rx=2),
        None if whisker is None else element("path", d=whisker, class_="whisker"),
        _text(bar.figure, max(end, reach) + 8, middle + 4, "start", "bar-figure"),
        class_=f"bar {series}",
    )
