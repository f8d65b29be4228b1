"""Release keys that lie elsewhere, from the ceremony to a device: what is signed runs, and nothing else does."""

from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Targets

from edge_agent.contract.messages import TrustHeld
from edge_agent.contract.trust import IMAGE, open_pack, seal_pack
from fleet_server.services.online_keys import load_online_keys
from fleet_server.store import audit
from tests.fakes.ceremony import Ceremony
from tests.fakes.packs import Trusting
from tests.fakes.server_app import Board, Served


def actions(fleet: Served) -> list[tuple[str, str]]:
    with fleet.server.trust.image._database.read() as connection:
        rows = connection.execute(audit.audit.select().order_by(audit.audit.c.n))
        return [(row.action, row.subject) for row in rows]


def test_from_the_ceremony_to_a_device_that_knows_nothing_but_tuf(
    fleet: Served, ceremony: Ceremony, board: Board, tmp_path: Path
) -> None:
    """Init, register, sign, push, roll out: both packs verify with TUF's own client from the roots of the enrolment."""
    asked = {"token": fleet.token(), "device": "pi-2", "public_key": "cd" * 32}
    answer = fleet.call("POST", "/enrol", json=asked | {"capabilities": _plain(board)})
    image = Trusting(tmp_path / "image", answer["image_root"].encode())
    director = Trusting(tmp_path / "director", answer["director_root"].encode())
    fleet.upload("v1", b"one")
    assert ceremony.states() == {1: "unsigned"}
    refused = fleet.call("POST", "/rollouts", 409, json={"model": "digits", "version": 1, "group": "all"})
    assert "trainer sign" in refused["detail"]
    ceremony.sign("--built", str(tmp_path / "v1"))
    assert ceremony.states() == {1: "signed"}
    fleet.roll(1, phases=["100%"])
    updater = image.refresh(fleet.wire.trust[IMAGE])
    director.refresh(fleet.wire.packs["pi-1"])
    ((name, ordered),) = director.targets().targets.items()
    listed = updater.get_targetinfo(name)
    assert listed is not None
    assert (listed.hashes, listed.length) == (ordered.hashes, ordered.length)
    assert listed.custom["hardware"] == ["any"]
    assert ordered.custom["hardware"] == "made-up"
    board.succeed()
    assert {"root_pushed", "targets_pushed", "bundle_signed", "online_key_made"} <= {item[0] for item in actions(fleet)}
    assert director.targets().version == fleet.wire.desired["pi-1"].seq


def _plain(board: Board) -> Any:
    from edge_agent.contract import codec

    return codec.to_plain(board.capabilities())


def test_without_roots_no_device_is_let_in_and_the_command_that_helps_is_named(fleet: Served) -> None:
    body = {
        "token": fleet.token(),
        "device": "pi-1",
        "public_key": "ab" * 32,
        "capabilities": _plain(Board("x", fleet)),
    }
    assert "trainer keys init" in fleet.call("POST", "/enrol", 409, json=body)["detail"]
    assert "no release keys yet" in fleet.call("GET", "/releases/status")["notice"]


def test_only_what_was_built_here_is_signed(fleet: Served, ceremony: Ceremony, tmp_path: Path) -> None:
    """A version that somebody else registered is not signed by accident."""
    fleet.upload("v1", b"one")
    fleet.upload("v2", b"two")
    ceremony.fetch()
    keys = ("--keys", ceremony.folder())
    ceremony.trainer("sign", str(ceremony.exchange), *keys, "--built", str(tmp_path / "v1"), code=1)
    assert "not among what was built here" in ceremony.said
    assert ceremony.files() == {}
    ceremony.trainer("sign", str(ceremony.exchange), *keys, "--built", str(tmp_path / "v1"), "--version", "1")
    ceremony.push()
    assert ceremony.states() == {1: "signed", 2: "unsigned"}


def test_a_manifest_that_was_changed_on_the_way_is_not_signed(fleet: Served, ceremony: Ceremony) -> None:
    fleet.upload("v1", b"one")
    ceremony.fetch()
    for path in (ceremony.exchange / "manifests").iterdir():
        path.write_text(path.read_text().replace('"rows":', '"rows": '))
    ceremony.trainer("sign", str(ceremony.exchange), "--keys", ceremony.folder(), code=1)
    assert "another digest" in ceremony.said


