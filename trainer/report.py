"""What a person reads: stages on stderr while a build works, tables on stdout at its end, errors with a way out."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from edge_agent.contract.card import Bound, FrontierPoint, VariantEntry, VersionRecord
from edge_agent.contract.manifest import Manifest, Runtime, ScoreKind, Task
from edge_agent.contract.retraining import RetrainVerdict
from trainer.core.frontier import EXACT, FASTEST, SMALLEST, is_dominated
from trainer.errors import TrainerError

if TYPE_CHECKING:
    # They bring scikit-learn with them, which a list of recipes or an error message does not need.
    from trainer.pipeline import Built
    from trainer.stages.verify import Verdict

_WIDTH = 140


@contextmanager
def stages() -> Iterator[Callable[[str, str, float], None]]:
    """Give a listener that shows each stage on stderr: with a bar on a terminal, one line each elsewhere."""
    console = Console(stderr=True, highlight=False)
    began = time.monotonic()
    if not console.is_terminal:
        yield lambda stage, detail, _: console.print(f"{stage}: {escape(detail)}", soft_wrap=True)
        return
    told = TextColumn("{task.description}")
    columns = (SpinnerColumn(), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), told)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def tell(stage: str, detail: str, share: float) -> None:
            console.print(f"[dim]{time.monotonic() - began:6.1f} s[/dim]  [bold]{stage:<9}[/bold] {escape(detail)}")
            bar.update(task, completed=share, description=f"{stage}: {escape(detail)}")

        yield tell


def print_error(error: TrainerError) -> None:
    """Print what happened, why, and what to do."""
    console = Console(stderr=True, highlight=False)
    console.print(f"[bold red]error:[/bold red] {escape(str(error))}", soft_wrap=True)
    if error.hint:
        console.print(f"[dim]try:[/dim]   {escape(error.hint)}", soft_wrap=True)


def print_verdict(verdict: RetrainVerdict, folder: Path) -> None:
    """Print how a retrained model did against the running one."""
    console = _console()
    table = Table(title=f"{verdict.model}: {verdict.metric} of {verdict.running_variant} and of the retrained model")
    for place, name in enumerate(("rows", "held out", "running", "retrained", "gain", "at least", "blocks of")):
        table.add_column(name, justify="left" if place == 0 else "right")
    compared = {"newest": verdict.newest, "back-test": verdict.backtest, "newest, as built": verdict.built}
    for name, item in compared.items():
        if item is not None:
            figures = f"{item.running:.4f}", f"{item.retrained:.4f}", f"{item.gain:+.4f}", f"{item.lower:+.4f}"
            table.add_row(name, str(item.rows), *figures, str(item.block))
    console.print(table)
    console.print(f"[bold]{'won' if verdict.won else 'lost'}[/bold]: {escape(verdict.reason)}", soft_wrap=True)
    console.print(f"written to {escape(str(folder))}", soft_wrap=True)


def print_built(built: "Built") -> None:
    """Print the tables of a version that was written."""
    # As above: whoever has built something has it imported already.
    from trainer.stages.page import PAGE_NAME

    console = _console()
    card = built.record.card
    for warning in built.warnings:
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}")
    console.print(
        f"[bold]{card.model}[/bold]: {escape(card.estimator)}, {card.task}, {card.train_rows} training rows, "
        f"{card.heldout_rows} held out; one row through the source takes {card.estimator_latency_p50_us:.0f} µs"
    )
    if card.metrics:
        console.print("metrics: " + ", ".join(f"{name} {value:.4f}" for name, value in card.metrics.items()))
    console.print(variants_table(built))
    if built.record.frontier:
        console.print(frontier_table(built.record))
    for sentence in built.record.advice:
        console.print(f"[green]a much smaller model would do:[/green] {escape(sentence)}")
    if card.gates:
        console.print(gates_table(built))
    console.print(f"written to {escape(str(built.folder))}", soft_wrap=True)
    console.print(f"report: {escape(str(built.folder / PAGE_NAME))}", soft_wrap=True)


def variants_table(built: "Built") -> Table:
    """Return the table of all variants that were asked for, those that were not built with the reason."""
    first = next(iter(built.manifests.values()))
    table = Table(title="Variants, proven on the held-out rows", title_justify="left")
    for name in ("variant", "size kB", "xz kB", "agreement", "max diff", "mean diff", "p50 µs", first.parity.metric):
        table.add_column(name, justify="left" if name == "variant" else "right")
    table.add_column("memory MiB", justify="right")
    for entry in built.record.variants:
        if entry.variant in built.manifests:
            table.add_row(*_cells(entry, built.manifests[entry.variant]))
        else:
            table.add_row(entry.variant, "–", "–", "–", "–", "–", "–", "–", "–", style="dim")
    source = f"{first.parity.source_score:.4f}"
    table.add_row("source", "", "", "", "", "", f"{built.record.card.estimator_latency_p50_us:.1f}", source, "")
    reasons = [f"{entry.variant}: {entry.reason}" for entry in built.record.variants if entry.reason]
    table.caption = escape("\n".join(f"not built: {reason}" for reason in reasons)) or None
    table.caption_justify = "left"
    return table


def _cells(entry: VariantEntry, manifest: Manifest) -> Sequence[str]:
    cost, parity = manifest.cost, manifest.parity
    agreement = "" if manifest.output.kind is ScoreKind.VALUE else f"{parity.label_agreement:.4f}"
    return (
        entry.variant,
        f"{cost.size / 1000:.1f}",
        f"{cost.packed_size / 1000:.1f}",
        agreement,
        f"{parity.max_abs_diff:.2e}",
        f"{parity.mean_abs_diff:.2e}",
        f"{cost.latency_p50_us:.1f}",
        f"{parity.score:.4f}",
        f"{manifest.requires.memory_mb:.0f}",
    )


def frontier_table(record: VersionRecord) -> Table:
    """Return the table of what the search found: a line for the exact form and for each that no other beats."""
    kind, budget = ("%", "R²") if record.card.task is Task.REGRESSION else ("points", "accuracy"), record.budget
    asked = "" if budget is None else f": within a loss of {budget.loss:g} {kind[0]} of {kind[1]}"
    table = Table(title=f"Forms that were tried{asked}", title_justify="left")
    runtimes = list(dict.fromkeys(point.runtime for point in record.frontier))
    for name in ("form", "score", f"loss {kind[0]}", "within"):
        table.add_column(name, justify="left" if name in ("form", "within") else "right")
    for runtime in runtimes:
        table.add_column(f"{runtime} kB", justify="right")
        table.add_column("µs", justify="right")
    for form, points in _by_form(record.frontier):
        if form != EXACT and all(is_dominated(point, record.frontier) for point in points.values()):
            continue
        first = next(iter(points.values()))
        loss, within = f"{first.loss:+.2f} ± {first.loss_error:.2f}", "yes" if first.within else "–"
        cells = [form, f"{first.score:.4f}", loss, within]
        for runtime in runtimes:
            cells.extend(_frontier_cells(points.get(runtime)))
        table.add_row(*cells, style=None if first.within else "dim")
    table.caption = "▾ smallest, ⚡ fastest of those within the budget, and a tenth better than fp32; else fp32"
    table.caption_justify = "left"
    return table


def _by_form(frontier: Sequence[FrontierPoint]) -> Sequence[tuple[str, dict[Runtime, FrontierPoint]]]:
    forms: dict[str, dict[Runtime, FrontierPoint]] = {}
    for point in frontier:
        forms.setdefault(point.form, {})[point.runtime] = point
    return list(forms.items())


def _frontier_cells(point: FrontierPoint | None) -> tuple[str, str]:
    if point is None:
        return "–", "–"
    size = f"{point.size / 1000:.1f}" + (" ▾" if SMALLEST in point.marks else "")
    latency = f"{point.latency_p50_us:.1f}" if point.latency_p50_us else "–"
    return size, latency + (" ⚡" if FASTEST in point.marks else "")


def gates_table(built: "Built") -> Table:
    """Return the table of gates, which were all passed."""
    table = Table(title="Gates", title_justify="left")
    for name in ("metric", "value", "bound", "threshold"):
        table.add_column(name, justify="right" if name in ("value", "threshold") else "left")
    for gate in built.record.card.gates:
        bound = "at least" if gate.bound is Bound.AT_LEAST else "at most"
        table.add_row(gate.metric, f"{gate.value:.4f}", bound, f"{gate.threshold:g}")
    return table


def print_verdicts(verdicts: "Sequence[Verdict]") -> None:
    """Print what became of each variant of a version folder."""
    table = Table(title="Verified here", title_justify="left")
    for name in ("variant", "golden rows", "max diff", "runtime", "verdict"):
        table.add_column(name, justify="right" if name in ("golden rows", "max diff") else "left")
    for item in verdicts:
        verdict = "[green]as it was[/green]" if item.problem is None else f"[red]{escape(item.problem)}[/red]"
        table.add_row(item.variant, str(item.rows), f"{item.max_abs_diff:.2e}", item.runtime_version, verdict)
    _console().print(table)


def print_recipes(rows: Sequence[tuple[str, str, str, str]]) -> None:
    """Print (name, model, task, description) of each recipe."""
    table = Table()
    for name in ("recipe", "model", "task", "description"):
        table.add_column(name, no_wrap=name != "description")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    _console().print(table)


def _console() -> Console:
    """Return a console on stdout, wide enough for the tables where no terminal says how wide it is."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
