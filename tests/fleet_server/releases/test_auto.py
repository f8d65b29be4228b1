"""Automatic versions: signed by a process with a key of its own, for one model, for groups that accept it."""

import json
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Targets

from edge_agent.contract.trust import IMAGE
from fleet_server import autosign
from tests.fakes.ceremony import Ceremony
from tests.fakes.server_app import Board, Served
from tests.fakes.server_versions import write_version


@pytest.fixture
def key(ceremony: Ceremony, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The key of automatic versions of digits, delegated."""
    assert autosign.main(["make", str(tmp_path / "auto.pem")]) == 0
    (tmp_path / "auto.json").write_text(capsys.readouterr().out)
    ceremony.step("delegate", str(ceremony.exchange), "digits", "--key", str(tmp_path / "auto.json"))
    return tmp_path / "auto.pem"


def register(fleet: Served, name: str, content: bytes, model: str = "digits") -> int:
    folder = write_version(fleet.folder / name, model, content)
    return fleet.server.context.models.register(model, folder, "retraining", auto=True).version


def autosigned(ceremony: Ceremony, key: Path, model: str = "digits") -> int:
    ceremony.fetch()
    return autosign.main(["sign", model, str(ceremony.exchange), "--key", str(key)])


def test_an_automatic_version_comes_to_groups_that_accept_such(
    fleet: Served, ceremony: Ceremony, board: Board, key: Path
) -> None:
    register(fleet, "v1", b"one")
    assert autosigned(ceremony, key) == 0
    ceremony.push()
    refused = fleet.call("POST", "/rollouts", 409, json={"model": "digits", "version": 1, "group": "all"})
    assert "--accept-auto" in refused["detail"]
    fleet.call("POST", "/groups", 201, json={"name": "brave", "accept_auto": True})
    fleet.roll(1, group="brave", phases=["100%"])
    (bundle,) = board.desired().bundles  # the wire verified it, delegation and all
    assert bundle.version == 1
    (shown,) = fleet.call("GET", "/releases")["items"]
    assert (shown["state"], shown["auto"]) == ("signed", True)
    register(fleet, "v2", b"two")
    assert autosigned(ceremony, key) == 0
    ceremony.push()
    assert ceremony.states() == {1: "signed", 2: "signed"}


def test_the_key_signs_nothing_but_automatic_versions_of_its_model(
    fleet: Served, ceremony: Ceremony, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.upload("v1", b"one")
    register(fleet, "w1", b"wine", "wine")
    assert autosigned(ceremony, key) == 1
    assert "no automatic version of digits waits" in capsys.readouterr().err
    assert autosigned(ceremony, key, "wine") == 0  # it signs, since a key cannot know; the server refuses
    assert "nobody delegated auto/wine" in ceremony.push(422)["detail"]
    assert autosign.main(["make", str(key)]) == 1  # a key is never replaced


def test_a_person_does_not_sign_automatic_versions_by_accident(fleet: Served, ceremony: Ceremony, key: Path) -> None:
    register(fleet, "v1", b"one")
    ceremony.fetch()
    ceremony.trainer("sign", str(ceremony.exchange), "--keys", ceremony.folder(), code=2)
    assert "no bundle waits that this names" in ceremony.said


def test_no_role_lists_what_is_another_s_to_sign(fleet: Served, ceremony: Ceremony, key: Path) -> None:
    """An automatic version among what people signed would pass to groups that accept none."""
    register(fleet, "v1", b"one")
    assert autosigned(ceremony, key) == 0
    (path,) = ceremony.files()
    automatic = Metadata[Targets].from_bytes(ceremony.files()[path].encode()).signed
    (held,) = (ceremony.exchange / "image").glob("*.targets.json")
    top = Metadata[Targets].from_file(str(held))
    top.signed.version += 1
    top.signed.targets |= automatic.targets
    top.signatures.clear()
    top.sign(ceremony.signer())
    answer = ceremony.push(422, {f"image/{top.signed.version}.targets.json": top.to_bytes().decode()})
    assert "not for targets to sign" in answer["detail"]


def test_a_changed_manifest_is_not_signed(fleet: Served, ceremony: Ceremony, key: Path) -> None:
    register(fleet, "v1", b"one")
    ceremony.fetch()
    for path in (ceremony.exchange / "manifests").iterdir():
        path.write_text(path.read_text() + " ")
    assert autosign.main(["sign", "digits", str(ceremony.exchange), "--key", str(key)]) == 1
    assert ceremony.files() == {}


def test_a_revoked_key_takes_its_versions_with_it(fleet: Served, ceremony: Ceremony, board: Board, key: Path) -> None:
    """The key is stolen: one step takes the delegation and all that it signed away from every device."""
    register(fleet, "v1", b"one")
    assert autosigned(ceremony, key) == 0
    ceremony.push()
    fleet.call("POST", "/groups", 201, json={"name": "brave", "accept_auto": True})
    fleet.roll(1, group="brave", phases=["100%"])
    board.succeed()
    ceremony.step("delegate", str(ceremony.exchange), "digits", "--revoke")
    fleet.turn()
    assert ceremony.states() == {1: "yanked"}
    assert board.desired().bundles == ()
    register(fleet, "v2", b"two")
    assert autosigned(ceremony, key) == 0
    assert "nobody delegated" in ceremony.push(422)["detail"]
    assert json.loads((ceremony.exchange / "exchange.json").read_text())["online"].keys() == {IMAGE, "director"}
