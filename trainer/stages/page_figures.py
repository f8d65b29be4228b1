"""Plots of the report's page: the frontier, latency against size, and one row's latency by variant."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from edge_agent.contract.card import FrontierPoint, VersionRecord
from edge_agent.contract.manifest import Manifest, Runtime, Task
from trainer.core.axes import Linear, Logarithmic, padded, padded_ratio, plain
from trainer.core.frontier import EXACT, is_dominated
from trainer.core.markup import Child, Element, element
from trainer.core.plots import (
    Axis,
    Bar,
    BarChart,
    Dot,
    Level,
    Scatter,
    draw_bars,
    draw_mark,
    draw_scatter,
)
from trainer.stages.page_tables import loss_unit, show_latency, show_loss, show_ratio, show_size

SERIES = {runtime: index for index, runtime in enumerate(Runtime)}
# A form that loses more than this many budgets, and this many points, is drawn at the plot's lower edge.
_FLOOR_BUDGETS, _FLOOR_LEAST = 10.0, 5.0
_SIZE = "model file, kB (log scale)"
_LATENCY = "one row, µs (log scale)"


@dataclass(frozen=True, slots=True)
class _Height:
    """How high a point stands in the frontier's plot: by its score, or by its loss where that has another unit."""

    name: str
    title: str
    of_point: Callable[[FrontierPoint], float]
    of_loss: Callable[[float], float]
    write: Callable[[float], str]


def _height(record: VersionRecord, metric: str) -> _Height:
    exact = next((point for point in record.frontier if point.form == EXACT), None)
    kinds = {(Task.CLASSIFICATION, "accuracy"): "accuracy", (Task.REGRESSION, "r2"): "R²"}
    title = kinds.get((record.card.task, metric))
    if exact is None or title is None:
        # The score is of another kind than the loss that the budget bounds: draw the loss, upside down.
        unit = f"loss, {loss_unit(record)}"
        return _Height("loss", unit, lambda point: -point.loss, lambda loss: -loss, lambda value: plain(-value))
    percent = (abs(exact.score) if metric == "r2" else 1.0) / 100
    # The form that was fitted may have lost a tie to rounding; losses count from the estimator.
    source = exact.score + exact.loss * percent
    return _Height("score", title, lambda point: point.score, lambda loss: source - loss * percent, plain)


def frontier_figure(record: VersionRecord, manifests: Mapping[str, Manifest]) -> Element:
    """Return size against score for every form and runtime, once for wide screens and once for narrow ones."""
    metric = next(iter(manifests.values())).parity.metric
    plot, floor = _frontier(record, _height(record, metric)), _floor(record)
    count = len({point.form for point in record.frontier})
    words = f"{count} forms on {len(_runtimes(record))} runtimes; up and left is better."
    if any(point.loss > floor for point in record.frontier):
        words += f" What loses more than {floor:g} {loss_unit(record)} stands at the lower edge, with an arrow."
    # Where the screen is narrow there is seldom a pointer to hover with; the table has the figures.
    short = replace(plot, dots=tuple(replace(dot, title=dot.title.partition("\n")[0]) for dot in plot.dots))
    drawn = (
        element("div", draw_scatter(plot, 1000, 400), class_="for-wide"),
        element("div", draw_scatter(short, 390, 400), class_="for-narrow"),
    )
    return _figure(plot.title, words, *drawn, legend=_legend(record))


def _floor(record: VersionRecord) -> float:
    return max(_FLOOR_BUDGETS * (0.0 if record.budget is None else record.budget.loss), _FLOOR_LEAST)


def _frontier(record: VersionRecord, height: _Height) -> Scatter:
    points, budget = record.frontier, record.budget
    floor = _floor(record)
    lowest = height.of_loss(floor)
    shown = {id(point): lowest if point.loss > floor else height.of_point(point) for point in points}
    levels = [Level(height.of_loss(0.0), "as fitted", "exact")]
    if budget is not None:
        levels.append(Level(height.of_loss(budget.loss), "budget", "budget"))
    low, high = padded([*shown.values(), *(level.y for level in levels)], 0.07)
    lines = []
    for runtime in _runtimes(record):
        own = [point for point in points if point.runtime is runtime and not is_dominated(point, points)]
        steps = [(float(point.size), shown[id(point)]) for point in sorted(own, key=lambda point: point.size)]
        lines.append((SERIES[runtime], tuple(steps)))
    return Scatter(
        title=f"Size against {height.name}",
        description=(
            "Every form on every runtime. Points further up lose less, further left they are smaller. "
            "Lines join the best of a runtime."
        ),
        x=Axis(Logarithmic, *_kilobytes([point.size for point in points]), _SIZE),
        y=Axis(Linear, low, high, height.title, height.write),
        dots=tuple(
            replace(_dot(point, record, point.size / 1000, shown[id(point)]), beyond=point.loss > floor)
            for point in points
        ),
        lines=tuple((series, tuple((size / 1000, y) for size, y in steps)) for series, steps in lines),
        levels=tuple(levels),
    )


def _runtimes(record: VersionRecord) -> Sequence[Runtime]:
    return tuple(dict.fromkeys(point.runtime for point in record.frontier))


def _kilobytes(sizes: Sequence[int]) -> tuple[float, float]:
    return padded_ratio([size / 1000 for size in sizes], 0.06)


