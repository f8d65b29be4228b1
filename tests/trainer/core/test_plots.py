"""Plots: every point lies between the axes, labels cover nothing that they need not, bars begin together."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.core.axes import Linear, Logarithmic
from trainer.core.labelling import Box, place_label
from trainer.core.markup import write
from trainer.core.plots import Axis, Bar, BarChart, Dot, Level, Scatter, draw_bars, draw_scatter

SIZES, SCORES = st.floats(0.01, 1e7), st.floats(-5, 5)
X, Y = Axis(Logarithmic, 1, 1e5, "size"), Axis(Linear, 0, 1, "score")


def drawn(plot: Scatter, width: float = 500, height: float = 300) -> ET.Element:
    return ET.fromstring(write(draw_scatter(plot, width, height)))


def area(svg: ET.Element) -> tuple[float, float, float, float]:
    """Left, right, top and bottom of the plot, as its rules stand."""
    rules = svg.findall("line[@class='grid']")
    x = [float(rule.get(name, "")) for rule in rules for name in ("x1", "x2")]
    y = [float(rule.get(name, "")) for rule in rules for name in ("y1", "y2")]
    return min(x), max(x), min(y), max(y)


@given(
    points=st.lists(st.tuples(SIZES, SCORES), min_size=1, max_size=30), width=st.floats(300, 1200), levels=st.booleans()
)
def test_points_lie_between_the_axes(points: list[tuple[float, float]], width: float, levels: bool) -> None:
    level = (Level(0.5, "budget", "budget"),) if levels else ()
    dots = tuple(Dot(x, y, 0, f"{x} {y}", label="label") for x, y in points)
    svg = drawn(Scatter("t", "d", X, Y, dots, levels=level), width)
    left, right, top, bottom = area(svg)
    circles = svg.findall("g/circle")
    assert len(circles) == len(points)
    for circle in circles:
        assert left <= float(circle.get("cx", "")) <= right + 0.1
        assert top <= float(circle.get("cy", "")) <= bottom
    assert {group.findtext("title") for group in svg.findall("g")} == {dot.title for dot in dots}


def test_a_better_score_is_higher_and_a_larger_file_further_right() -> None:
    dots = tuple(Dot(x, y, 0, "") for x, y in ((10, 0.2), (100, 0.4), (1000, 0.9)))
    circles = drawn(Scatter("t", "d", X, Y, dots)).findall("g/circle")
    places = [(float(item.get("cx", "")), -float(item.get("cy", ""))) for item in circles]
    assert places == sorted(places)


def test_a_series_is_told_by_its_shape_and_a_state_by_more_than_its_colour() -> None:
    dots = tuple(Dot(10, 0.5, series, "", filled=series > 0, ringed=series == 0) for series in range(3))
    groups = drawn(Scatter("t", "d", X, Y, dots)).findall("g")
    assert [[mark.tag for mark in group][1:] for group in groups] == [["circle", "circle"], ["rect"], ["path"]]
    assert [group.get("class") for group in groups] == [
        "dot series-0 hollow",
        "dot series-1 filled",
        "dot series-2 filled",
    ]


def test_a_line_goes_in_steps_so_that_it_promises_nothing_between_points() -> None:
    svg = drawn(Scatter("t", "d", X, Y, (), lines=((1, ((10, 0.2), (100, 0.4), (1000, 0.9))),)))
    (path,) = svg.findall("path")
    assert [letter for letter in path.get("d", "") if letter.isalpha()] == list("MHVHV")
    assert path.get("stroke-dasharray")


def test_words_of_close_levels_are_written_below_each_other() -> None:
    levels = (Level(0.5, "as fitted", "exact"), Level(0.499, "budget", "budget"))
    words = drawn(Scatter("t", "d", X, Y, (), levels=levels)).findall("text")
    first, second = (float(item.get("y", "")) for item in words if item.text in ("as fitted", "budget"))
    assert second - first >= 12


@given(x=st.floats(0, 400), y=st.floats(0, 300), crowd=st.lists(st.tuples(st.floats(0, 400), st.floats(0, 300))))
def test_a_label_stays_inside(x: float, y: float, crowd: list[tuple[float, float]]) -> None:
    taken = [Box.around(a, b, 5) for a, b in crowd]
    whole = Box(0, 0, 400, 300)
    assert whole.holds(place_label("cut25: smallest", (x, y), taken, whole).box)


def test_a_label_covers_neither_a_point_nor_another_label() -> None:
    whole, point = Box(0, 0, 400, 300), (200.0, 150.0)
    taken = [Box.around(*point, 5)]
    for _ in range(6):
        box = place_label("smallest", point, taken, whole).box
        assert [box.overlap(other) for other in taken] == [0.0] * len(taken)
        taken.append(box)


@given(values=st.lists(st.floats(0.05, 1e7), min_size=1, max_size=9), reach=st.floats(1, 100))
def test_bars_begin_together_and_keep_their_order(values: list[float], reach: float) -> None:
    bars = tuple(Bar(str(value), value, f"{value:.3g} µs", "", 0, value * reach) for value in values)
    svg = ET.fromstring(write(draw_bars(BarChart("t", "d", "µs", bars), 450)))
    rects = svg.findall("g/rect")
    assert {rect.get("x") for rect in rects} == {"2"}
    widths = [float(rect.get("width", "")) for rect in rects]
    assert sorted(range(len(values)), key=lambda index: values[index]) == sorted(
        range(len(values)), key=lambda index: (widths[index], values[index])
    )
    assert all(float(text.get("x", "")) < 450 for text in svg.findall("g/text"))


@pytest.mark.parametrize("value", [0.5, 10.0, 12_345.0])
def test_the_figure_of_a_bar_stands_inside_the_drawing(value: float) -> None:
    chart = BarChart("t", "d", "µs", (Bar("x", value, "12,345 µs", "", None),))
    (figure,) = ET.fromstring(write(draw_bars(chart, 450))).findall("g/text[@class='bar-figure']")
    assert float(figure.get("x", "")) + 9 * 6.6 <= 450
