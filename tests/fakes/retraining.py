"""A server with a model in the field, a pipeline and labelled rows; and a trainer that says what a test wants it to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_agent.contract import codec
from edge_agent.contract.card import DataFingerprint
from edge_agent.contract.feedback import FeedbackRows, LabelledRow
from edge_agent.contract.retraining import Comparison, GateTerms, RetrainVerdict
from fleet_server.core.drift_findings import Cause, DriftAlert
from fleet_server.store.feedback import save_feedback
from tests.fakes.builds import Pretend, wait_until, working
from tests.fakes.server_app import Board, Served
from tests.fakes.server_versions import FEATURES, write_version

RECIPE = b"""
model = "digits"
task = "classification"
data = { csv = "rows.csv", target = "kind" }
steps = [{ estimator = "sklearn.linear_model.LogisticRegression" }]
"""
OPTIONS: Mapping[str, Any] = {
    "group": "brave",
    "min_fresh_rows": 60,
    "cool_down_s": 3600,
    "policy": {"phases": ["50%", "100%"]},
}
LAST = "retraining:"
# It stands for `trainer retrain`: a verdict, and where it is won a version whose card says what it was told to say.
_PROGRAM = """
import json, os, shutil, sys
words = sys.argv[1:]
out = words[words.index("--out") + 1]
lineage = dict(words[i + 1].split("=", 1) for i, word in enumerate(words) if word == "--lineage")
verdict = json.loads({verdict!r})
os.makedirs(out)
with open(os.path.join(out, "verdict.json"), "w") as file: json.dump(verdict, file)
if not verdict["won"]: raise SystemExit("lost")
place = os.path.join(out, "version")
shutil.copytree({version!r}, place)
path = os.path.join(place, "version.json")
record = json.load(open(path))
record["card"]["lineage"] = lineage
json.dump(record, open(path, "w"))
"""


def finding(model: str = "digits", version: int = 1) -> DriftAlert:
    """What the monitor tells of a model."""
    sentence = "a moved by about 0.5 σ on 2 of 2 devices since noon"
    return DriftAlert(model, version, None, "drift", Cause.INPUTS, sentence, {"feature": "a"})


def verdict(*, won: bool, model: str = "digits") -> RetrainVerdict:
    """A verdict as the trainer writes it."""
    newest = Comparison(90, 0.7, 0.9 if won else 0.7, 0.2 if won else 0.0, 0.1 if won else -0.05, 3)
    data = DataFingerprint("rows", "a" * 64, 300, 3)
    reason = "on the 90 newest rows it gains +20.00 points" if won else "and +1.00 points are asked"
    backtest = Comparison(75, 0.9, 0.9, 0.0, -0.02, 1)
    terms = GateTerms()
    return RetrainVerdict(
        model, won, reason, "accuracy", terms, newest, backtest, data, data, 400, "b" * 64, "onnx-fp32", newest
    )


def trainer(folder: Path, *, won: bool, content: bytes = b"two") -> Pretend:
    """A trainer that comes to this verdict."""
    place = write_version(folder / f"made-{content.decode()}", "digits", content)
    said = codec.encode(verdict(won=won)).decode()
    return Pretend(_PROGRAM.format(verdict=said, version=str(place)))


def in_the_field(fleet: Served, rows: int = 90) -> list[Board]:
    """Two boards of the group `brave` that run version 1, with labelled rows of theirs."""
    fleet.upload("v1", b"one")
    boards = [fleet.enrol(f"pi-{number}") for number in (1, 2)]
    fleet.call("POST", "/groups", 201, json={"name": "brave", "accept_auto": True})
    fleet.roll(1, group="brave", phases=["100%"])
    for board in boards:
        board.succeed()
    for board in boards:
        send_rows(fleet, board, rows // 2)
    fleet.turn()
    return boards


def send_rows(fleet: Served, board: Board, count: int, number: int = 1) -> None:
    """Have a board send labelled rows of the model."""
    rows = tuple(LabelledRow((float(index), 1.0, None), index % 2, 0) for index in range(count))
    digest = board.running[0].digest
    message = FeedbackRows(board.id, 1, number, "digits", 1, digest, fleet.clock(), rows, FEATURES)
    with fleet.server.context.retraining.proposals._database.write() as connection:
        save_feedback(connection, message, fleet.clock())


def set_pipeline(fleet: Served, expected: int = 200, recipe: bytes = RECIPE, **options: Any) -> Any:
    """Register the pipeline of digits."""
    files = [("recipe", ("daily.toml", recipe)), ("data", ("rows.csv", b"a,b,c,kind\n1,2,3,0\n"))]
    body = {"options": json.dumps({**OPTIONS, **options})}
    return fleet.call("PUT", "/models/digits/pipeline", expected, files=files, data=body)


def find(fleet: Served, found: DriftAlert | None = None) -> None:
    """Have the monitor tell of something."""
    proposals = fleet.server.context.retraining.proposals
    with proposals._database.write() as connection:
        proposals.consider(connection, found or finding())


def newest(fleet: Served) -> Any:
    """The newest proposal."""
    return fleet.call("GET", "/proposals")["items"][0]


def train(fleet: Served, box: Pretend, until: str) -> Any:
    """Let the builder work, and the server turn, until the newest proposal has come to a state."""
    with working(fleet, box):

        def there() -> bool:
            fleet.turn()
            return bool(newest(fleet)["state"] == until)

        assert wait_until(there), newest(fleet)
    return newest(fleet)