def test_a_stolen_server_cannot_add_a_bundle(fleet: Served, ceremony: Ceremony, board: Board, tmp_path: Path) -> None:
    """Whoever has all online keys signs what they like: the server refuses it, and so does a device."""
    fleet.upload("v1", b"one")
    fleet.upload("v2", b"two")
    ceremony.sign("--version", "1")
    fleet.turn()
    image = Trusting(tmp_path / "image", fleet.server.trust.image.roots()[0].encode())
    image.refresh(fleet.wire.trust[IMAGE])
    ceremony.fetch()
    ceremony.trainer("sign", str(ceremony.exchange), "--keys", ceremony.folder())
    (path,) = ceremony.signed.rglob("*.targets.json")
    stolen = load_online_keys(fleet.folder / "data" / "keys", None)
    forged = Metadata[Targets].from_file(str(path))
    forged.signatures.clear()
    forged.sign(stolen.image)
    forged.sign(stolen.director, append=True)
    answer = ceremony.push(422, {f"image/{path.name}": forged.to_bytes().decode()})
    assert "not signed by the keys that may" in answer["detail"]
    files = open_pack(fleet.wire.trust[IMAGE])
    files[path.name] = forged.to_bytes()
    with pytest.raises(RepositoryError):
        image.refresh(_with_newer_snapshot(files, forged.signed.version, stolen.image))
    assert ceremony.states() == {1: "signed", 2: "unsigned"}


def _with_newer_snapshot(files: dict[str, bytes], version: int, signer: CryptoSigner) -> bytes:
    """Sign, with the stolen key, a snapshot and a timestamp over other targets."""
    (name,) = (name for name in files if name.endswith(".snapshot.json"))
    snapshot: Any = Metadata.from_bytes(files.pop(name))
    snapshot.signed.version += 10
    snapshot.signed.meta["targets.json"].version = version
    timestamp: Any = Metadata.from_bytes(files["timestamp.json"])
    timestamp.signed.version += 10
    timestamp.signed.snapshot_meta.version = snapshot.signed.version
    for made, at in ((snapshot, f"{snapshot.signed.version}.snapshot.json"), (timestamp, "timestamp.json")):
        made.sign(signer)
        files[at] = made.to_bytes()
    return seal_pack(files)


def test_yank_ends_rollouts_and_gives_devices_what_they_ran_before(
    fleet: Served, ceremony: Ceremony, board: Board
) -> None:
    fleet.upload("v1", b"one")
    fleet.upload("v2", b"two")
    ceremony.sign()
    fleet.roll(1, phases=["100%"])
    board.succeed()
    other = fleet.enrol("pi-2")
    fleet.turn()
    other.succeed()  # it joined the group, so it ran nothing before
    rollout = fleet.roll(2, phases=["100%"])
    board.succeed()
    ceremony.step("yank", str(ceremony.exchange), "digits", "2")
    fleet.turn()
    assert ceremony.states() == {1: "signed", 2: "yanked"}
    assert fleet.rollout(rollout)["state"] == "aborted"
    assert [item.version for item in board.desired().bundles] == [1]
    board.succeed()
    assert (
        "yanked"
        in fleet.call("POST", "/rollouts", 409, json={"model": "digits", "version": 2, "group": "all"})["detail"]
    )
    ceremony.step("yank", str(ceremony.exchange), "digits", "1")
    fleet.turn()
    assert board.desired().bundles == other.desired().bundles == ()
    assert fleet.call("GET", "/groups/all")["targets"] == {}
    decided = [item for item in fleet.call("GET", "/decisions")["items"] if item["kind"] == "yank"]
    assert [item["evidence"]["devices"] for item in decided] == [
        {"pi-1": None, "pi-2": None},
        {"pi-1": 1, "pi-2": 1},
    ]
    assert ("bundle_yanked", "digits/2/onnx-fp32") in actions(fleet)


def test_what_was_yanked_never_returns(fleet: Served, ceremony: Ceremony) -> None:
    fleet.upload("v1", b"one")
    ceremony.sign()
    ceremony.fetch()
    ceremony.trainer("sign", str(ceremony.exchange), "--keys", ceremony.folder(), "--renew")
    renewed = ceremony.files()
    ceremony.step("yank", str(ceremony.exchange), "digits", "1")
    assert "the next is" in ceremony.push(422, renewed)["detail"]  # a replay is older
    ceremony.fetch()
    (path,) = renewed
    again = Metadata[Targets].from_bytes(renewed[path].encode())
    again.signed.version += 1
    again.signatures.clear()
    again.sign(ceremony.signer())
    name = path.replace(str(again.signed.version - 1), str(again.signed.version))
    assert "was yanked" in ceremony.push(422, {name: again.to_bytes().decode()})["detail"]


