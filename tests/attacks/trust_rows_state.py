"""Attacks on time and on what the device keeps, and how versions that ran ahead are got rid of; as `trust_rows`."""

import datetime as dt
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_agent.contract.states import Reason
from edge_agent.contract.trust import DIRECTOR, IMAGE
from tests.attacks.trust_rows import DAY, FAR_FORWARD, ONLINE, Row
from tests.fakes.trust_repository import new_key
from tests.fakes.trust_world import MONTH, NOW, World

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
DECADE = dt.timedelta(days=3653)
CACHED = ("root.json", "root_history/1.root.json", "timestamp.json", "snapshot.json", "targets.json")
Act = Callable[[World], object]


def move_on(world: World, days: int = 0) -> None:
    """The device takes an honest order 3, some days later."""
    world.now += days * DAY
    world.give(2)
    world.show()
    assert world.check().held.refused is None


def spoil(path: Path, how: str) -> None:
    data = path.read_bytes()
    match how:
        case "truncated":
            path.write_bytes(data[: len(data) // 2])
        case "garbled":
            path.write_bytes(bytes(byte ^ 0x15 for byte in data))
        case _:
            path.unlink()


def cache(repository: str, file: str, how: str, then: Act) -> Act:
    def act(world: World) -> None:
        move_on(world)
        spoil(world.folder / "trust" / repository / file, how)
        then(world)

    return act


def lose(*names: str, then: Act) -> Act:
    """Files or folders of the state folder are lost after order 3."""

    def act(world: World) -> None:
        move_on(world)
        for name in names:
            path = world.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        then(world)

    return act


def replay(world: World) -> None:
    world.replay()


def go_on(world: World) -> None:
    world.give(3)
    world.show()


def spoil_database(how: str, then: Act) -> Act:
    def act(world: World) -> None:
        move_on(world)
        spoil(world.folder / "trust.db", how)
        then(world)

    return act


def with_journal(act: Act, seq: int = 3) -> Act:
    def both(world: World) -> None:
        act(world)
        world.seq_floor = seq

    return both


def clock(at: dt.datetime, *, days: int = 0, ts: dt.datetime | None = None) -> Act:
    """An honest order, looked at with another clock; before it one was taken `days` later than the first."""

    def act(world: World) -> None:
        if days:
            move_on(world, days)
        world.give(3, ts=ts)
        world.show()
        world.now = at

    return act


def back_and_forth(world: World) -> None:
    """A clock that ran ten years ahead, and then ten back, refused what it saw and leaves nothing behind."""
    world.give(2)
    world.show()
    for at, reason in (
        (NOW + DECADE, Reason.EXPIRED),
        (EPOCH, None),
        (NOW - DECADE, None),
        (NOW + DECADE, Reason.EXPIRED),
    ):
        assert world.check(at).held.refused == reason


def old_but_consistent(world: World) -> None:
    """A board that boots in 1970 is shown what expired long before the last order that it took."""
    move_on(world, days=20)
    for repo in (world.image, world.director):
        for part in (repo.timestamp, repo.snapshot, repo.targets):
            part.expires = NOW + 10 * DAY
    world.give(3, ts=NOW)
    world.show()
    world.now = EPOCH


def run_ahead(repository: str, role: str) -> Act:
    """Whoever holds a role's key drives up its version; the device takes it, since it is signed."""

    def act(world: World) -> None:
        world.give(2)
        world.repository(repository).publish(**{role: FAR_FORWARD})
        world.show()
        assert world.check().held.refused is None

    return act


def honest_again(repository: str, role: str, then: Act) -> Act:
    """After that comes an honest version, with whatever `then` does to the keys before."""

    def act(world: World) -> None:
        run_ahead(repository, role)(world)
        then(world)
        world.repository(repository).publish(**{role: 9})
        world.order(2) if repository == IMAGE else None
        world.show()

    return act


def rotate(repository: str, role: str) -> Act:
    return lambda world: world.repository(repository).rotate(role)


def add_key(repository: str, role: str) -> Act:
    """A second key beside the stolen one, which could sign as before."""

    def act(world: World) -> None:
        repo, key = world.repository(repository), new_key()
        repo.root.add_key(key.public_key, role)
        repo.publish_root()

    return act


def forget_new_root(world: World) -> None:
    """Root 2 was seen; then it is lost here, and the pack ends at root 1."""
    world.director.publish_root()
    move_on(world)
    shutil.rmtree(world.folder / "trust" / DIRECTOR)
    del world.director.files["2.root.json"]
    world.give(3)
    world.show()


def keep_new_root(world: World) -> None:
    """Root 2 was seen, and the pack ends at root 1: what is kept goes on from root 2."""
    world.director.publish_root()
    move_on(world)
    world.give(3)
    del world.director.files["2.root.json"]
    world.show()


def rows() -> Iterator[Row]:
    for repository in (IMAGE, DIRECTOR):
        yield Row(
            f"the {repository} pack of before", lambda w, r=repository: (move_on(w), w.replay(r)), Reason.ROLLED_BACK
        )
        for file in CACHED:
            for how in ("truncated", "garbled", "deleted"):
                act = cache(repository, file, how, replay)
                yield Row(f"replay over {how} {repository}/{file}", act, Reason.ROLLED_BACK)
            act = cache(repository, file, "garbled", go_on)
            yield Row(f"an honest order over garbled {repository}/{file}", act, None)
        for role in ONLINE:
            act = honest_again(repository, role, lambda _: None)
            yield Row(f"{repository} {role} that ran ahead", act, Reason.ROLLED_BACK, heals=False)
            act = honest_again(repository, role, rotate(repository, role))
            yield Row(f"{repository} {role} that ran ahead, with new keys", act, None)
            act = honest_again(repository, role, add_key(repository, role))
            yield Row(f"{repository} {role} that ran ahead, with one more key", act, Reason.ROLLED_BACK, heals=False)
    for how in ("truncated", "garbled", "deleted"):
        yield Row(f"replay over a {how} trust.db", spoil_database(how, replay), Reason.ROLLED_BACK)
        yield Row(f"an honest order over a {how} trust.db", spoil_database(how, go_on), None)


STATE_ROWS = (
    *rows(),
    Row("both packs of before", lambda w: (move_on(w), w.replay()), Reason.ROLLED_BACK),
    Row("the same packs again", lambda w: (move_on(w), w.check()), None),
    Row(
        "replay after the loss of all kept metadata",
        lose("trust/image", "trust/director", then=replay),
        Reason.ROLLED_BACK,
    ),
    Row(
        "replay after all was lost but the journal",
        with_journal(lose("trust.db", "trust/image", "trust/director", then=replay)),
        Reason.ROLLED_BACK,
    ),
    Row(
        "an honest order after all was lost but the journal",
        with_journal(lose("trust.db", "trust/image", "trust/director", then=go_on)),
        None,
    ),
    Row(
        "an old order after the loss of everything",
        lose("trust.db", "trust/image", "trust/director", then=replay),
        None,
    ),
    Row("no pinned roots", lose("trust/pinned", then=go_on), Reason.BAD_SIGNATURE, heals=False),
    Row("a root forgotten here and there", forget_new_root, Reason.ROLLED_BACK, heals=False),
    Row("a root that the pack left out", keep_new_root, None),
    Row("a clock in 1970", clock(EPOCH), None),
    Row("a clock ten years ahead", clock(NOW + DECADE), Reason.EXPIRED),
    Row("a clock that jumps", back_and_forth, None),
    Row("a clock in 1970 and old metadata", old_but_consistent, Reason.EXPIRED),
    Row("a frozen server", clock(NOW + MONTH + DAY), Reason.EXPIRED),
    Row(
        "an order that was signed in the year 9999",
        clock(NOW, ts=dt.datetime(9999, 1, 1, tzinfo=dt.UTC)),
        Reason.EXPIRED,
    ),
    Row("an order that was signed before 1970", clock(NOW, ts=EPOCH - DAY), None),
)
