"""Builds: an operation that succeeds, fails with the trainer's words, is cancelled, or meets its limits."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleet_server.builds.builder import Builder
from fleet_server.builds.sandbox import Limits, Sandbox, choose_sandbox
from tests.fakes.server_app import Served, served
from tests.fakes.server_versions import write_version

pytestmark = pytest.mark.system


@dataclass(frozen=True)
class Pretend:
    """A box in which a given program stands for the trainer; the limits are the real ones."""

    program: str
    notice: str = "a pretended trainer"

    def wrap(self, command: list[str], folder: Path, limits: Limits) -> list[str]:
        return Sandbox(None, "").wrap([sys.executable, "-c", self.program, *command[3:]], folder, limits)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as found:
        yield found


def working(fleet: Served, box: Any, **limits: Any) -> Builder:
    context = fleet.server.context
    builder = Builder(
        context.operations, context.models, box, Limits(**({"memory_mb": 4096, "timeout_s": 60} | limits))
    )
    builder.start()
    return builder


def ask(fleet: Served, expected: int = 202, **fields: str) -> Any:
    files = [("source", ("model.skops", b"not a model")), ("data", ("rows.csv", b"a,b,target\n1,2,0\n"))]
    return fleet.call("POST", "/models/digits/builds", expected, files=files, data={"target": "target"} | fields)


def wait_for(fleet: Served, identity: str, done: Callable[[Any], bool], deadline_s: float = 90.0) -> Any:
    operations, end = fleet.server.context.operations, time.monotonic() + deadline_s
    while time.monotonic() < end:
        found = fleet.call("GET", f"/operations/{identity}")
        if done(found):
            return found
        with operations.changed:
            operations.changed.wait(0.2)
    raise AssertionError(found)


def ended(found: Any) -> bool:
    return found["state"] not in ("queued", "running")


def leftovers(fleet: Served) -> list[Path]:
    return list((fleet.folder / "data" / "builds").iterdir())


def test_result_is_registered_like_an_upload(fleet: Served) -> None:
    made = write_version(fleet.folder / "made")
    program = (
        "import shutil,sys; out=sys.argv[sys.argv.index('--out')+1]; print('stage one', flush=True);"
        f"shutil.copytree({str(made)!r}, out)"
    )
    builder = working(fleet, Pretend(program))
    try:
        found = wait_for(fleet, ask(fleet, task="classification")["id"], ended)
    finally:
        builder.stop()
    assert (found["state"], found["result"]) == ("succeeded", {"model": "digits", "version": 1})
    assert {"a pretended trainer", "stage one", "packing onnx-fp32"} <= set(found["progress"])
    assert fleet.call("GET", "/models/digits/versions/1")["version"] == 1
    assert leftovers(fleet) == []


def test_cancelled_build_is_killed(fleet: Served) -> None:
    builder = working(fleet, Pretend("import threading; print('at work', flush=True); threading.Event().wait()"))
    try:
        identity = ask(fleet)["id"]
        wait_for(fleet, identity, lambda found: "at work" in found["progress"])
        assert fleet.call("DELETE", f"/operations/{identity}")["state"] == "cancelled"
        fleet.call("DELETE", f"/operations/{identity}", 409)
        end = time.monotonic() + 20
        while leftovers(fleet) and time.monotonic() < end:
            threading.Event().wait(0.05)
        assert leftovers(fleet) == []
    finally:
        builder.stop()
    assert fleet.call("GET", f"/operations/{identity}")["state"] == "cancelled"


@pytest.mark.parametrize(
    ("program", "limits", "words"),
    [
        ("import sys; print('loading'); sys.exit('the column target is missing')", {}, "the column target is missing"),
        ("""print('{"error": "not a skops file"}'); raise SystemExit(1)""", {}, "not a skops file"),
        ("import threading; threading.Event().wait()", {"timeout_s": 1.0}, "more than 1 s"),
        ("bytearray(900 << 20)", {"memory_mb": 300}, "MemoryError"),
        ("while True: pass", {"timeout_s": 1.0}, "more than 1 s"),
        ("import os; os.kill(os.getpid(), 11)", {}, "SIGSEGV"),
        ("pass", {}, "left no version.json"),
    ],
)
def test_failures_carry_their_reason(fleet: Served, program: str, limits: dict[str, Any], words: str) -> None:
    builder = working(fleet, Pretend(program), **limits)
    try:
        found = wait_for(fleet, ask(fleet)["id"], ended)
    finally:
        builder.stop()
    assert found["state"] == "failed"
    assert words in found["error"]
    assert leftovers(fleet) == []
    assert fleet.call("GET", "/models")["items"] == []


def test_what_waited_goes_on_and_what_was_at_work_has_failed_after_a_restart(fleet: Served) -> None:
    first, second = ask(fleet)["id"], ask(fleet)["id"]
    fleet.server.context.operations.begin(first)
    builder = working(fleet, Pretend("raise SystemExit('reached')"))
    try:
        assert "the server stopped" in wait_for(fleet, first, ended)["error"]
        assert "reached" in wait_for(fleet, second, ended)["error"]
    finally:
        builder.stop()


@pytest.mark.parametrize(
    "fields", [{"target": "--out=/etc"}, {"task": "guessing"}, {"target": ""}], ids=["option", "task", "empty"]
)
def test_senseless_builds_are_refused(fleet: Served, fields: dict[str, str]) -> None:
    ask(fleet, 422, **fields)
    assert fleet.call("GET", "/operations")["items"] == []


def test_pickles_are_refused(fleet: Served) -> None:
    files = [("source", ("model.pkl", b"x")), ("data", ("rows.csv", b"x"))]
    answer = fleet.call("POST", "/models/digits/builds", 422, files=files, data={"target": "t"})
    assert "runs code" in answer["detail"]


def test_box_has_no_network_and_sees_no_secret(tmp_path: Path) -> None:
    box = choose_sandbox(tmp_path, required=False)
    if box.bwrap is None:
        pytest.skip(box.notice)
    import subprocess

    secret, folder = tmp_path / "secret", tmp_path / "work"
    secret.write_text("key")
    folder.mkdir()
    program = (
        "import pathlib,socket\n"
        f"print(pathlib.Path({str(secret)!r}).exists(), [n for _, n in socket.if_nameindex() if n != 'lo'])\n"
        "pathlib.Path('mine').write_text('x')\n"
    )
    command = box.wrap([sys.executable, "-c", program], folder, Limits(500, 20))
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False []"
    assert (folder / "mine").read_text() == "x"


def test_real_trainer_builds_a_logistic_regression(fleet: Served) -> None:
    from sklearn.datasets import load_wine
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from skops.io import dumps

    x, y = load_wine(return_X_y=True)
    names = [f"f{number}" for number in range(x.shape[1])]
    estimator = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x[::2], y[::2])
    rows = "\n".join(",".join(map(str, [*row, label])) for row, label in zip(x[1::2], y[1::2], strict=True))
    csv = ",".join([*names, "kind"]) + "\n" + rows + "\n"
    files = [("source", ("wine.skops", dumps(estimator))), ("data", ("rows.csv", csv.encode()))]
    builder = working(fleet, fleet.server.sandbox, timeout_s=240)
    try:
        made = fleet.call("POST", "/models/wine/builds", 202, files=files, data={"target": "kind"})
        found = wait_for(fleet, made["id"], ended, 240)
    finally:
        builder.stop()
    assert found["state"] == "succeeded", found
    variants = fleet.call("GET", "/models/wine/versions/1/variants")["items"]
    assert any(item["built"] and item["parity"]["label_agreement"] >= 0.99 for item in variants)
