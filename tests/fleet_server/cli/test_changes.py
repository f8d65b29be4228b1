"""Commands that change something: what they send, what they print, and the exit codes they leave."""

import json
from pathlib import Path

import pytest

from fleet_server.cli import watch
from fleet_server.cli.failures import Exit
from tests.fakes import web_data
from tests.fakes.web_routes import FakeFleet
from tests.fleet_server.cli.conftest import Shell


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once: the fake moves a step with each look."""
    monkeypatch.setattr("fleet_server.cli.watch.POLL_S", 0.0)
    monkeypatch.setattr("fleet_server.cli.operation.POLL_S", 0.0)


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version's folder, with files of the trainer's own that are not uploaded."""
    folder = tmp_path / "digits-v3"
    for name in ("onnx-fp32", "tflite-int8"):
        (folder / "variants" / name).mkdir(parents=True)
        (folder / "variants" / name / "manifest.json").write_text("{}")
    (folder / "version.json").write_text(json.dumps({"card": {"model": "digits"}, "variants": []}))
    (folder / "heldout.csv").write_text("a\n1\n")
    (folder / "report.html").write_text("<!DOCTYPE html>")
    return folder


def test_a_token_comes_with_the_command_that_uses_it(shell: Shell, fleet: FakeFleet, url: str) -> None:
    assert shell("device token --label bench --uses 2 --ttl 600 --profile pi4 --set-label site=north") == 0
    assert fleet.calls[-1][3] == {
        "label": "bench", "uses": 2, "ttl_s": 600, "profile": "pi4", "labels": {"site": "north"}
    }  # fmt: skip
    assert "s3cret.pin" in shell.out
    assert f"edge-agent enroll --server {url} --token s3cret.pin --id DEVICE" in shell.err
    assert shell("device token list -o json") == 0
    assert [row["id"] for row in shell.json] == ["t1"]
    assert shell("device token revoke t1") == 0
    assert fleet.tokens == {}


def test_labels_are_set_and_removed(shell: Shell, fleet: FakeFleet) -> None:
    assert shell("device label porch-pi role- room=hall -o json") == 0
    assert fleet.calls[-1][3] == {"labels": {"role": None, "room": "hall"}}
    assert shell.json["labels"] == {"site": "north", "room": "hall"}


@pytest.mark.parametrize("text", ["nonsense", "=x", "key=", "-"])
def test_a_wrong_label_is_a_usage_error_and_sends_nothing(shell: Shell, fleet: FakeFleet, text: str) -> None:
    assert shell("device label porch-pi --", text) == Exit.USAGE
    assert "edgeloop device label --help" in shell.err
    assert fleet.calls == []


def test_a_device_is_removed_only_when_meant(shell: Shell, fleet: FakeFleet) -> None:
    assert shell("device remove porch-pi") == Exit.USAGE
    assert "edgeloop device remove porch-pi --yes" in shell.err
    assert "porch-pi" in fleet.devices
    assert shell("device remove porch-pi --yes") == 0
    assert "porch-pi" not in fleet.devices


def test_groups_are_made_and_deleted(shell: Shell, fleet: FakeFleet) -> None:
    assert shell("group create south site=south") == 0
    assert fleet.groups["south"]["query"] == "site=south"
    assert "edgeloop rollout start MODEL VERSION --group south --dry-run" in shell.err
    assert shell("group create south site=south") == Exit.FAILED
    assert "names of groups are unique" in shell.err
    assert shell("group delete south") == 0
    assert "south" not in fleet.groups


def test_a_version_is_pushed_without_the_trainers_own_files(shell: Shell, fleet: FakeFleet, version: Path) -> None:
    assert shell("model push", str(version)) == 0
    method, path, _, parts = fleet.calls[-1]
    assert (method, path) == ("POST", "/models/digits/versions")
    assert parts == [
        ("files", "version.json"),
        ("files", "variants/onnx-fp32/manifest.json"),
        ("files", "variants/tflite-int8/manifest.json"),
    ]
    assert "edgeloop rollout start digits 3" in shell.err
    assert shell("model push -o json --model other", str(version)) == 0
    assert shell.json["model"] == "other"