def test_a_server_from_an_old_backup_is_told_and_signs_above(fleet: Served, ceremony: Ceremony, board: Board) -> None:
    fleet.upload("v1", b"one")
    ceremony.sign()
    board.trust = TrustHeld(image_targets=9)
    board.report()
    board.report()
    events = [item for item in fleet.call("GET", "/events")["items"] if item["code"] == "releases_behind"]
    assert len(events) == 1
    assert "trainer sign FOLDER --keys KEYS --renew" in events[0]["detail"]
    ceremony.sign("--renew")
    assert "image/10.targets.json" in ceremony.files()
    roles = {(item["repository"], item["role"]): item for item in fleet.call("GET", "/releases/status")["roles"]}
    assert roles[IMAGE, "targets"]["version"] == 10


def test_what_the_online_key_signed_is_signed_anew_at_half_time(
    fleet: Served, ceremony: Ceremony, board: Board
) -> None:
    fleet.upload("v1", b"one")
    ceremony.sign()
    fleet.roll(1, phases=["100%"])
    image, order = fleet.wire.trust[IMAGE], fleet.wire.packs["pi-1"]
    fleet.clock.pass_s(14 * 86400)
    fleet.turn()
    assert fleet.server.outbox.renew() == 0
    assert (fleet.wire.trust[IMAGE], fleet.wire.packs["pi-1"]) == (image, order)
    fleet.clock.pass_s(2 * 86400)
    assert fleet.server.outbox.renew() == 1
    fleet.turn()
    for old, new in ((image, fleet.wire.trust[IMAGE]), (order, fleet.wire.packs["pi-1"])):
        before, after = (Metadata.from_bytes(open_pack(pack)["timestamp.json"]).signed for pack in (old, new))
        assert after.version > before.version
        assert (after.expires - before.expires).days == 16


def test_what_people_must_sign_again_is_announced_a_month_ahead(fleet: Served, ceremony: Ceremony) -> None:
    fleet.turn()
    assert fleet.call("GET", "/events")["items"] == []
    fleet.clock.pass_s(340 * 86400)
    fleet.turn()
    told = [item["detail"] for item in fleet.call("GET", "/events")["items"] if item["code"] == "release_expires"]
    assert len(told) == 3
    assert any("trainer sign --renew" in text for text in told)


def test_a_broker_that_lost_everything_gets_the_pack_before_any_order(
    fleet: Served, ceremony: Ceremony, board: Board
) -> None:
    fleet.upload("v1", b"one")
    ceremony.sign()
    fleet.roll(1, phases=["100%"])
    fleet.wire.lose_everything()
    fleet.wire.fails_for = {IMAGE}
    fleet.turn()
    assert (fleet.wire.trust, fleet.wire.packs) == ({}, {})  # the wire asserts the order of the rest
    fleet.wire.fails_for = set()
    fleet.turn()
    assert set(fleet.wire.packs) == {"pi-1"}


def test_what_is_signed_goes_out_before_orders_that_waited_longer(
    fleet: Served, ceremony: Ceremony, board: Board
) -> None:
    """The broker is away while two versions are signed, one of them is ordered in between, and it comes back."""
    fleet.turn()
    fleet.wire.connected = False
    fleet.upload("v1", b"one")
    ceremony.sign()
    fleet.roll(1, phases=["100%"])
    fleet.upload("v2", b"two")
    ceremony.sign()
    fleet.wire.connected = True
    fleet.turn()  # the wire refuses an order of what it has not been told is signed
    assert [item.version for item in board.desired().bundles] == [1]


def test_a_bundle_for_one_class_of_boards_reaches_no_other(fleet: Served, ceremony: Ceremony, board: Board) -> None:
    fleet.upload("v1", b"one")
    ceremony.sign("--hardware", "pi4")
    plan = fleet.call("POST", "/rollouts", json={"model": "digits", "version": 1, "group": "all", "dry_run": True})
    assert "signed for pi4, not for made-up" in plan["devices"][0]["reason"]
