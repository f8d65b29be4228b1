"""Builds: an operation that succeeds, fails with the trainer's words, is cancelled, or waits over a restart."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet_server.builds.builder import compile_words
from fleet_server.builds.releases import Releases
from fleet_server.services.operations import BuildRequest
from tests.fakes.builds import Pretend, ask, ended, leftovers, real_box, upload, wait_for, wait_until, working
from tests.fakes.server_app import Served, served
from tests.fakes.server_versions import write_version

pytestmark = pytest.mark.system
COPY = "import os,shutil,sys; out=sys.argv[sys.argv.index('--out')+1]; print('stage one', flush=True); "


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as found:
        yield found


def test_result_is_registered_like_an_upload(fleet: Served) -> None:
    made = write_version(fleet.folder / "made")
    with working(fleet, Pretend(COPY + f"shutil.copytree({str(made)!r}, out)")):
        found = wait_for(fleet, ask(fleet, task="classification")["id"], ended)
    assert (found["state"], found["result"]) == ("succeeded", {"model": "digits", "version": 1})
    assert {"a pretended trainer", "stage one", "packing onnx-fp32"} <= set(found["progress"])
    assert fleet.call("GET", "/models/digits/versions/1")["version"] == 1
    assert leftovers(fleet) == []


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; print('loading'); sys.exit('the column target is missing')", "the column target is missing"),
        ("""print('{"error": "not a skops file"}'); raise SystemExit(1)""", "not a skops file"),
        ("""print('{"error": "no", "hint": "save it as skops"}'); raise SystemExit(1)""", "no; save it as skops"),
        ("print('[' * 100_000); raise SystemExit('too deep to be an answer')", "too deep to be an answer"),
        ("pass", "left no version.json"),
        ("import sys; sys.exit(7)", "status 7"),
    ],
    ids=["last-line", "answer", "hint", "nested", "nothing", "status"],
)
def test_failures_carry_their_reason(fleet: Served, program: str, words: str) -> None:
    with working(fleet, Pretend(program)):
        found = wait_for(fleet, ask(fleet)["id"], ended)
    assert found["state"] == "failed"
    assert words in found["error"]
    assert leftovers(fleet) == []
    assert fleet.call("GET", "/models")["items"] == []


def test_what_the_child_says_cannot_write_to_a_terminal(fleet: Served) -> None:
    with working(fleet, Pretend(r"print('\x1b]0;owned\x07ready', flush=True); raise SystemExit('\x1b[2Jgone')")):
        found = wait_for(fleet, ask(fleet)["id"], ended)
    assert "�]0;owned�ready" in found["progress"]
    assert found["error"] == "�[2Jgone"


def test_a_link_to_the_servers_files_is_not_followed(fleet: Served) -> None:
    """Loaded code may leave anything: a link would bring a key of the server into a bundle that can be fetched."""
    made = write_version(fleet.folder / "made")
    key = next((fleet.folder / "data" / "keys").iterdir())
    links = {
        "symbolic": f"os.symlink({str(key)!r}, out + '/variants/extra')",
        "hard": f"os.link({str(key)!r}, out + '/variants/extra')",
        "pipe": "os.mkfifo(out + '/variants/extra')",
        "folder": f"shutil.move(out, 'else'); os.symlink({str(made)!r}, out)",
    }
    with working(
        fleet, Pretend(COPY + f"shutil.copytree({str(made)!r}, out); exec(sys.argv[sys.argv.index('--target')+1])")
    ):
        for kind, code in links.items():
            found = wait_for(fleet, ask(fleet, target=code)["id"], ended)
            assert found["state"] == "failed", kind
            assert "no plain file" in found["error"], kind


def test_what_resists_deletion_is_deleted(fleet: Served) -> None:
    """Folders nested deeper than Python recurses and than a path is long, and one that is closed to everybody."""
    program = (
        "import os\nos.mkdir('shut'); open('shut/file', 'w').close(); os.chmod('shut', 0)\n"
        "for _ in range(3000): os.mkdir('deep'); os.chdir('deep')\n"
        "raise SystemExit('done')"
    )
    with working(fleet, Pretend(program)):
        found = wait_for(fleet, ask(fleet)["id"], ended)
        assert any(words in found["error"] for words in ("done", "nested folders"))
        assert wait_until(lambda: leftovers(fleet) == [])


def test_what_waited_goes_on_and_what_was_at_work_has_failed_after_a_restart(fleet: Served) -> None:
    first, second = ask(fleet)["id"], ask(fleet)["id"]
    fleet.server.context.operations.begin(first)
    stray = fleet.server.context.operations.folder_of("op-of-an-upload-that-was-cut-off")
    with working(fleet, Pretend("raise SystemExit('reached')")):
        assert "the server stopped" in wait_for(fleet, first, ended)["error"]
        assert "reached" in wait_for(fleet, second, ended)["error"]
    assert not stray.exists()


def test_a_build_that_is_cancelled_while_it_waits_leaves_nothing(fleet: Served) -> None:
    identity = ask(fleet)["id"]
    assert list(leftovers(fleet)[0].iterdir())
    fleet.call("DELETE", f"/operations/{identity}")
    assert leftovers(fleet) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"target": "--out=/etc"},
        {"task": "guessing"},
        {"target": ""},
        {"drop": "--out=/etc"},
        {"want": "speed"},
        {"budget": "nan"},
        {"budget": "-1"},
        {"budget": "101"},
        {"budget": "inf"},
    ],
    ids=str,
)
def test_senseless_builds_are_refused(fleet: Served, fields: dict[str, str]) -> None:
    ask(fleet, 422, **fields)
    assert fleet.call("GET", "/operations")["items"] == []
    assert not (fleet.folder / "data" / "builds").exists()


def test_the_trainer_is_told_all_that_was_asked(tmp_path: Path) -> None:
    asked = BuildRequest(
        "digits",
        "source.skops",
        "data.csv",
        "kind",
        "regression",
        "--force",
        budget=0.5,
        want="size",
        allow_pickle=True,
        drop=("date", "row"),
    )
    told = compile_words(asked, tmp_path)
    assert told == [
        *("compile", f"{tmp_path}/source.skops", "--data", f"{tmp_path}/data.csv", "--target", "kind"),
        *(
            "--name",
            "digits",
            "--drop",
            "date",
            "--drop",
            "row",
            "--task",
            "regression",
            "--budget",
            "0.5",
            "--want",
            "size",
        ),
        *("--description=--force", "--allow-pickle", "--out", f"{tmp_path}/out", "--json"),
    ]
    plain = compile_words(BuildRequest("digits", "source.onnx", "data.npz", "kind"), tmp_path)
    assert not {"--task", "--budget", "--want", "--drop", "--allow-pickle"} & set(plain)


def test_the_wishes_of_a_request_reach_the_trainer(fleet: Served) -> None:
    with working(fleet, Pretend("import sys; raise SystemExit(' '.join(sys.argv[5:]))")):
        found = wait_for(
            fleet, ask(fleet, budget="0.25", want="latency", drop="date", description="a line")["id"], ended
        )
    for words in ("--budget 0.25", "--want latency", "--drop date", "--description=a line"):
        assert words in found["error"]


def fitted_on_wine() -> tuple[bytes, bytes]:
    """A fitted estimator as skops, and rows that it was not fitted on as CSV."""
    from sklearn.datasets import load_wine
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from skops.io import dumps

    x, y = load_wine(return_X_y=True)
    names = [f"f{number}" for number in range(x.shape[1])]
    estimator = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x[::2], y[::2])
    rows = "\n".join(",".join(map(str, [*row, label])) for row, label in zip(x[1::2], y[1::2], strict=True))
    return dumps(estimator), (",".join([*names, "target"]) + "\n" + rows + "\n").encode()


def test_a_build_is_proven_on_the_release_that_a_device_reports(
    fleet: Served, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pytestconfig.cache is not None
    folder = Path(str(pytestconfig.cache.mkdir("runtimes")))
    monkeypatch.setenv("EDGELOOP_RUNTIMES", str(folder))
    subprocess.run([sys.executable, "-m", "trainer", "runtimes", "add", "onnxruntime==1.20.1"], check=True)
    releases = Releases(folder, lambda: [("onnx", "1.20.1"), ("onnx", "1.19.0")])
    source, rows = fitted_on_wine()
    box = replace(real_box(fleet.folder / "data"), shown=(folder,))
    with working(fleet, box, releases, timeout_s=240):
        found: Any = wait_for(fleet, upload(fleet, "wine.skops", source, rows)["id"], ended, 240)
    assert found["state"] == "succeeded", found
    assert any("trainer runtimes add onnxruntime==1.19.0" in line for line in found["progress"])
    variants = fleet.call("GET", "/models/digits/versions/1/variants")["items"]
    (proven,) = (item["certificate"] for item in variants if item["variant"] == "onnx-fp32")
    assert [item["version"] for item in proven][1:] == ["1.20.1"]
    assert all("reason" not in item and item["hard_rows"] > 0 for item in proven)


def test_real_trainer_builds_a_logistic_regression(fleet: Served) -> None:
    source, rows = fitted_on_wine()
    with working(fleet, real_box(fleet.folder / "data"), timeout_s=240):
        made = upload(fleet, "wine.skops", source, rows)
        found: Any = wait_for(fleet, made["id"], ended, 240)
    assert found["state"] == "succeeded", found
    assert len(found["progress"]) > 5, "the trainer's stages are the operation's progress"
    variants = fleet.call("GET", "/models/digits/versions/1/variants")["items"]
    assert any(item["built"] and item["parity"]["label_agreement"] >= 0.99 for item in variants)