def test_a_folder_that_is_no_version_is_refused_before_anything_is_sent(
    shell: Shell, fleet: FakeFleet, tmp_path: Path
) -> None:
    assert shell("model push", str(tmp_path)) == Exit.FAILED
    assert "is not a version's folder" in shell.err
    assert "trainer fit --help" in shell.err
    assert fleet.calls == []


def test_a_build_is_followed_to_its_end(shell: Shell, fleet: FakeFleet, tmp_path: Path) -> None:
    for name in ("wine.skops", "wine.csv"):
        (tmp_path / name).write_text("x")
    line = f"model build {tmp_path}/wine.skops --data {tmp_path}/wine.csv --target class"
    assert shell(f"{line} -o json") == 0
    sent = next(call for call in fleet.calls if call[0] == "POST")
    assert sent[1] == "/models/wine/builds"
    assert sorted(sent[3]) == [("data", "wine.csv"), ("source", "wine.skops"), ("target", None)]
    assert shell.json["state"] == "succeeded"
    assert shell.err.split() == ["convert", "prove"]
    assert shell(f"{line} --no-wait") == 0
    assert "edgeloop operations op9" in shell.err


def test_a_builds_wishes_are_sent_as_they_were_said(shell: Shell, fleet: FakeFleet, tmp_path: Path) -> None:
    for name in ("wine.joblib", "wine.csv"):
        (tmp_path / name).write_text("x")
    line = f"model build {tmp_path}/wine.joblib --data {tmp_path}/wine.csv --target class"
    assert shell(f"{line} --budget 0.5 --want size --drop date --drop row --allow-pickle -o json") == 0
    sent = next(call for call in fleet.calls if call[0] == "POST")
    assert {name for name, _ in sent[3]} == {"data", "source", "target", "budget", "want", "drop", "allow_pickle"}
    assert [name for name, _ in sent[3]].count("drop") == 2
    assert shell(f"{line} --want speed") == Exit.USAGE


def test_an_operation_that_failed_leaves_1_when_followed(shell: Shell, fleet: FakeFleet) -> None:
    assert shell("operations op2") == Exit.DONE
    assert shell("operations op2 --follow") == Exit.FAILED
    assert "bad magic" in shell.out
    assert shell("operations --follow") == Exit.USAGE
    assert "edgeloop operations" in shell.err


def test_a_dry_run_shows_who_would_get_what_and_starts_nothing(shell: Shell, fleet: FakeFleet) -> None:
    assert shell("rollout start digits 2 --group all --dry-run") == 0
    assert "no variant fits: runtime tflite" in shell.out
    assert fleet.calls[-1][3]["dry_run"] is True
    assert fleet.calls[-1][3]["policy"] == {}  # what is not said is the server's default
    assert shell("rollout start digits 2 --group all --dry-run -o json") == 0
    assert [row["phase"] for row in shell.json["devices"]] == [0, 1, 1, 1]
    assert "r9" not in fleet.rollouts


def test_a_rollout_starts_with_its_policy(shell: Shell, fleet: FakeFleet) -> None:
    line = "rollout start digits 2 --group all --phase 1 --phase 100% --max-failures 1"
    line += " --soak min_s=2,min_rows=5 --settings health_s=5,threshold=0.7"
    assert shell(line) == 0
    assert fleet.calls[-1][3] == {
        "model": "digits", "version": 2, "group": "all", "policy": {"phases": ["1", "100%"], "max_failures": 1},
        "approval": False, "dry_run": False, "soak": {"min_s": 2.0, "min_rows": 5},
        "settings": {"health_s": 5.0, "threshold": 0.7},
    }  # fmt: skip
    assert "edgeloop rollout watch r9" in shell.err
    assert shell("rollout start digits 2 --group all --soak min=2") == Exit.USAGE
    assert "known are min_s" in shell.err