def _dot(point: FrontierPoint, record: VersionRecord, x: float, y: float) -> Dot:
    latency = f", {show_latency(point.latency_p50_us)} µs a row" if point.latency_p50_us > 0 else ""
    marks = ", ".join(point.marks)
    title = (
        f"{point.runtime} {point.form}: {point.words}\n{show_size(point.size)} kB{latency}\n"
        f"score {point.score:.4f}, loss {show_loss(point)} {loss_unit(record)}\n"
        f"{'within' if point.within else 'over'} the budget{f'; {marks}' if marks else ''}"
    )
    label = f"{point.form}: {marks}" if marks else ""
    return Dot(x, y, SERIES[point.runtime], title, point.within, point.form == EXACT, label=label)


def cost_figures(record: VersionRecord, manifests: Mapping[str, Manifest]) -> Sequence[Element]:
    """Return the plots of what was measured: one row's latency by variant, and latency against size."""
    if all(item.cost.latency_p50_us <= 0 for item in manifests.values()):
        return ()
    return _latency_figure(record, manifests), _cost_figure(record, manifests)


def _cost_figure(record: VersionRecord, manifests: Mapping[str, Manifest]) -> Element:
    """Return latency against size of every form that was measured, or of the variants where no form was tried."""
    timed = [point for point in record.frontier if point.latency_p50_us > 0]
    if timed:
        dots = [_dot(point, record, point.latency_p50_us, point.size / 1000) for point in timed]
    else:
        dots = [_variant_dot(item) for item in manifests.values() if item.cost.latency_p50_us > 0]
    plot = Scatter(
        title="Latency against size",
        description="Points further left answer sooner, points further down are smaller.",
        x=Axis(Logarithmic, *padded_ratio([dot.x for dot in dots], 0.12), _LATENCY),
        y=Axis(Logarithmic, *padded_ratio([dot.y for dot in dots], 0.12), "model file, kB (log scale)"),
        dots=tuple(replace(dot, ringed=bool(timed) and dot.ringed) for dot in dots),
    )
    words = "Forms that were measured, in turn in one process;" if timed else "Every variant;"
    legend = element("ul", *_runtime_keys(record), _exact_key(), class_="legend") if timed else None
    return _figure(
        "Latency against size", f"{words} down and left is better.", draw_scatter(plot, 450, 320), legend=legend
    )


def _variant_dot(manifest: Manifest) -> Dot:
    cost = manifest.cost
    title = f"{manifest.variant}\n{show_size(cost.size)} kB, {show_latency(cost.latency_p50_us)} µs a row"
    return Dot(cost.latency_p50_us, cost.size / 1000, SERIES[manifest.runtime], title, label=manifest.variant)


def _latency_figure(record: VersionRecord, manifests: Mapping[str, Manifest]) -> Element:
    """Return one row's latency of every variant beside the estimator's."""
    source = record.card.estimator_latency_p50_us
    timed = [item for item in manifests.values() if item.cost.latency_p50_us > 0]
    bars = [_bar(item, source) for item in sorted(timed, key=lambda item: item.cost.latency_p50_us)]
    if source > 0:
        told = f"estimator\n{show_latency(source)} µs a row"
        bars.append(Bar("estimator", source, f"{show_latency(source)} µs", told))
    chart = BarChart(
        title="One row's latency by variant",
        description="Bars on a logarithmic axis; a shorter bar answers sooner.",
        axis=_LATENCY,
        bars=tuple(bars),
    )
    words = "Half of the rows take no longer than the bar, 99 of 100 no longer than its whisker."
    return _figure("Latency of one row", words, draw_bars(chart, 450))


def _bar(manifest: Manifest, source: float) -> Bar:
    cost = manifest.cost
    figure = f"{show_latency(cost.latency_p50_us)} µs"
    if source > 0:
        figure += f" · {show_ratio(source / cost.latency_p50_us)}"
    told = f"{manifest.variant}\np50 {show_latency(cost.latency_p50_us)} µs, p99 {show_latency(cost.latency_p99_us)} µs"
    return Bar(manifest.variant, cost.latency_p50_us, figure, told, SERIES[manifest.runtime], cost.latency_p99_us)


def _legend(record: VersionRecord) -> Element:
    """Return what shapes mean: of runtimes, and of forms within the budget and over it."""
    within, over = _key(0, "neutral filled", "within the budget"), _key(0, "neutral hollow", "over it")
    return element("ul", *_runtime_keys(record), _exact_key(), within, over, class_="legend")


def _runtime_keys(record: VersionRecord) -> Sequence[Element]:
    return [_key(SERIES[runtime], "filled", runtime) for runtime in _runtimes(record)]


def _exact_key() -> Element:
    return _key(0, "neutral filled", "as fitted", ringed=True)


def _key(series: int, state: str, words: str, *, ringed: bool = False) -> Element:
    ring = element("circle", cx=9, cy=9, r=8.0, class_="ring") if ringed else None
    mark = element("g", ring, draw_mark(series, 9, 9), class_=f"dot series-{series} {state}")
    return element("li", element("svg", mark, viewBox="0 0 18 18", aria_hidden="true"), words)


def _figure(name: str, words: str, *drawn: Child, legend: Element | None = None) -> Element:
    told = element("figcaption", element("h3", name), element("p", words), legend)
    return element("figure", told, *drawn)
