"""Searches the smaller forms of a model for those worth building within a budget, and keeps the whole frontier.

House rules: the numpy interpreter answers for a form while it is searched, since it computes the same graph as every
runtime; what is then built is proven on its own runtime like any other variant. Of very many held-out rows some are
enough to search with. Latencies of one runtime are measured in one process, in turn.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.contract.card import Budget, FrontierPoint
from edge_agent.contract.manifest import Precision, Runtime
from edge_agent.kernels.graph import Graph
from edge_agent.kernels.interpreter import Interpreter
from edge_agent.kernels.primitives import Trees
from trainer.core.arrays import Indices, Singles
from trainer.core.frontier import EXACT, loss_error, mark, wanted
from trainer.core.parity import compare, judge_agreement, judge_loss, measure_loss
from trainer.errors import ChildError, UnbuildableError
from trainer.stages.children import measure_many
from trainer.stages.forms import Form, smaller_forms
from trainer.stages.rehearsal import Rehearsal
from trainer.stages.variants import PLANS, SUFFIXES, Plan, Proving, emit, options_of, plan_form

SEARCH_ROWS = 20_000
MANY_NODES = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The frontier of every runtime, and the plans of the forms that are wanted and not asked for anyway."""

    frontier: tuple[FrontierPoint, ...]
    plans: tuple[Plan, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """A form with what it was measured to lose."""

    form: Form
    score: float
    loss: float
    error: float
    within: bool


def search(proving: Proving, graph: Graph, tell: Callable[[str, float], None] = lambda _, __: None) -> Found:
    """Search the forms of the rehearsal's estimator, whose lowered graph is given.

    `tell` is told what is being done, and the share of the search that is done.
    """
    rehearsal = proving.rehearsal.take(_evenly(len(proving.rehearsal.x)))
    source = rehearsal.source
    exact = Form(EXACT, "as it was fitted", Precision.FP32, graph, rounded=False)
    forms = (exact, *smaller_forms(source.estimator, graph, missing=source.missing))
    if len(forms) == 1:
        return Found((), ())
    scored = [_score(form, rehearsal, proving.budget) for form in forms]
    points: list[FrontierPoint] = []
    plans: list[Plan] = []
    known = {plan.variant for plan in PLANS}
    if count_nodes(graph) > MANY_NODES:
        # What is over the budget is there to be looked at, and minutes of a large forest are too much for that.
        scored = [item for item in scored if item.within]
    for index, runtime in enumerate(Runtime):
        tell(f"{len(scored)} forms on {runtime}", (index + 1) / (len(Runtime) + 1))
        marked = mark(_measure(runtime, scored, rehearsal.x))
        points.extend(marked)
        chosen = {point.form for point in wanted(marked, proving.budget)}
        offered = (plan_form(item.form, runtime) for item in scored if item.form.key in chosen)
        plans.extend(plan for plan in offered if plan.variant not in known)
    return Found(tuple(points), tuple(plans))


def count_nodes(graph: Graph) -> int:
    """Return how many nodes all trees of a graph have."""
    return sum(len(node.left) for node in graph.nodes if isinstance(node, Trees))


def _score(form: Form, rehearsal: Rehearsal, budget: Budget) -> _Scored:
    output = rehearsal.source.output
    with np.errstate(all="ignore"):
        answers = Interpreter(form.graph).run(rehearsal.x).astype(np.float64)
    try:
        difference = compare(output, rehearsal.reference, answers, trees=rehearsal.source.trees)
    except ValueError:
        return _Scored(form, float("-inf"), float("inf"), 0.0, within=False)
    score, quality = rehearsal.measure(answers)
    loss = measure_loss(output.kind, quality, rehearsal.quality)
    refused = judge_loss(output.kind, quality, rehearsal.quality, budget)
    if form.rounded:
        refused = refused or judge_agreement(output.kind, difference)
    error = loss_error(output, rehearsal.judged_indices, rehearsal.reference, answers)
    return _Scored(form, score, loss, error, within=form.key == EXACT or refused is None)


def _measure(runtime: Runtime, scored: Sequence[_Scored], x: Singles) -> tuple[FrontierPoint, ...]:
    """Emit every form for a runtime; take the latency of those within the budget, in turn in one process."""
    with tempfile.TemporaryDirectory(prefix="trainer-search-") as name:
        files: dict[str, Path] = {}
        for item in scored:
            try:
                data = emit(item.form.graph, runtime)
            except UnbuildableError:
                continue
            files[item.form.key] = Path(name) / f"{item.form.key}{SUFFIXES[runtime]}"
            files[item.form.key].write_bytes(data)
        timed = [item for item in scored if item.form.key in files and item.within]
        latencies = _latencies(runtime, timed, files, x)
        sizes = {key: path.stat().st_size for key, path in files.items()}
    return tuple(
        FrontierPoint(
            runtime=runtime,
            form=item.form.key,
            words=item.form.words,
            size=sizes[item.form.key],
            latency_p50_us=latencies.get(item.form.key, 0.0),
            score=item.score,
            loss=item.loss,
            loss_error=item.error,
            within=item.within,
        )
        for item in scored
        if item.form.key in sizes and np.isfinite(item.loss)
    )


def _latencies(
    runtime: Runtime, timed: Sequence[_Scored], files: Mapping[str, Path], x: Singles
) -> Mapping[str, float]:
    """Return one row's latency in µs by form; none where the runtime cannot run them here."""
    keys = [item.form.key for item in timed]
    options = [options_of(runtime, item.form.precision) for item in timed]
    try:
        measured = measure_many([files[key] for key in keys], runtime, x, options)
    except ChildError:
        return {}
    return dict(zip(keys, measured, strict=True))


def _evenly(rows: int) -> Indices:
    return np.unique(np.linspace(0, rows - 1, min(rows, SEARCH_ROWS)).astype(np.intp))