def test_a_policy_comes_from_a_file_and_options_win_over_it(shell: Shell, fleet: FakeFleet, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('phases = ["5%", "100%"]\nstable = "10%"\nmax_failures = 3\n[metrics.error_ratio]\nmargin = 0.02\n')
    assert shell(f"rollout start digits 2 --group all --policy {file} --max-failures 1 --phase-soak 60") == 0
    assert fleet.calls[-1][3]["policy"] == {
        "phases": ["5%", "100%"], "stable": "10%", "max_failures": 1, "phase_soak_s": 60.0,
        "metrics": {"error_ratio": {"margin": 0.02}},
    }  # fmt: skip
    file.write_text("phases = [")
    assert shell(f"rollout start digits 2 --group all --policy {file}") == Exit.USAGE
    assert "is no TOML" in shell.err


def test_a_rollout_is_explained_in_numbers_and_a_sentence(shell: Shell) -> None:
    assert shell("rollout explain r2") == 0
    for word in ("0 of 3 canary", "error_ratio", "0.0200", "rolls back at 200", "0 bad of 2 devices"):
        assert word in shell.out
    assert shell("rollout explain r2 -o json") == 0
    assert shell.json["stable"] == {"devices": 1, "bad": 0}


def test_a_started_rollout_is_watched_to_its_success(shell: Shell) -> None:
    assert shell("rollout start digits 2 --group all --watch -o json") == Exit.DONE
    assert shell.json["state"] == "succeeded"
    assert "phase 2  gate-zero  succeeded" in shell.err
    assert "succeeded on 4 of 4 devices" in shell.err


@pytest.mark.parametrize(
    ("verb", "state"), [("pause", "paused"), ("resume", "running"), ("promote", "running"), ("abort", "aborted")]
)
def test_a_rollout_is_steered(shell: Shell, fleet: FakeFleet, verb: str, state: str) -> None:
    assert shell(f"rollout {verb} r2 -o json") == 0
    assert ("POST", f"/rollouts/r2/{verb}") in [call[:2] for call in fleet.calls]
    assert shell.json["state"] == state


WAITING = ("waiting",) * 4
ENDS = [
    (("succeeded", ("succeeded",) * 4), Exit.DONE),
    (("halted", ("returned", *WAITING[1:])), Exit.FAILED),
    (("aborted", WAITING), Exit.FAILED),
    (("paused", WAITING), Exit.INCONCLUSIVE),
    (("halted", ("returning", *WAITING[1:])), None),
    (("paused", ("offered", *WAITING[1:])), None),
    (("running", WAITING), None),
]


@pytest.mark.parametrize(("found", "end"), ENDS, ids=[f"{row[0][0]}-{row[0][1][0]}" for row in ENDS])
def test_a_rollout_is_over_when_nothing_of_it_moves(found: tuple[str, tuple[str, ...]], end: Exit | None) -> None:
    assert watch.judge_end(web_data.rollout("r", found[0], "", found[1])) == end


def test_watching_leaves_the_exit_code_of_the_end(shell: Shell, fleet: FakeFleet) -> None:
    returning = web_data.rollout("r3", "halted", "too many failed", ("returning", *WAITING[1:]))
    fleet.rollouts["r3"].insert(0, returning)
    assert shell("rollout watch r3") == Exit.FAILED
    assert "returning" in shell.err
    assert "edgeloop rollout show r3" in shell.err
    assert shell("rollout watch r1") == Exit.DONE
    assert shell("rollout watch r2 --timeout 0") == Exit.INCONCLUSIVE
    assert "edgeloop rollout watch r2" in shell.err
    assert shell("rollout pause r2") == 0
    fleet.rollouts["r2"] = [web_data.rollout("r2", "paused", "", WAITING)]
    assert shell("rollout watch r2") == Exit.INCONCLUSIVE
    assert "edgeloop rollout resume r2" in shell.err


def test_events_are_followed_as_they_come(shell: Shell, fleet: FakeFleet) -> None:
    fleet.stream = [("fleet", {"online": 4}), ("event", web_data.EVENTS[1]), ("event", web_data.EVENTS[0])]
    assert shell("events --follow --device gate-zero --limit 1 -o json") == 0
    assert [json.loads(line)["code"] for line in shell.out.splitlines()] == ["update_started"]
    assert shell("events --follow") == 0
    assert "proven in 1.2 s" in shell.out.splitlines()[-2]


def test_a_sign_in_link_is_the_only_thing_on_stdout(shell: Shell) -> None:
    assert shell("signin") == 0
    assert shell.out == "http://127.0.0.1/signin?code=second\n"
    assert "works once" in shell.err
    assert shell("signin -o json") == 0
    assert shell.json["code"] == "second"
