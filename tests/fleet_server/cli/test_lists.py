"""Every command that lists or shows: as a table, as JSON, and with nothing to show."""

import pytest

from fleet_server.cli.failures import Exit
from tests.fakes.web_routes import FakeFleet
from tests.fleet_server.cli.conftest import Shell

# Command, what its table must name, and the keys that each item of its JSON has.
LISTS = [
    ("device list", ("porch-pi", "pi-zero-2w (simulated)", "fetching 2/5", "digits@1 (onnx-int8)"), "id"),
    ("model list", ("digits", "2026-11-22"), "name"),
    ("model show digits", ("Pipeline(StandardScaler, MLPClassifier)", "accuracy=0.9776"), "version"),
    ("group list", ("(all devices)", "site=north", "digits@2"), "name"),
    ("rollout list", ("digits@2", "halted", "1 device failed, 0 are allowed", "2/4"), "id"),
    ("events", ("update_failed", "3 of 20 rows answered NaN"), "code"),
    ("decisions", ("roll_back", "controller", "porch-pi unhealthy"), "kind"),
    ("operations", ("build", "the model is not skops: bad magic"), "id"),
    ("health", ("digits@2", "54000", "porch-pi"), "device"),
]
EMPTY = [
    ("device list", "edgeloop device token"),
    ("model list", "edgeloop model push DIR"),
    ("group list", "edgeloop group create all"),
    ("rollout list", "edgeloop rollout start MODEL VERSION --group GROUP"),
    ("events", "when they boot"),
    ("decisions", "edgeloop rollout start"),
    ("operations", "edgeloop model build"),
    ("health", "edgeloop device list"),
    ("device token list", "edgeloop device token"),
]


@pytest.mark.parametrize(("command", "shown", "key"), LISTS, ids=[row[0] for row in LISTS])
def test_a_list_is_a_table(shell: Shell, command: str, shown: tuple[str, ...], key: str) -> None:
    assert shell(command) == 0
    assert [text for text in shown if text not in shell.out] == []
    assert shell.err == ""


@pytest.mark.parametrize(("command", "shown", "key"), LISTS, ids=[row[0] for row in LISTS])
def test_a_list_is_json(shell: Shell, command: str, shown: tuple[str, ...], key: str) -> None:
    assert shell(f"{command} -o json") == 0
    assert shell.json
    assert all(key in row for row in shell.json)


@pytest.mark.parametrize(("command", "hint"), EMPTY, ids=[row[0] for row in EMPTY])
def test_an_empty_list_says_what_to_do_and_keeps_stdout_clean(
    shell: Shell, fleet: FakeFleet, command: str, hint: str
) -> None:
    for rows in (fleet.devices, fleet.versions, fleet.groups, fleet.rollouts, fleet.operations):
        rows.clear()
    for found in (fleet.events, fleet.decisions, fleet.health):
        found.clear()
    assert shell(command) == 0
    assert shell.out == ""
    assert hint in shell.err
    assert shell(f"{command} -o json") == 0
    assert shell.json == []


def test_a_list_follows_every_page(shell: Shell, fleet: FakeFleet) -> None:
    pattern = fleet.devices["porch-pi"]
    fleet.devices = {f"pi-{n:04}": {**pattern, "id": f"pi-{n:04}"} for n in range(450)}
    assert shell("device list -o json") == 0
    assert [row["id"] for row in shell.json] == sorted(fleet.devices)
    assert [query.get("cursor") for _, path, query, _ in fleet.calls if path == "/devices"] == [None, "200", "400"]


def test_a_limit_asks_for_no_more_than_it_needs(shell: Shell, fleet: FakeFleet) -> None:
    assert shell("events --limit 3 -o json") == 0
    assert len(shell.json) == 3
    assert [query["limit"] for _, path, query, _ in fleet.calls if path == "/events"] == ["3"]


