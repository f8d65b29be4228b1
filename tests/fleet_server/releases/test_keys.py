"""Keys: two people for a root, other keys in the place of stolen or lost ones, passphrases."""

import json
import os
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Root, Targets

from edge_agent.contract.trust import DIRECTOR, IMAGE
from fleet_server.services.online_keys import load_online_keys
from tests.fakes.ceremony import Ceremony
from tests.fakes.packs import Trusting, now_ms
from tests.fakes.server_app import Board, Served, served


def test_after_a_rotation_the_old_release_key_is_refused(
    fleet: Served, ceremony: Ceremony, board: Board, tmp_path: Path
) -> None:
    fleet.upload("v1", b"one")
    ceremony.sign()
    fleet.turn()
    image = Trusting(tmp_path / "image", fleet.server.trust.image.roots()[0].encode())
    image.refresh(fleet.wire.trust[IMAGE])
    assert ceremony.step("keys", "rotate", str(ceremony.exchange), "--release")["roots"] == ["director/2", "image/2"]
    fleet.turn()
    image.refresh(fleet.wire.trust[IMAGE])  # an old device follows, by the chain of roots in the pack
    fleet.upload("v2", b"two")
    ceremony.fetch()
    ceremony.trainer("sign", str(ceremony.exchange), "--keys", ceremony.folder())
    (path,) = ceremony.files()
    by_old = Metadata[Targets].from_bytes(ceremony.files()[path].encode())
    by_old.signatures.clear()
    by_old.sign(ceremony.signer())
    assert "not signed by the keys that may" in ceremony.push(422, {path: by_old.to_bytes().decode()})["detail"]
    ceremony.push()
    assert ceremony.states() == {1: "signed", 2: "signed"}


def test_a_root_needs_two_people_and_a_second_one_adds_a_signature(fleet: Served, ceremony: Ceremony) -> None:
    """Two holders with a key each: the first one's root is not taken before the second has signed it."""
    for name, own in (("ann", "root-1.pem"), ("bob", "root-2.pem")):
        folder = Path(ceremony.folder(name))
        folder.mkdir()
        for file in ("keys.json", own):
            (folder / file).write_bytes((Path(ceremony.folder()) / file).read_bytes())
    ceremony.fetch()
    ceremony.trainer("keys", "rotate", str(ceremony.exchange), "--keys", ceremony.folder("ann"), code=1)
    assert "1 more must sign" in ceremony.said
    assert "not signed" in ceremony.push(422)["detail"]
    ceremony.trainer("keys", "sign-root", str(ceremony.exchange), "--keys", ceremony.folder("bob"))
    assert ceremony.push()["roots"] == ["director/2", "image/2"]


def test_a_lost_root_key_is_replaced(fleet: Served, ceremony: Ceremony) -> None:
    (Path(ceremony.folder()) / "root-3.pem").unlink()
    ceremony.step("keys", "rotate", str(ceremony.exchange), "--root", "root-3")
    root = Metadata[Root].from_bytes(fleet.server.trust.image.roots()[0].encode()).signed
    ring = json.loads((Path(ceremony.folder()) / "keys.json").read_text())["keys"]
    names = {name for name, held in ring.items() if held["public"]["keyid"] in root.roles["root"].keyids}
    assert names == {"root-1", "root-2", "root-4"}


def test_other_online_keys_hold_after_a_rotation_alone(tmp_path: Path) -> None:
    """New online keys (the old were stolen, or lost): nothing is signed until two people have named them in a root."""
    with served(tmp_path, host="0.0.0.0", names=("localhost",)) as first:
        first.clock.ms = now_ms()
        ceremony = Ceremony(first, tmp_path)
        ceremony.begin()
        first.upload("v1", b"one")
    for name in (IMAGE, DIRECTOR):
        (tmp_path / "data" / "keys" / f"online-{name}.pem").unlink()
    with served(tmp_path, host="0.0.0.0", names=("localhost",)) as second:
        second.clock.ms = now_ms()
        second.turn()
        ceremony.fleet = second
        codes = [event["code"] for event in second.call("GET", "/events")["items"]]
        assert codes.count("online_key_differs") == 2
        assert "keys rotate --online" in ceremony.sign(expected=422)["detail"]
        ceremony.step("keys", "rotate", str(ceremony.exchange), "--online")
        ceremony.sign()
        second.turn()
        image = Trusting(tmp_path / "image", second.server.trust.image.roots()[0].encode())
        assert image.refresh(second.wire.trust[IMAGE]).get_targetinfo("digits/1/onnx-fp32") is not None


def test_keys_are_encrypted_by_the_passphrase_and_useless_without(
    fleet: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceremony = Ceremony(fleet, tmp_path)
    ceremony.fetch()
    monkeypatch.setenv("EDGELOOP_KEY_PASSPHRASE", "short")
    ceremony.trainer("keys", "init", ceremony.folder("weak"), str(ceremony.exchange), code=2)
    monkeypatch.setenv("EDGELOOP_KEY_PASSPHRASE", "correct horse battery")
    ceremony.trainer("keys", "init", ceremony.folder(), str(ceremony.exchange))
    ceremony.push()
    for path in Path(ceremony.folder()).glob("*.pem"):
        assert b"ENCRYPTED" in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
    fleet.upload("v1", b"one")
    ceremony.sign()
    monkeypatch.setenv("EDGELOOP_KEY_PASSPHRASE", "another passphrase")
    ceremony.fetch()
    ceremony.trainer("yank", str(ceremony.exchange), "digits", "1", "--keys", ceremony.folder(), code=78)
    assert "cannot be used" in ceremony.said
    assert os.environ["EDGELOOP_KEY_PASSPHRASE"] not in ceremony.said


def test_the_server_encrypts_its_online_keys_where_a_passphrase_is_configured(tmp_path: Path) -> None:
    made = load_online_keys(tmp_path / "keys", "a passphrase of it")
    assert made.made == (IMAGE, DIRECTOR)
    for path in (tmp_path / "keys").glob("online-*.pem"):
        assert (b"ENCRYPTED" in path.read_bytes(), path.stat().st_mode & 0o777) == (True, 0o600)
    assert load_online_keys(tmp_path / "keys", "a passphrase of it").keyids == made.keyids
    for wrong in (None, "another"):
        with pytest.raises(ValueError, match="online-image"):
            load_online_keys(tmp_path / "keys", wrong)
