"""The two commands of the manual against a whole server: `edgeloop release` with the network, `trainer` without."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from edge_agent.contract.exchange import EXCHANGE_NAME
from fleet_server.cli import release
from fleet_server.cli.app import run
from fleet_server.cli.client import FleetClient
from fleet_server.cli.context import Context
from fleet_server.services.tryout import TrainerError, run_trainer
from tests.fakes.ceremony import Ceremony
from tests.fakes.server_app import Served, served


@pytest.fixture(autouse=True)
def _to_this_server(fleet: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's client asks the application itself."""

    @contextmanager
    def connect() -> Iterator[FleetClient]:
        yield FleetClient(Context("http://testserver", "", None), cast("httpx.Client", fleet.client))

    monkeypatch.setattr(release, "connect", connect)


def read(capsys: pytest.CaptureFixture[str]) -> Any:
    """The JSON that the command printed, between the lines that the server in this process logs."""
    lines = capsys.readouterr().out.splitlines()
    return json.loads("\n".join(line for line in lines if "[info" not in line))


def test_the_manual_from_the_ceremony_to_a_signed_version(
    fleet: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, trainer = tmp_path / "exchange", Ceremony(fleet, tmp_path).trainer
    assert run(["release", "status"]) == 0
    assert "no release keys yet" in capsys.readouterr().out
    assert run(["release", "fetch", str(place)]) == 0
    assert run(["release", "push", str(place)]) == 2  # nothing is signed
    trainer("keys", "init", str(tmp_path / "keys"), str(place), "--no-passphrase")
    assert run(["release", "fetch", str(place)]) == 1  # what is signed is not lost by a second fetch
    assert run(["release", "push", str(place)]) == 0
    assert "director/1" in capsys.readouterr().err
    fleet.upload("v1", b"one")
    assert run(["release", "fetch", str(place)]) == 0
    assert "2 bundles wait" in capsys.readouterr().err
    trainer("sign", str(place), "--keys", str(tmp_path / "keys"))
    assert run(["release", "push", str(place), "-o", "json"]) == 0
    assert read(capsys) == {"listed": 2, "roots": []}
    assert run(["release", "list", "-o", "json"]) == 0
    (row,) = read(capsys)
    assert (row["model"], row["version"], row["state"]) == ("digits", 1, "signed")
    assert row["signed"] == ["onnx-fp32", "tflite-int8"]
    assert run(["release", "status", "-o", "json"]) == 0
    shown = read(capsys)
    root = next(item for item in shown["roles"] if (item["repository"], item["role"]) == ("image", "root"))
    assert (root["threshold"], len(root["keys"]), shown["listed"], shown["notice"]) == (2, 3, 2, "")


def test_a_server_that_names_files_outside_of_the_folder_writes_none(
    fleet: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = fleet.server.trust.image

    def hostile(_self: Any) -> dict[str, str]:
        return {EXCHANGE_NAME: "{}", "../outside.json": "x"}

    monkeypatch.setattr(type(image), "exchange", hostile)
    assert run(["release", "fetch", str(tmp_path / "exchange")]) == 1
    assert "outside of the folder" in capsys.readouterr().err
    assert not (tmp_path / "outside.json").exists()


def test_releases_come_in_pages(fleet: Served, ceremony: Ceremony) -> None:
    for name in ("one", "two", "three"):
        fleet.upload(name, name.encode())
    seen, cursor = [], ""
    while True:
        page = fleet.call("GET", f"/releases?limit=2{cursor}")
        seen += [item["version"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == [1, 2, 3]
    fleet.call("GET", "/releases?cursor=made-up", 422)


def test_trying_out_signs_by_itself_and_says_where_the_keys_are(tmp_path: Path) -> None:
    """Twice on one folder: the second start makes no keys, and signs what waited since a crash."""
    with served(tmp_path) as fleet:
        fleet.upload("v1", b"one")
        keys = (tmp_path / "data" / "keys" / "tryout" / "keys.json").read_bytes()
        notice = fleet.call("GET", "/fleet")["server"]["notes"][-1]
        assert str(tmp_path / "data" / "keys" / "tryout") in notice
        assert "docs/how-to/releases.md" in notice
        assert [item["state"] for item in fleet.call("GET", "/releases")["items"]] == ["signed"]
    with served(tmp_path) as again:
        assert (tmp_path / "data" / "keys" / "tryout" / "keys.json").read_bytes() == keys
        assert [item["release"] for item in again.call("GET", "/models/digits/versions")["items"]] == ["signed"]


def test_trying_out_ends_beyond_loopback_and_begins_by_name(tmp_path: Path) -> None:
    """The same data folder, started beyond loopback: versions wait, unless it is asked for by name."""
    with served(tmp_path):
        pass
    with served(tmp_path, host="0.0.0.0", names=("localhost",)) as beyond:
        beyond.upload("v1", b"one")
        assert [item["state"] for item in beyond.call("GET", "/releases")["items"]] == ["unsigned"]
    with served(tmp_path, host="0.0.0.0", names=("localhost",), tryout_keys=True) as asked:
        assert [item["state"] for item in asked.call("GET", "/releases")["items"]] == ["signed"]


def test_real_keys_take_over_from_those_of_trying_out(tmp_path: Path) -> None:
    with served(tmp_path) as fleet:
        ceremony = Ceremony(fleet, tmp_path, keys="data/keys/tryout")
        ceremony.step("keys", "rotate", str(ceremony.exchange), "--release")
        (tmp_path / "data" / "keys" / "tryout" / "keys.json").unlink()
    with served(tmp_path) as later:
        later.upload("v1", b"one")
        assert [item["state"] for item in later.call("GET", "/releases")["items"]] == ["unsigned"]
        assert later.call("GET", "/releases/status")["notice"] == ""


def test_a_server_from_an_old_backup_signs_above_by_itself_while_trying_out(tmp_path: Path) -> None:
    from edge_agent.contract.messages import TrustHeld

    with served(tmp_path) as fleet:
        fleet.upload("v1", b"one")
        board = fleet.enrol("pi-1")
        board.trust = TrustHeld(image_targets=40)
        board.report()
        fleet.turn()
        roles = {(item["repository"], item["role"]): item for item in fleet.call("GET", "/releases/status")["roles"]}
        assert roles["image", "targets"]["version"] == 41


def test_the_trainer_s_command_as_a_child_says_what_was_wrong(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="no exchange folder"):
        run_trainer(["sign", str(tmp_path), "--keys", str(tmp_path)])


def test_signing_needs_no_scikit_learn() -> None:
    """A server without the trainer's libraries can be tried out: what signs imports none of them."""
    code = (
        "import sys; from trainer import cli, cli_keys, cli_release; from trainer.stages import signing\n"
        "heavy = {'sklearn', 'numpy', 'onnx', 'onnxruntime', 'skops'} & {name.split('.')[0] for name in sys.modules}\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
