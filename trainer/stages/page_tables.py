"""Tables of the report's page, and how its figures are written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edge_agent.contract.card import Bound, FrontierPoint, VariantEntry, VersionRecord
from edge_agent.contract.manifest import Manifest, Proof, Runtime, ScoreKind, Task
from trainer.core.axes import plain
from trainer.core.markup import Child, Element, element

NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading; figures are set flush right."""

    name: str
    figures: bool = True


def metric_name(metric: str) -> str:
    """Return a metric as people write it."""
    return {"r2": "R²", "roc_auc": "ROC AUC"}.get(metric, metric.replace("_", " "))


def show_size(size: int) -> str:
    """Return bytes as kB, with three digits at least."""
    return _three_digits(size / 1000)


def show_latency(latency_us: float) -> str:
    """Return µs, or a dash where nothing was measured."""
    return _three_digits(latency_us) if latency_us > 0 else NOTHING


def show_ratio(ratio: float) -> str:
    """Return how many times as much."""
    return f"{ratio:,.0f}×" if ratio >= 10 else f"{ratio:.1f}×"


def loss_unit(record: VersionRecord) -> str:
    """Return what a loss is counted in, as `Budget` says."""
    return "% of R²" if record.card.task is Task.REGRESSION else "points"


def show_loss(point: FrontierPoint) -> str:
    """Return a loss with its standard error."""
    # The sum takes the sign off a nought.
    return f"{round(point.loss, 2) + 0.0:+.2f} ± {point.loss_error:.2f}".replace("-", "\N{MINUS SIGN}")


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _few_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _difference(value: float) -> str:
    return f"{value:.1e}" if value else "0"


def _measured(value: float) -> str:
    return f"{value:.1f}" if value > 0 else NOTHING


_AGREEMENT = "agreement"
# The columns of a variant's figures.
_FIGURES: Mapping[str, Callable[[Manifest], str]] = {
    _AGREEMENT: lambda item: f"{item.parity.label_agreement:.4f}",
    "size kB": lambda item: show_size(item.cost.size),
    "xz kB": lambda item: show_size(item.cost.packed_size),
    "p50 µs": lambda item: show_latency(item.cost.latency_p50_us),
    "p99 µs": lambda item: show_latency(item.cost.latency_p99_us),
    "batch µs/row": lambda item: show_latency(item.cost.batch_us),
    "load ms": lambda item: _measured(item.cost.load_ms),
    "peak MiB": lambda item: _measured(item.cost.memory_peak_mb),
    "steady MiB": lambda item: _measured(item.cost.memory_steady_mb),
    "max diff": lambda item: _difference(item.parity.max_abs_diff),
    "mean diff": lambda item: _difference(item.parity.mean_abs_diff),
}


def table(name: str, columns: Sequence[Column], rows: Sequence[Sequence[Child]], note: Child | None = None) -> Element:
    """Return a table whose rows begin with their name, in a frame that scrolls where the screen is narrow."""
    heads = (element("th", column.name, scope="col", class_=_class_of(column)) for column in columns)
    body = element("tbody", *(_row(columns, row) for row in rows))
    return framed(name, element("thead", element("tr", *heads)), body, note)


def framed(name: str, head: Element, body: Element, note: Child | None = None) -> Element:
    """Return head and body of a table with its caption, in a frame that scrolls."""
    caption = element("caption", name)
    frame = element("div", element("table", caption, head, body), class_="frame", tabindex="0", role="region")
    frame.attributes["aria-label"] = name
    return element("div", frame, None if note is None else element("p", note, class_="note"), class_="tabled")


def _row(columns: Sequence[Column], cells: Sequence[Child], class_: str | None = None) -> Element:
    first, *rest = cells
    others = (element("td", cell, class_=_class_of(column)) for column, cell in zip(columns[1:], rest, strict=True))
    return element("tr", element("th", first, scope="row"), *others, class_=class_)


def _class_of(column: Column) -> str | None:
    return "figure" if column.figures else None


def metrics_table(record: VersionRecord) -> Element:
    """Return every metric of the model with the gate that it had to pass."""
    columns = (Column("metric", figures=False), Column("value"), Column("gate", figures=False))
    gates = {gate.metric: gate for gate in record.card.gates}
    rows: list[Sequence[Child]] = []
    for metric, value in record.card.metrics.items():
        gate, told = gates.get(metric), NOTHING
        if gate is not None:
            bound = "at least" if gate.bound is Bound.AT_LEAST else "at most"
            told = f"{'✓ passed' if gate.passed else '✗ failed'}: {bound} {gate.threshold:g}"
        rows.append((metric_name(metric), f"{value:.4f}", told))
    return table("Metrics of the estimator on the held-out rows", columns, rows)


def variants_table(record: VersionRecord, manifests: Mapping[str, Manifest]) -> Element:
    """Return all variants that were asked for: figures, or the reason why there is none."""
    first = next(iter(manifests.values()))
    figures = {name: values for name, values in _FIGURES.items() if name != _AGREEMENT or _has_labels(first)}
    columns = (Column("variant", figures=False), Column(metric_name(first.parity.metric)), *map(Column, figures))
    rows = (_variant_row(columns, entry, manifests.get(entry.variant)) for entry in record.variants)
    heads = (element("th", column.name, scope="col", class_=_class_of(column)) for column in columns)
    body = element("tbody", *rows, _source_row(columns, record, first))
    agreement = "Agreement: share of rows with the estimator's label. " if _has_labels(first) else ""
    note = (
        f"xz: as it travels to devices. {agreement}Differences are of scores. "
        "Batch: of a thousand rows. Memory: what a fresh process gained, at its peak and after the work. "
        "Measured where the version was built."
    )
    return framed("Variants", element("thead", element("tr", *heads)), body, note)


