"""A model that was fitted elsewhere and the rows to judge it by: made to fit each other, or refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_agent.contract.card import Budget, SourceKind, Want
from edge_agent.contract.manifest import ScoreKind, Task
from trainer.core.arrays import as_singles
from trainer.core.parity import default_budget
from trainer.core.table import Table
from trainer.errors import ConfigurationError, UsageError
from trainer.stages.fit import prepare_target
from trainer.stages.onnx_source import accept, judge_output
from trainer.stages.source import Source, estimator_source, onnx_source
from trainer.stages.sources import load_estimator


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """A model that was fitted elsewhere, and rows to judge it by."""

    model: Path
    data: Path
    name: str
    target: str | None = None
    task: Task | None = None
    output: str | None = None
    drop: tuple[str, ...] = ()
    description: str = ""
    allow_pickle: bool = False
    loss: float | None = None
    want: Want = Want.BOTH

    @classmethod
    def of(cls, model: Path, data: Path, name: str, options: Mapping[str, Any]) -> "CompileRequest":
        """Return the request that a command's options make."""
        given = dict(options)
        task, loss, want = given.pop("task"), given.pop("budget"), Want(given.pop("want"))
        return cls(model, data, name, task=None if task is None else Task(task), loss=loss, want=want, **given)

    def budget(self, kind: ScoreKind) -> Budget:
        """Return what may be lost of such scores.

        Raises:
            UsageError: it is no budget.
        """
        try:
            return replace(default_budget(kind), want=self.want, **({} if self.loss is None else {"loss": self.loss}))
        except ValueError as error:
            raise UsageError(str(error), "give a number such as --budget 0.5") from error


def load_source(request: CompileRequest, table: Table) -> tuple[Source, Table]:
    """Load a model and return it as a source, with the rows as it takes them.

    Raises:
        TrainerError: the model is refused, or the rows do not fit it.
    """
    if request.model.suffix == ".onnx":
        if request.task is None:
            raise UsageError("an ONNX graph does not say what it does", "add --task classification (or another)")
        if not request.model.is_file():
            raise UsageError(f"there is no model file {request.model}")
        table = _targeted(request.task, table)
        return from_onnx(request.model.read_bytes(), request.task, table, request.output, SourceKind.ONNX), table
    estimator, kind = load_estimator(request.model, allow_pickle=request.allow_pickle)
    table = _in_order(table, getattr(estimator, "feature_names_in_", None))
    if estimator.n_features_in_ != len(table.columns):
        raise ConfigurationError(
            f"the model takes {estimator.n_features_in_} features, the data have {len(table.columns)} columns",
            "name the target with --target, and columns that are no features with --drop",
        )
    source = estimator_source(estimator, kind)
    if request.task not in (None, source.task):
        raise UsageError(f"--task says {request.task}, the model does {source.task}")
    return source, _targeted(source.task, table)


def _targeted(task: Task, table: Table) -> Table:
    return table if table.target is None else prepare_target(task, (), table)


def _in_order(table: Table, names: Sequence[str] | None) -> Table:
    """Return the table with its columns in the order in which the estimator was fitted, where it remembers names."""
    if names is None or list(names) == list(table.columns):
        return table
    if missing := [str(name) for name in names if name not in table.columns]:
        raise ConfigurationError(f"the data lack the column {missing[0]!r} that the model was fitted with")
    order = [table.columns.index(name) for name in names]
    return Table(table.name, tuple(map(str, names)), table.x[:, order], table.target)


def from_onnx(data: bytes, task: Task, rows: Table, wanted: str | None, kind: SourceKind = SourceKind.RECIPE) -> Source:
    """Return an ONNX model as a source; what its scores are is judged from its answers on the rows.

    Raises:
        RejectedError: it is unsafe to run, or unclear in its input or scores.
    """
    accepted = accept(data, len(rows.columns), wanted)
    if task is Task.REGRESSION:
        output = judge_output(task, accepted, rows.x[:0], None)
    else:
        guess = judge_output(Task.REGRESSION, accepted, rows.x[:0], None)
        scores = onnx_source(accepted.data, task, guess, accepted.columns, trees=False, kind=kind).score(
            as_singles(rows.x)
        )
        output = judge_output(task, accepted, scores, rows.target)
    return onnx_source(accepted.data, task, output, accepted.columns, trees=accepted.trees, kind=kind)
