"""Attacks on the metadata of either repository, as data: a name, what is done to the world, and what the device says.

`None` means that the order is followed. The device holds order 2 (version 1) before each; `w.kept` holds those packs.
"""

import datetime as dt
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from securesystemslib.signer import SSlibKey

from edge_agent.contract.states import Reason
from edge_agent.contract.trust import DIRECTOR, IMAGE, MAX_PACK_BYTES, MAX_PLAIN_BYTES
from tests.fakes.trust_repository import ROLES, FakeRepository, new_key, signed
from tests.fakes.trust_world import World

DAY = dt.timedelta(days=1)
ONLINE = ("timestamp", "snapshot", "targets")
FAR_FORWARD = 2**31


@dataclass(frozen=True)
class Row:
    """One attack; `heals` says that honest metadata is followed after it as if nothing had been."""

    name: str
    do: Callable[[World], object]
    reason: Reason | None
    heals: bool = True


def both(name: str, do: Callable[[World, FakeRepository], object], reason: Reason | None) -> Iterator[Row]:
    """The attack on each repository, after an honest order 3 that the device has not seen yet."""
    for repository in (IMAGE, DIRECTOR):

        def act(world: World, repository: str = repository) -> None:
            world.give(2)
            do(world, world.repository(repository))
            world.show()

        yield Row(f"{name} of {repository}", act, reason)


def each(
    roles: tuple[str, ...], name: str, do: Callable[[World, FakeRepository, str], object], reason: Reason | None
) -> Iterator[Row]:
    """The attack on each role of each repository."""
    for role in roles:
        yield from both(f"{name}: {role}", lambda w, repo, role=role: do(w, repo, role), reason)


def roll_back(_: World, repo: FakeRepository, role: str) -> None:
    repo.publish(**{role: 1})


def expire(world: World, repo: FakeRepository, role: str) -> None:
    getattr(repo, role).expires = world.now + DAY
    if role == "root":
        repo.publish_root()
    repo.publish()
    world.now += 2 * DAY


def sign_by_a_stranger(_: World, repo: FakeRepository, role: str) -> None:
    if role == "root":
        repo.publish_root([new_key(), new_key()])
    else:
        repo.publish(keys={role: [new_key()]})


def leave_unsigned(_: World, repo: FakeRepository, role: str) -> None:
    if role == "root":
        repo.publish_root([])
    else:
        repo.publish(keys={role: []})


def change(role: str, edit: Callable[[dict[str, Any]], object]) -> Callable[[World, FakeRepository], object]:
    return lambda _, repo: repo.edit(role, edit)


def replace_file(role: str, data: bytes) -> Callable[[World, FakeRepository], object]:
    return lambda _, repo: repo.files.update({repo.name_of(role): data})


def double_signature(plain: dict[str, Any]) -> None:
    plain["signatures"] *= 2


def lie_about_version(_: World, repo: FakeRepository) -> None:
    """The snapshot is named 9 by its timestamp, and says 8 itself."""
    repo.snapshot.version = 8
    repo.seal()
    repo.timestamp.snapshot_meta.version = 9
    repo.files["9.snapshot.json"] = repo.files.pop("8.snapshot.json")
    repo.files["timestamp.json"] = signed(repo.timestamp, repo.signers["timestamp"])


def mix_targets(_: World, repo: FakeRepository) -> None:
    """The snapshot lists targets 9; the file of that name is of another version."""
    data = repo.files[repo.name_of("targets")]
    repo.snapshot.meta["targets.json"].version = 9
    repo.files["9.targets.json"] = data
    repo.seal()


def lie_about_hash(_: World, repo: FakeRepository) -> None:
    repo.snapshot.meta["targets.json"].hashes = {"sha256": "0" * 64}
    repo.seal()


def swap_snapshot(_: World, repo: FakeRepository) -> None:
    repo.snapshot.expires += DAY
    name = repo.name_of("snapshot")
    repo.files[name] = signed(repo.snapshot, repo.signers["snapshot"])


def drop_targets_from_snapshot(_: World, repo: FakeRepository) -> None:
    del repo.snapshot.meta["targets.json"]
    repo.seal()


def same_version_other_content(world: World, repo: FakeRepository) -> None:
    """What was shown as targets 3 first is another thing now."""
    world.show()
    world.check()
    repo.targets.unrecognized_fields["other"] = "content"
    repo.publish(targets=repo.targets.version)


def same_version_longer(world: World, repo: FakeRepository) -> None:
    world.show()
    world.check()
    repo.targets.expires += DAY
    repo.publish(targets=repo.targets.version)


def skip_a_root(_: World, repo: FakeRepository) -> None:
    """Root 3 names another timestamp key, and root 2 is not in the pack."""
    repo.publish_root()
    repo.rotate("timestamp")
    del repo.files["2.root.json"]
    repo.publish()


def root_by(which: Callable[[FakeRepository, list[Any]], list[Any]]) -> Callable[[World, FakeRepository], object]:
    """Replace the root's keys, and sign the new root by `which` of the old and new ones."""

    def act(_: World, repo: FakeRepository) -> None:
        old = repo.rotate("root")
        repo.files[f"{repo.root.version}.root.json"] = signed(repo.root, which(repo, old))

    return act


def double_a_key(_: World, repo: FakeRepository) -> None:
    """One timestamp key under two ids, two of two asked for: python-tuf alone would count it twice."""
    key = repo.signers["timestamp"][0].public_key
    repo.root.add_key(SSlibKey("another-id", key.keytype, key.scheme, dict(key.keyval)), "timestamp")
    repo.root.roles["timestamp"].threshold = 2
    repo.publish_root()
    twin = json.loads(signed(repo.timestamp, repo.signers["timestamp"]))
    twin["signatures"].append(twin["signatures"][0] | {"keyid": "another-id"})
    repo.files["timestamp.json"] = json.dumps(twin).encode()