def test_filters_reach_the_server(shell: Shell, fleet: FakeFleet) -> None:
    assert shell("device list --group north -o json") == 0
    assert [row["id"] for row in shell.json] == ["porch-pi", "greenhouse"]
    assert shell("device list --find zero -o json") == 0
    assert [row["id"] for row in shell.json] == ["gate-zero"]
    assert shell("health --device greenhouse --since 2026-11-22T14:00:00Z --limit 2") == 0
    assert fleet.calls[-1][2] == {"device": "greenhouse", "since": "2026-11-22T14:00:00Z", "limit": "2"}


def test_a_device_is_shown_whole(shell: Shell) -> None:
    assert shell("device show gate-zero") == 0
    for text in ("aarch64, 4 cores", "digits@2 (onnx-int8)", "fetching 2/5", "onnx=1.31.1", "38400"):
        assert text in shell.out
    assert shell("device show gate-zero -o json") == 0
    assert shell.json["progress"]["chunks_total"] == 5


def test_a_version_shows_each_variant_and_why_one_is_missing(shell: Shell) -> None:
    assert shell("model show digits 1") == 0
    for text in ("674.3 kB", "99.56 %", "8.8", "label agreement 0.951 is under the gate of 0.98"):
        assert text in shell.out
    assert shell("model show digits 1 -o json") == 0
    assert len(shell.json["variants"]) == 4


def test_a_card_is_of_the_newest_version_unless_told(shell: Shell, fleet: FakeFleet) -> None:
    assert shell("model card digits") == 0
    assert "at_least" in shell.out
    assert fleet.calls[-1][1] == "/models/digits/versions/2/card"
    assert shell("model card digits 1 -o json") == 0
    assert shell.json["metrics"] == {"accuracy": 0.9766}


def test_a_group_shows_its_devices(shell: Shell) -> None:
    assert shell("group show north") == 0
    assert "porch-pi, greenhouse" in shell.out
    assert shell("group show north -o json") == 0
    assert shell.json["members"] == ["porch-pi", "greenhouse"]


def test_a_rollout_shows_phases_devices_and_reasons(shell: Shell) -> None:
    assert shell("rollout show r3") == 0
    for text in ("phase 1", "returned", "unhealthy", "3 of 20 rows answered NaN"):
        assert text in shell.out
    assert shell("rollout show r3 -o json") == 0
    assert shell.json["state"] == "halted"


def test_drift_shows_the_most_moved_first(shell: Shell) -> None:
    assert shell("drift digits --group north --version 2") == 0
    assert shell.out.index("pixel_3_4") < shell.out.index("pixel_1_4")
    for text in ("18 of 64", "label 4 from 10 % to 27 %", "mean rose by 0.6 σ"):
        assert text in shell.out
    assert "44 more features: --every" in shell.err
    assert shell("drift digits --every") == 0
    assert "pixel_0_0" in shell.out
    assert shell("drift digits -o json") == 0
    assert len(shell.json["features"]) == 64


def test_drift_lists_the_devices_in_a_state(shell: Shell) -> None:
    assert shell("drift digits --devices drift") == 0
    for text in ("gate-zero", "shed-tflite", "pixel_3_4 rose by about 0.6"):
        assert text in shell.out
    assert "pixel_1_4" not in shell.out


def test_a_drift_policy_is_shown_and_set_by_its_fields(shell: Shell) -> None:
    assert shell("drift-policy digits") == 0
    assert "learning_windows" in shell.out
    assert shell("drift-policy digits learning_windows=48 psi_floor=0.2 -o json") == 0
    assert shell.json == {"learning_windows": 48, "psi_floor": 0.2}
    assert shell("drift-policy digits psi_floor=much") == Exit.USAGE
    assert "a field is name=number" in shell.err


def test_words_of_a_device_cannot_steer_the_terminal(shell: Shell, fleet: FakeFleet) -> None:
    fleet.events[0] = {**fleet.events[0], "detail": "\x1b[2J\x1b]0;mine\x07 [bold]loud[/bold]"}
    assert shell("events") == 0
    assert "\x1b" not in shell.out
    assert "\x07" not in shell.out
    assert "[bold]loud[/bold]" in shell.out
