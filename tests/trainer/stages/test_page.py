"""The report's page: everything is on it, nothing runs or is fetched, and nobody's name is markup."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.contract.card import Budget, Want
from edge_agent.contract.manifest import Runtime, Task
from tests.fakes.trainer_versions import FORMS, manifests, point, record
from trainer.stages.page import page

HOSTILE = (
    "</style></title><script src=\"http://x.example/a.js\">alert('1')</script><img src=x onerror=alert(1)> \x00&lt;"
)


def parsed(text: str) -> ET.Element:
    """The page as XML; a browser reads the same tree."""
    return ET.fromstring(text)


def texts(root: ET.Element) -> str:
    return " ".join("".join(root.itertext()).split())


def rows(root: ET.Element, caption: str) -> Iterator[list[str]]:
    """The rows of the table of that name, as text."""
    for table in root.iter("table"):
        if table.findtext("caption") == caption:
            for row in table.iter("tr"):
                yield [" ".join(" ".join(cell.itertext()).split()) for cell in row]


class Balance(HTMLParser):
    """Reads a page as a browser's tokenizer does, and notes elements and whether each is closed where it must be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.crossed: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self.open.pop() != tag:
            self.crossed.append(tag)


def read_as_html(text: str) -> Balance:
    reader = Balance()
    reader.feed(text)
    reader.close()
    return reader


