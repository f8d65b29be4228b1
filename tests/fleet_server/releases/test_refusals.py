"""Pushes that are not as they must be: each refused with what was wrong, and nothing of it stored."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Key, Metadata, Root, Targets

from fleet_server.services.online_keys import load_online_keys
from fleet_server.store import releases
from tests.fakes.ceremony import Ceremony
from tests.fakes.packs import now_ms
from tests.fakes.server_app import Served, served

Change = Callable[[Any], None]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceremony]:
    """A server with one signed version and one that waits; what was signed over it is at hand, and never pushed."""
    folder = tmp_path_factory.mktemp("refusals")
    with served(folder, host="0.0.0.0", names=("localhost",)) as fleet:
        fleet.clock.ms = now_ms()
        made = Ceremony(fleet, folder)
        made.begin()
        fleet.upload("v1", b"one")
        made.sign()
        fleet.upload("v2", b"two")
        made.fetch()
        made.trainer("sign", str(made.exchange), "--keys", made.folder())
        made.trainer("keys", "rotate", str(made.exchange), "--keys", made.folder())
        yield made


def stored(fleet: Served) -> Any:
    with fleet.server.trust.image._database.read() as connection:
        files = [releases.list_files(connection, name) for name in ("image", "director")]
        return files, releases.all_listed(connection), releases.all_yanked(connection)


def expect(held: Ceremony, files: dict[str, str], reason: str) -> None:
    before = stored(held.fleet)
    assert reason in held.push(422, files)["detail"]
    assert stored(held.fleet) == before


def resigned(held: Ceremony, path: str, change: Change, *signers: CryptoSigner) -> dict[str, str]:
    """What waits at `path`, changed and signed anew."""
    found: Metadata[Any] = Metadata.from_bytes(held.files()[path].encode())
    change(found.signed)
    found.signatures.clear()
    for signer in signers:
        found.sign(signer, append=True)
    return {path: found.to_bytes().decode()}


def first(targets: Targets) -> Any:
    return targets.targets["digits/2/onnx-fp32"]


def lists_a_stranger(targets: Targets) -> None:
    targets.targets["other/1/onnx-fp32"] = first(targets)


def has_another_digest(targets: Targets) -> None:
    first(targets).hashes["sha256"] = "ab" * 32


def has_another_length(targets: Targets) -> None:
    first(targets).length += 1


def has_two_hashes(targets: Targets) -> None:
    first(targets).hashes["md5"] = "ab" * 16


def says_another_runtime(targets: Targets) -> None:
    first(targets).unrecognized_fields["custom"]["runtime"] = "numpy"


def says_more(targets: Targets) -> None:
    first(targets).unrecognized_fields["custom"]["more"] = 1


def may_run_nowhere(targets: Targets) -> None:
    first(targets).unrecognized_fields["custom"]["hardware"] = []


def changes_what_is_signed(targets: Targets) -> None:
    targets.targets["digits/1/onnx-fp32"] = first(targets)


def jumps(targets: Targets) -> None:
    targets.version += 5


def expired(targets: Targets) -> None:
    targets.expires = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


def lasts_for_ever(targets: Targets) -> None:
    targets.expires = dt.datetime(2099, 1, 1, tzinfo=dt.UTC)


def has_a_field_more(targets: Targets) -> None:
    targets.unrecognized_fields["more"] = 1


def delegate(targets: Targets, name: str, pattern: str) -> None:
    role = DelegatedRole(name, [], 1, terminating=True, paths=[pattern])
    targets.delegations = Delegations({}, {name: role})
    targets.add_key(CryptoSigner.generate_ed25519().public_key, name)


def delegates_everything(targets: Targets) -> None:
    delegate(targets, "auto/digits", "*/*/*")


def delegates_by_another_name(targets: Targets) -> None:
    delegate(targets, "friends", "auto/x/*/*")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lists_a_stranger, "no bundle that is registered here"),
        (has_another_digest, "another digest or length"),
        (has_another_length, "another digest or length"),
        (has_two_hashes, "another digest or length"),
        (says_another_runtime, "not what it is"),
        (says_more, "more"),
        (may_run_nowhere, "not what it is"),
        (changes_what_is_signed, "another digest or length"),
        (jumps, "the next is"),
        (expired, "has expired"),
        (lasts_for_ever, "would hold until"),
        (has_a_field_more, "fields that nothing here means"),
        (delegates_everything, "not one of automatic versions"),
        (delegates_by_another_name, "not one of automatic versions"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_targets(held: Ceremony, change: Change, reason: str) -> None:
    """Signed by the right key, and still not taken."""
    (path,) = (path for path in held.files() if path.endswith(".targets.json"))
    expect(held, resigned(held, path, change, held.signer()), reason)


def weak(root: Root) -> None:
    root.roles["root"].threshold = 1


def without_consistent_snapshots(root: Root) -> None:
    root.consistent_snapshot = False


def skips_a_version(root: Root) -> None:
    root.version += 1


def gives_the_targets_to(role: str) -> Change:
    def change(root: Root) -> None:
        root.roles["targets"].keyids = list(root.roles[role].keyids)

    return change


def has_other_online_keys(root: Root) -> None:
    key: Key = CryptoSigner.generate_ed25519().public_key
    root.add_key(key, "timestamp")


def is_held_by_others(root: Root) -> None:
    root.add_key(CryptoSigner.generate_ed25519().public_key, "root")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (weak, "could be signed by one person"),
        (without_consistent_snapshots, "consistent snapshots"),
        (skips_a_version, "the next is 2"),
        (gives_the_targets_to("timestamp"), "lies on this server"),
        (has_other_online_keys, "another key for its timestamp"),
        (is_held_by_others, "different root keys"),
        (expired, "has expired"),
        (lasts_for_ever, "would hold until"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_roots(held: Ceremony, change: Change, reason: str) -> None:
    """Signed by two root keys, and still not taken."""
    signers = [held.signer("root-1"), held.signer("root-2")]
    expect(held, resigned(held, "image/2.root.json", change, *signers), reason)


def test_a_root_of_somebody_else(held: Ceremony) -> None:
    """Well made, and signed by the root keys that it names itself: the root before it has not heard of them."""
    thieves = [CryptoSigner.generate_ed25519() for _ in range(2)]

    def change(root: Root) -> None:
        for keyid in list(root.roles["root"].keyids):
            root.revoke_key(keyid, "root")
        for thief in thieves:
            root.add_key(thief.public_key, "root")

    files: dict[str, str] = {}
    for repository in ("image", "director"):
        files |= resigned(held, f"{repository}/2.root.json", change, *thieves)
    expect(held, files, "not signed as the root before it asks")


def test_signatures_that_do_not_count(held: Ceremony) -> None:
    """One root key, one twice, release and online keys: none of them makes two people."""
    online = load_online_keys(held.fleet.folder / "data" / "keys", None)
    one = held.signer("root-1")
    for signers in ([one], [one, held.signer()], [one, online.image], [online.image, online.director]):
        expect(held, resigned(held, "image/2.root.json", lambda _root: None, *signers), "not signed as")
    files = resigned(held, "image/2.root.json", lambda _root: None, one)
    expect(
        held,
        {"image/2.root.json": files["image/2.root.json"].replace(one.public_key.keyid, "ab" * 32)},
        "not signed as",
    )


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"image/3.snapshot.json": "{}"}, "no metadata that is pushed"),
        ({"../../etc/3.root.json": "{}"}, "no metadata that is pushed"),
        ({"image/timestamp.json": "{}"}, "no metadata that is pushed"),
        ({"director/3.targets.json": "{}"}, "signed by the server alone"),
        ({"image/3.targets.json": "{}"}, "no TUF metadata"),
        ({"image/3.targets.json": "[" * 5000}, "no TUF metadata"),
        ({"image/2.root.json": "nonsense"}, "no TUF metadata"),
        ({"image/3.targets.json": "{}", "image/4.targets.json": "{}"}, "came twice"),
    ],
    ids=str,
)
def test_paths_and_garbage(held: Ceremony, files: dict[str, str], reason: str) -> None:
    expect(held, files, reason)


def test_a_good_push_is_refused_whole_for_one_bad_file(held: Ceremony) -> None:
    files = held.files()
    expect(held, files | {"image/9.auto%2Fdigits.json": "{}"}, "auto")


def test_one_kind_of_metadata_in_the_place_of_another(held: Ceremony) -> None:
    (path,) = (path for path in held.files() if path.endswith(".targets.json"))
    expect(held, {path: held.files()["image/2.root.json"]}, "another kind")


def test_a_body_with_too_many_files_or_none(held: Ceremony) -> None:
    many = {f"image/{number}.root.json": "{}" for number in range(1, 80)}
    for files in ({}, many):
        held.fleet.call("POST", "/releases", 422, json={"files": files})