def deep(levels: int) -> bytes:
    return b'{"signatures":[],"signed":' + b"[" * levels + b"]" * levels + b"}"


def pack_rows() -> Iterator[Row]:
    """What is no pack, whatever repository it claims to be of."""
    packs: tuple[tuple[str, Callable[[bytes], bytes], Reason], ...] = (
        ("garbage", lambda _: b"garbage", Reason.MALFORMED),
        ("a pack cut short", lambda data: data[: len(data) // 2], Reason.MALFORMED),
        ("a pack and more", lambda data: data + b"x", Reason.MALFORMED),
        ("an endless pack", lambda _: b"x" * (MAX_PACK_BYTES + 1), Reason.OVERSIZE),
        ("a pack that unpacks without end", lambda _: zlib.compress(bytes(MAX_PLAIN_BYTES + 1)), Reason.OVERSIZE),
        ("a list in place of files", lambda _: zlib.compress(b"[]"), Reason.MALFORMED),
        ("half a character", lambda _: zlib.compress(b'{"timestamp.json":"\\ud800"}'), Reason.MALFORMED),
        ("no files at all", lambda _: zlib.compress(b"{}"), Reason.INCONSISTENT),
        ("files by other names", lambda _: zlib.compress(b'{"../timestamp.json":"{}"}'), Reason.INCONSISTENT),
    )
    for name, make, reason in packs:
        for repository in (IMAGE, DIRECTOR):

            def act(world: World, repository: str = repository, make: Callable[[bytes], bytes] = make) -> None:
                world.give(2)
                world.show()
                world.state.keep_pack(repository, make(world.repository(repository).pack()))

            yield Row(f"{name} as {repository}", act, reason)


METADATA_ROWS = (
    *each(ONLINE, "rolled back", roll_back, Reason.ROLLED_BACK),
    *each(ROLES, "expired", expire, Reason.EXPIRED),
    *each(ROLES, "signed by a stranger", sign_by_a_stranger, Reason.BAD_SIGNATURE),
    *each(ROLES, "unsigned", leave_unsigned, Reason.BAD_SIGNATURE),
    *each(ONLINE, "missing", lambda _, repo, role: repo.files.pop(repo.name_of(role)), Reason.INCONSISTENT),
    *both("timestamp that is not JSON", replace_file("timestamp", b"{"), Reason.MALFORMED),
    *both("timestamp nested deeply", replace_file("timestamp", deep(5000)), Reason.MALFORMED),
    *both("endless timestamp", replace_file("timestamp", b" " * 20_000), Reason.OVERSIZE),
    *both("unknown specification", change("timestamp", lambda s: s.update(spec_version="2.0.0")), Reason.MALFORMED),
    *both("version 0", change("timestamp", lambda s: s.update(version=0)), Reason.MALFORMED),
    *both("version as text", change("timestamp", lambda s: s.update(version="9")), Reason.MALFORMED),
    *both("NaN", change("timestamp", lambda s: s.update(extra=float("nan"))), Reason.MALFORMED),
    *both("a fraction", change("timestamp", lambda s: s.update(extra=0.5)), Reason.MALFORMED),
    *both("no expiry", change("timestamp", lambda s: s.pop("expires")), Reason.MALFORMED),
    *both("expiry that is no time", change("timestamp", lambda s: s.update(expires="soon")), Reason.MALFORMED),
    *both("a role of another type", change("timestamp", lambda s: s.update(_type="root")), Reason.MALFORMED),
    *both("one changed byte", change("timestamp", lambda s: s.update(extra="x")), Reason.BAD_SIGNATURE),
    *both("one signature twice", lambda _, r: r.edit("timestamp", double_signature, signature=True), Reason.MALFORMED),
    *both("snapshot of another version than named", lie_about_version, Reason.INCONSISTENT),
    *both("snapshot of another hash than named", swap_snapshot, Reason.INCONSISTENT),
    *both("targets of another version than listed", mix_targets, Reason.INCONSISTENT),
    *both("targets of another hash than listed", lie_about_hash, Reason.INCONSISTENT),
    *both("targets that are not listed", drop_targets_from_snapshot, Reason.INCONSISTENT),
    *both("two contents of one version", same_version_other_content, Reason.INCONSISTENT),
    *both("one version for longer", same_version_longer, None),
    *both("a root left out", skip_a_root, Reason.BAD_SIGNATURE),
    *both("a root of a later version", lambda _, r: r.publish_root(version=3), Reason.INCONSISTENT),
    *both("a root of the same version", lambda _, r: r.publish_root(version=1), Reason.INCONSISTENT),
    *both("a root by 1 of 2", lambda _, r: r.publish_root(r.signers["root"][:1]), Reason.BAD_SIGNATURE),
    *both("a root by the old keys alone", root_by(lambda _, old: old), Reason.BAD_SIGNATURE),
    *both("a root by the new keys alone", root_by(lambda r, _: r.signers["root"]), Reason.BAD_SIGNATURE),
    *both("a root by old and new keys", root_by(lambda r, old: [*old, *r.signers["root"]]), None),
    *both("two roots at once", lambda _, r: [r.publish_root(), r.publish_root()], None),
    *both("one key under two ids", double_a_key, Reason.MALFORMED),
    *pack_rows(),
)
