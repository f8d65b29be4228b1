"""The report of a version as one page that needs nothing else: no script, no font, no network.

House rules: the page follows from the record and the manifests alone, so it can be written anew from a version folder.
Names in it are users' own; every piece of text is escaped where elements become text, and the page's own policy lets a
browser fetch and run nothing, should that ever fail.
"""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

from edge_agent.contract import codec
from edge_agent.contract.card import VersionRecord, Want
from edge_agent.contract.manifest import MANIFEST_NAME, Manifest, Task, bundle_digest, parse_manifest
from trainer.core.markup import Child, Element, element, write_document
from trainer.core.parity import describe_budget
from trainer.errors import UsageError
from trainer.stages.pack import VARIANTS_NAME
from trainer.stages.page_figures import cost_figures, frontier_figure
from trainer.stages.page_tables import (
    certificate_table,
    forms_table,
    libraries_table,
    metric_name,
    metrics_table,
    show_latency,
    show_ratio,
    show_size,
    variants_table,
)

PAGE_NAME = "report.html"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_WANTED = {
    Want.SIZE: "the smallest",
    Want.LATENCY: "the fastest",
    Want.BOTH: "the smallest and the fastest",
}


def write_page(path: Path, record: VersionRecord, manifests: Mapping[str, Manifest]) -> None:
    """Write the page of a version into a file.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        path.write_text(page(record, manifests), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "choose another file with --out") from error


def read_manifests(folder: Path, record: VersionRecord) -> dict[str, Manifest]:
    """Read the manifests of all variants that a version folder has.

    Raises:
        UsageError: one is missing, altered or malformed, or there is none.
    """
    found = {}
    for entry in record.variants:
        if entry.digest is None:
            continue
        path = folder / VARIANTS_NAME / entry.variant / MANIFEST_NAME
        try:
            data = path.read_bytes()
            found[entry.variant] = parse_manifest(data)
        except (OSError, codec.MalformedError) as error:
            raise UsageError(f"{path} cannot be read: {error}") from error
        if bundle_digest(data) != entry.digest:
            raise UsageError(f"{path} was altered: its digest is not what the record says", "build the version again")
    if not found:
        raise UsageError(f"{folder} holds no variant that was built")
    return found


def page(record: VersionRecord, manifests: Mapping[str, Manifest]) -> str:
    """Return the page of a version, which has at least one variant."""
    card = record.card
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{card.model} – compile report"),
        element("style", (files("trainer.stages") / "page.css").read_text(encoding="utf-8")),
    )
    main = element(
        "main",
        _summary(record, manifests),
        _section(
            "Variants",
            variants_table(record, manifests),
            element("div", *cost_figures(record, manifests), class_="pair"),
        ),
        _section("Smaller forms", *_forms(record, manifests)),
        _section("Proof", certificate_table(manifests)),
        _section("The model", element("div", *_lists(record), class_="pair"), _facts(record)),
    )
    return write_document(element("html", head, element("body", _header(record), main), lang="en"))


def _section(name: str, *content: Child) -> Element:
    return element("section", element("h2", name), *content)


def _header(record: VersionRecord) -> Element:
    card = record.card
    return element(
        "header",
        element("p", "Compile report", class_="eyebrow"),
        element("h1", card.model),
        element("p", f"{card.estimator}, {card.task}", class_="lead"),
        element("p", card.description, class_="description") if card.description else None,
        element("p", _origin(record), class_="origin"),
    )


def _origin(record: VersionRecord) -> str:
    """Return what it was made of and when, in a line."""
    card = record.card
    return f"{card.data.name} ({card.data.sha256[:12]}…): {_rows(record)} · built {_created(record)}"


def _rows(record: VersionRecord) -> str:
    card = record.card
    # Of a model that was fitted elsewhere, the same rows describe its input and judge it.
    if card.train_rows + card.heldout_rows > card.data.rows:
        return f"{card.heldout_rows:,} rows, all to judge it"
    return f"{card.train_rows:,} rows to train on, {card.heldout_rows:,} held out"


def _created(record: VersionRecord) -> str:
    return record.card.created.replace("T", " ").replace("+00:00", " UTC")


def _summary(record: VersionRecord, manifests: Mapping[str, Manifest]) -> Element:
    advice = (element("li", sentence) for sentence in record.advice)
    told = element("div", element("h3", "A much smaller model would do"), element("ul", *advice), class_="advice")
    return element(
        "section",
        element("h2", "In short", class_="unseen"),
        element("div", *_tiles(record, manifests), class_="tiles"),
        told if record.advice else None,
    )


def _tiles(record: VersionRecord, manifests: Mapping[str, Manifest]) -> Iterator[Element]:
    card, items = record.card, tuple(manifests.values())
    first, source = items[0].parity, card.estimator_latency_p50_us
    smallest = min(items, key=lambda item: item.cost.size)
    if card.metrics:
        told = f"on {first.rows:,} held-out rows"
        yield _tile(f"{metric_name(first.metric)} of the estimator", f"{first.source_score:.4f}", told)
    else:
        yield _tile(
            "rows to compare on", f"{first.rows:,}", "without a target: the estimator's answers are the measure"
        )
    packed = f"{smallest.variant}, {show_size(smallest.cost.packed_size)} kB on the way"
    yield _tile("smallest variant", f"{show_size(smallest.cost.size)} kB", packed)
    timed = [item for item in items if item.cost.latency_p50_us > 0]
    if timed:
        fastest = min(timed, key=lambda item: item.cost.latency_p50_us)
        latency = fastest.cost.latency_p50_us
        gain = f", {show_ratio(source / latency)} as fast as the estimator" if source > 0 else ""
        yield _tile("fastest variant", f"{show_latency(latency)} µs", f"{fastest.variant}{gain}")
    proofs = [proof for item in items for proof in item.certificate]
    if proofs:
        passed = sum(proof.reason is None for proof in proofs)
        releases = len({(proof.package, proof.version) for proof in proofs})
        rows = max(proof.rows + proof.hard_rows for proof in proofs)
        of = "1 release" if releases == 1 else f"{releases} releases"
        words = f"{len(items)} variants, {of} of runtimes, {rows:,} rows each"
        yield _tile("proofs passed", f"{passed} of {len(proofs)}", words)


def _tile(name: str, value: str, note: str) -> Element:
    told = (element("span", name, class_="name"), element("span", value, class_="value"))
    return element("p", *told, element("span", note, class_="note"), class_="tile")


def _forms(record: VersionRecord, manifests: Mapping[str, Manifest]) -> Iterator[Element]:
    yield element("p", _budget(record, manifests), class_="lead")
    if record.frontier:
        yield frontier_figure(record, manifests)
        yield forms_table(record)


def _budget(record: VersionRecord, manifests: Mapping[str, Manifest]) -> str:
    """Return what was asked for, in words."""
    if not record.frontier:
        return "None was searched: of this model no smaller form is known that would be worth it."
    if record.budget is None:
        return "No budget was stated."
    kind = next(iter(manifests.values())).output.kind
    judge = " (agreement with the estimator)" if record.card.task in (Task.CLUSTERING, Task.ANOMALY) else ""
    asked = f"{describe_budget(kind, record.budget)}{judge} may be lost"
    return f"{asked}; wanted of each runtime: {_WANTED[record.budget.want]} form."


def _lists(record: VersionRecord) -> Iterator[Element]:
    if record.card.metrics:
        yield metrics_table(record)
    yield libraries_table(record)


def _facts(record: VersionRecord) -> Element:
    card = record.card
    facts: list[tuple[str, Child]] = [
        ("created", element("time", _created(record), datetime=card.created)),
        ("estimator", card.estimator),
        ("source", card.source),
        ("data", f"{card.data.name}: {card.data.rows:,} rows, {card.data.features:,} features"),
        ("SHA-256 of the data", element("code", card.data.sha256)),
        ("use of the rows", _rows(record)),
        ("seed", str(card.seed)),
        *card.lineage.items(),
    ]
    pairs = (element("div", element("dt", name), element("dd", value)) for name, value in facts)
    return element("dl", *pairs)