@pytest.mark.parametrize("name", ["made", HOSTILE])
def test_nothing_runs_and_nothing_is_fetched(name: str) -> None:
    version = record(name=name)
    reader = read_as_html(page(version, manifests(version, name=name)))
    assert reader.open == []
    assert reader.crossed == []
    assert not {tag for tag, _ in reader.seen} & {
        "script",
        "img",
        "link",
        "iframe",
        "object",
        "embed",
        "a",
        "use",
        "base",
    }
    names = {key for _, attributes in reader.seen for key in attributes}
    assert not {key for key in names if key.startswith("on") or key in ("src", "href", "srcset", "action", "data")}
    (policy,) = [item["content"] for tag, item in reader.seen if item.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")
    style = parsed(page(version, manifests(version))).findtext("head/style") or ""
    assert not re.search(r"url\(|@import|[<>&]", style)


def test_a_name_is_text_wherever_it_stands() -> None:
    version = record(name=HOSTILE)
    root = parsed(page(version, manifests(version, name=HOSTILE)))
    shown = HOSTILE.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    # As estimator twice, as description, as data twice, in advice, a reason, a form, a proof and a lineage.
    assert texts(root).count(shown) == 10


@settings(max_examples=30)
@given(name=st.text(min_size=1))
def test_any_name_makes_a_page(name: str) -> None:
    version = record(name=name)
    parsed(page(version, manifests(version, name=name)).encode())


def test_every_variant_is_there_with_its_figures_or_its_reason() -> None:
    version = record()
    root = parsed(page(version, manifests(version)))
    head, *body = rows(root, "Variants")
    assert head[:4] == ["variant", "accuracy", "agreement", "size kB"]
    named = {row[0]: dict(zip(head, row, strict=False)) for row in body}
    assert list(named) == [
        "onnx-fp32",
        "tflite-fp32",
        "numpy-fp32 weights in 8 bits: made",
        "onnx-int8",
        "estimator as it was fitted",
    ]
    tflite = named["tflite-fp32"]
    assert (tflite["size kB"], tflite["xz kB"], tflite["p50 µs"], tflite["p99 µs"]) == ("500", "60.0", "30.0", "100")
    assert (tflite["batch µs/row"], tflite["load ms"]) == ("1.50", "3.0")
    assert (tflite["peak MiB"], tflite["steady MiB"], tflite["max diff"]) == ("40.0", "20.0", "1.0e-06")
    assert named["onnx-int8"]["accuracy"] == "not built: nothing to gain: made"
    assert named["estimator as it was fitted"]["p50 µs"] == "12,000"


def test_what_was_not_measured_is_a_dash_and_not_a_nought() -> None:
    version = record()
    items = manifests(version)
    cost = replace(items["onnx-fp32"].cost, batch_us=0.0, memory_peak_mb=0.0, latency_p50_us=0.0, latency_p99_us=0.0)
    root = parsed(page(version, {**items, "onnx-fp32": replace(items["onnx-fp32"], cost=cost)}))
    head, onnx, *_ = rows(root, "Variants")
    told = dict(zip(head, onnx, strict=True))
    assert {told[name] for name in ("p50 µs", "p99 µs", "batch µs/row", "peak MiB")} == {"–"}
    bars = [text.text for text in root.iter("text") if text.get("class") == "bar-name"]
    assert bars == ["tflite-fp32", "numpy-fp32", "estimator"]


def test_every_form_is_in_the_table_and_in_the_plot() -> None:
    version = record()
    root = parsed(page(version, manifests(version)))
    body = list(rows(root, "Forms that were tried"))[2:]
    assert [row[0].split()[0] for row in body] == list(FORMS)
    assert body[2][:6] == [
        "cut25 the first 25 % of its trees",
        "0.9710",
        "\N{MINUS SIGN}0.10 ± 0.30",
        "✓ yes",
        "250 smallest",
        "20.0 fastest",
    ]
    assert body[0][2] == "+0.00 ± 0.30"
    assert body[3][2:6] == ["+14.90 ± 0.30", "no", "30.0", "–"]
    for drawing in ("for-wide", "for-narrow"):
        (svg,) = (item.find("svg") for item in root.iter("div") if item.get("class") == drawing)
        assert svg is not None
        titles = [group.findtext("title") or "" for group in svg.findall("g")]
        assert {tuple(title.split(":")[0].split()) for title in titles} == {(r, f) for r in Runtime for f in FORMS}
        assert {group.get("class", "").split()[-1] for group in svg.findall("g")} == {"filled", "hollow"}
        words = [text.text for text in svg.findall("text")]
        assert words.count("cut25: smallest, fastest") == len(Runtime)
        assert {"as fitted", "budget"} <= set(words)


def test_the_frontier_joins_the_best_of_a_runtime() -> None:
    version = record()
    root = parsed(page(version, manifests(version)))
    (svg,) = (item.find("svg") for item in root.iter("div") if item.get("class") == "for-wide")
    assert svg is not None
    fronts = [path for path in svg.findall("path") if "front" in path.get("class", "")]
    # pruned3 and cut25: every other form is larger than cut25 and scores no better.
    assert [path.get("d", "").count("H") for path in fronts] == [1, 1, 1]


def axis_titles(text: str) -> list[str | None]:
    return [item.text for item in parsed(text).iter("text") if item.get("class") == "axis-title"]


@pytest.mark.parametrize(
    ("metric", "task", "title"),
    [
        ("accuracy", Task.CLASSIFICATION, "accuracy"),
        ("log_loss", Task.CLASSIFICATION, "loss, points"),
        ("r2", Task.REGRESSION, "R²"),
        ("mae", Task.REGRESSION, "loss, % of R²"),
    ],
)
def test_a_score_that_the_budget_does_not_bound_is_not_drawn_against_it(metric: str, task: Task, title: str) -> None:
    version = record(metric, task=task)
    text = page(version, manifests(version, metric=metric))
    assert title in axis_titles(text)
    agreement = "agreement" in next(iter(rows(parsed(text), "Variants")))
    assert agreement == (task is Task.CLASSIFICATION)


def level(text: str, name: str) -> float:
    rules = [item for item in parsed(text).iter("line") if item.get("class") == f"level {name}"]
    return float(rules[0].get("y1", ""))


def test_levels_count_from_the_estimator_where_the_exact_form_lost_a_tie() -> None:
    version = record()
    tied = [replace(item, score=0.968, loss=0.2) if item.form == "fp32" else item for item in version.frontier]
    other = replace(version, frontier=tuple(tied))
    for name in ("exact", "budget"):
        assert level(page(other, manifests(other)), name) == level(page(version, manifests(version)), name)


def test_a_form_far_over_the_budget_stands_at_the_edge_with_an_arrow() -> None:
    version = record()
    text = page(version, manifests(version))
    assert "What loses more than 5 points stands at the lower edge" in texts(parsed(text))
    arrows = [item for item in parsed(text).iter("path") if item.get("class") == "beyond"]
    assert len(arrows) == 2 * len(Runtime)
    wider = replace(version, budget=Budget(2.0))
    assert "lower edge" not in page(wider, manifests(wider))


def test_a_model_of_which_nothing_can_be_left_out_has_its_variants_plotted() -> None:
    version = replace(record("r2", task=Task.REGRESSION), frontier=(), advice=())
    root = parsed(page(version, manifests(version, metric="r2")))
    assert "None was searched" in texts(root)
    assert "Size against score" not in texts(root)
    assert list(rows(root, "Forms that were tried")) == []
    assert {"onnx-fp32", "tflite-fp32", "numpy-fp32"} <= {item.text for item in root.iter("text")}


def test_a_model_without_targets_has_no_score_of_its_own() -> None:
    version = record()
    version = replace(version, card=replace(version.card, metrics={}, gates=()))
    root = parsed(page(version, manifests(version)))
    assert list(rows(root, "Metrics of the estimator on the held-out rows")) == []
    assert "accuracy of the estimator" not in texts(root)
    assert "rows to compare on" in texts(root)


@pytest.mark.parametrize(("want", "words"), [(Want.SIZE, "the smallest form"), (Want.LATENCY, "the fastest form")])
def test_the_budget_is_told_in_words(want: Want, words: str) -> None:
    version = replace(record(), budget=Budget(1.5, want))
    told = texts(parsed(page(version, manifests(version))))
    assert f"1.5 points of accuracy may be lost; wanted of each runtime: {words}" in told


def test_the_certificate_names_every_release_with_its_verdict() -> None:
    version = record()
    root = parsed(page(version, manifests(version)))
    _, *body = rows(root, "Parity certificate")
    assert [(row[0], row[1], row[-1]) for row in body] == [
        ("onnx-fp32", "onnx 1.0", "✓ equal"),
        ("onnx-fp32", "onnxruntime 1.27.0", "✗ scores differ: made"),
        ("tflite-fp32", "tflite 1.0", "✓ equal"),
        ("numpy-fp32", "numpy 1.0", "✓ within the budget"),
    ]
    assert body[0][2:6] == ["500", "200", "1.0e-06", "0.01×"]
    assert body[1][2:6] == ["–", "–", "–", "–"]
    assert "3 of 4" in texts(root)


def test_tables_and_plots_can_be_read_aloud() -> None:
    version = record()
    root = parsed(page(version, manifests(version)))
    for table in root.iter("table"):
        assert table.findtext("caption")
        assert all(cell.get("scope") for cell in table.iter("th"))
        assert all(row.find("th") is not None for row in table.findall("tbody/tr"))
    for svg in root.iter("svg"):
        if svg.get("aria-hidden") is None:
            assert svg.get("role") == "img"
            assert svg.findtext("title")
            assert svg.findtext("desc")
    assert root.get("lang") == "en"


def test_the_page_of_a_large_search_is_small() -> None:
    version = record()
    many = tuple(
        replace(point(runtime, form), form=f"{form}-{n}") for runtime in Runtime for form in FORMS for n in range(6)
    )
    version = replace(version, frontier=(*version.frontier, *many))
    assert len(page(version, manifests(version)).encode()) < 100_000