def _has_labels(manifest: Manifest) -> bool:
    return manifest.output.kind is not ScoreKind.VALUE


def _variant_row(columns: Sequence[Column], entry: VariantEntry, manifest: Manifest | None) -> Element:
    if manifest is None:
        reason = element("td", f"not built: {entry.reason}", colspan=str(len(columns) - 1))
        return element("tr", element("th", entry.variant, scope="row"), reason, class_="unbuilt")
    form = element("small", manifest.form) if manifest.form else None
    figures = (_FIGURES[column.name](manifest) for column in columns[2:])
    return _row(columns, (element("span", entry.variant, form), f"{manifest.parity.score:.4f}", *figures))


def _source_row(columns: Sequence[Column], record: VersionRecord, first: Manifest) -> Element:
    known = {"p50 µs": show_latency(record.card.estimator_latency_p50_us)}
    name = element("span", "estimator", element("small", "as it was fitted"))
    others = (known.get(column.name, "") for column in columns[2:])
    return _row(columns, (name, f"{first.parity.source_score:.4f}", *others), "source")


def forms_table(record: VersionRecord) -> Element:
    """Return every form that was tried, with its size and latency on each runtime."""
    runtimes = tuple(dict.fromkeys(point.runtime for point in record.frontier))
    top = [
        element("th", "form", scope="col", rowspan="2"),
        element("th", "score", scope="col", rowspan="2", class_="figure"),
        element("th", f"loss, {loss_unit(record)}", scope="col", rowspan="2", class_="figure"),
        element("th", "within", scope="col", rowspan="2"),
        *(element("th", runtime, scope="colgroup", colspan="2", class_="group") for runtime in runtimes),
    ]
    below = [element("th", name, scope="col", class_="figure") for _ in runtimes for name in ("kB", "µs")]
    rows = (_form_row(form, points, runtimes) for form, points in by_form(record.frontier))
    note = (
        "Loss: against the form that was fitted, with its standard error over the rows; below 0 it scores higher. "
        "A form is within when its loss is no more than the budget. Latency was measured of those within only."
    )
    head = element("thead", element("tr", *top), element("tr", *below))
    return framed("Forms that were tried", head, element("tbody", *rows), note)


def _form_row(form: str, points: Mapping[Runtime, FrontierPoint], runtimes: Sequence[Runtime]) -> Element:
    first = next(iter(points.values()))
    cells = [
        element("th", element("span", form, element("small", first.words)), scope="row"),
        element("td", f"{first.score:.4f}", class_="figure"),
        element("td", show_loss(first), class_="figure"),
        element("td", "✓ yes" if first.within else "no"),
    ]
    for runtime in runtimes:
        point = points.get(runtime)
        size = NOTHING if point is None else show_size(point.size)
        latency = NOTHING if point is None else show_latency(point.latency_p50_us)
        marks = () if point is None else point.marks
        cells.append(element("td", *_marked(size, "smallest" in marks and "smallest"), class_="figure"))
        cells.append(element("td", *_marked(latency, "fastest" in marks and "fastest"), class_="figure"))
    return element("tr", *cells, class_=None if first.within else "over")


def _marked(figure: str, mark: str | bool) -> tuple[Child, ...]:
    return (figure, element("br"), element("b", mark, class_="mark")) if isinstance(mark, str) else (figure,)


def by_form(frontier: Sequence[FrontierPoint]) -> Sequence[tuple[str, Mapping[Runtime, FrontierPoint]]]:
    """Return the points of each form by runtime, in the order in which the forms were tried."""
    forms: dict[str, dict[Runtime, FrontierPoint]] = {}
    for point in frontier:
        forms.setdefault(point.form, {})[point.runtime] = point
    return list(forms.items())


def certificate_table(manifests: Mapping[str, Manifest]) -> Element:
    """Return what each release of a runtime made of each variant."""
    names = ("rows", "hard rows", "max diff", "worst excess")
    columns = (
        Column("variant", figures=False),
        Column("release", figures=False),
        *map(Column, names),
        Column("verdict", figures=False),
    )
    rows = tuple(_proof_rows(manifests))
    note = (
        "Hard rows are made to go wrong: on the model's thresholds and one float32 step beside them, missing, extreme. "
        "Worst excess: the largest difference as a multiple of what is tolerated of an exact variant; of a smaller "
        "form, which differs by design, it is for information. "
        "Devices are not offered a variant that fails on their release."
    )
    return table("Parity certificate", columns, rows, note)


def _proof_rows(manifests: Mapping[str, Manifest]) -> Iterator[Sequence[Child]]:
    for variant, manifest in manifests.items():
        for proof in manifest.certificate:
            measured = proof.rows > 0
            yield (
                variant,
                f"{proof.package} {proof.version}",
                plain(proof.rows) if measured else NOTHING,
                plain(proof.hard_rows) if measured else NOTHING,
                _difference(proof.max_abs_diff) if measured else NOTHING,
                f"{_few_digits(proof.worst_excess)}×" if measured else NOTHING,
                _verdict(proof, manifest),
            )


def _verdict(proof: Proof, manifest: Manifest) -> Element:
    if proof.reason is not None:
        return element("span", f"✗ {proof.reason}", class_="bad")
    return element("span", "✓ within the budget" if manifest.form else "✓ equal", class_="good")


def libraries_table(record: VersionRecord) -> Element:
    """Return the releases of the libraries that the version was built with."""
    columns = (Column("library", figures=False), Column("release", figures=False))
    return table("Built with", columns, tuple(record.card.libraries.items()))
