"""Attacks on what is ordered and released, by whoever holds some of the keys; as data, like `trust_rows`."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from tuf.api.metadata import Targets

from edge_agent.contract.states import Reason
from edge_agent.contract.trust import NOTE, auto_role, target_name
from tests.attacks.trust_rows import DAY, Row
from tests.fakes.trust_repository import FakeRepository, new_key, order, put, release
from tests.fakes.trust_world import BOARD, World, bundle

NAME = target_name("digits", 2, "onnx-fp32")


def differ(change: Callable[[Any], object]) -> Callable[[World], None]:
    """The director names the released target, and says something else of it."""

    def act(world: World) -> None:
        world.give(2)
        change(world.director.targets.targets[NAME])
        world.director.publish()
        world.show()

    return act


def custom(**fields: Any) -> Callable[[World], None]:
    return differ(lambda target: target.custom.update(fields))


def noted(change: Callable[[dict[str, Any]], object]) -> Callable[[World], None]:
    """The director's note says something else."""

    def act(world: World) -> None:
        world.give(2)
        change(world.director.targets.unrecognized_fields)
        world.director.publish()
        world.show()

    return act


def released_for(*hardware: str) -> Callable[[World], None]:
    def act(world: World) -> None:
        put(world.image.targets, release(bundle(2), hardware=hardware))
        world.image.publish()
        world.order(2)
        world.show()

    return act


def order_unreleased(world: World) -> None:
    """A stolen director key: it can sign any order, and nothing that is not released is installed."""
    world.order(7)
    world.show()


def order_far_forward(world: World) -> None:
    """A stolen director key drives up its versions, with an order that nobody can follow."""
    world.order(7)
    world.director.publish(targets=2**31, snapshot=2**31, timestamp=2**31)
    world.show()


def order_yanked(world: World) -> None:
    world.give(2)
    del world.image.targets.targets[NAME]
    world.image.publish()
    world.show()


def undo_a_yank(world: World) -> None:
    """The yank came, and its order was refused; then the image repository of before comes again."""
    world.give(2)
    world.image.publish()
    before = world.image.pack()
    order_yanked(world)
    world.check()
    world.state.keep_pack("image", before)


def release_alone(world: World) -> None:
    """A stolen release key: what nobody orders is not installed; the order of before is followed."""
    put(world.image.targets, release(bundle(8)))
    world.image.publish()
    world.show()


def release_other_bytes(world: World) -> None:
    """A stolen release key: other bytes under the name that is ordered."""
    put(world.image.targets, release(dataclasses.replace(bundle(1), digest="f" * 64)))
    world.image.publish()
    world.show()


def order_twice(world: World) -> None:
    """Two versions of one model."""
    world.give(2)
    put(world.director.targets, order(bundle(1)))
    world.director.publish()
    world.show()


def order_delegated(world: World) -> None:
    """The order of a version whose bytes are in a delegated role of the director: it has no such roles."""
    world.give(2)
    held = world.director.delegate("digits")
    put(held, *world.director.targets.targets.values())
    world.director.targets.targets = {}
    world.director.publish()
    world.show()


def auto(
    sign: Callable[[FakeRepository, Targets], object] = lambda _repo, held: put(held, release(bundle(2), auto=True)),
    *,
    model: str = "digits",
    paths: list[str] | None = None,
) -> Callable[[World], None]:
    """Automatic retraining released version 2, and the director orders it."""

    def act(world: World) -> None:
        held = world.image.delegate(model, paths)
        sign(world.image, held)
        world.image.publish()
        world.note()
        put(world.director.targets, order(bundle(2), hardware=BOARD, auto=True))
        world.director.publish()
        world.show()

    return act


def after(first: Callable[[World], object], then: Callable[[World], object]) -> Callable[[World], None]:
    def act(world: World) -> None:
        first(world)
        assert world.check().held.refused is None
        then(world)
        world.image.publish()
        world.director.publish()
        world.show()

    return act


def at_the_top(repo: FakeRepository, _: Targets) -> None:
    put(repo.targets, release(bundle(2), auto=True))


def outside_of_its_path(world: World) -> None:
    """The automatic key signs a plain name, as if people had released it."""
    put(world.image.delegate("digits"), release(bundle(2)))
    world.image.publish()
    world.order(2)
    world.show()


def revoke(world: World) -> None:
    delegations = world.image.targets.delegations
    assert delegations is not None
    assert delegations.roles is not None
    del delegations.roles[auto_role("digits")], world.image.delegated[auto_role("digits")]


def age(world: World) -> None:
    world.image.delegated[auto_role("digits")].version = 1


def ripen(_: FakeRepository, held: Targets) -> None:
    put(held, release(bundle(2), auto=True))
    held.version = 5


def expire(world: World) -> None:
    world.image.delegated[auto_role("digits")].expires = world.now + DAY
    world.now += 2 * DAY


def forge(world: World) -> None:
    world.image.delegated[auto_role("digits")].version += 1
    world.image.signers[auto_role("digits")] = [new_key()]


def without(what: str) -> Callable[[World], None]:
    """The delegated role is missing, in the pack or in the snapshot."""

    def act(world: World) -> None:
        auto()(world)
        role = auto_role("digits")
        if what == "file":
            del world.image.files[world.image.name_of(role)]
        else:
            del world.image.snapshot.meta[f"{role}.json"]
            world.image.seal()
        world.show()

    return act


def _rows() -> Iterator[Row]:
    differences: dict[str, Callable[[World], None]] = {
        "length": differ(lambda target: setattr(target, "length", 101)),
        "hash": differ(lambda target: target.hashes.update(sha256="e" * 64)),
        "kind of hash": differ(lambda target: setattr(target, "hashes", {"sha512": "e" * 128})),
        "model": custom(model="wine"),
        "version": custom(version=3),
        "variant": custom(variant="onnx-int8"),
        "runtime": custom(runtime="tflite"),
    }
    for what, act in differences.items():
        yield Row(f"another {what} than released", act, Reason.INCONSISTENT)
    for what, act in {
        "no note of a target": differ(lambda target: target.unrecognized_fields.clear()),
        "a target's note that is none": differ(lambda target: target.unrecognized_fields.update(custom=[])),
        "a threshold that is no number": custom(threshold="nan"),
        "memory that is no number": custom(memory_mb="much"),
        "a parcel that is no digest": custom(parcel="../../etc/passwd"),
        "a cohort that is a wildcard": custom(cohort="#"),
        "a model in other letters": custom(model="\uff44igits"),
        "a variant that is a path": custom(variant="../onnx"),
        "a runtime that nobody knows": custom(runtime="shell"),
        "no note of the director": noted(lambda fields: fields.pop(NOTE)),
        "a director's note that is none": noted(lambda fields: fields.update({NOTE: "x"})),
        "a soak without sense": noted(lambda fields: fields[NOTE]["soak"].update(min_s="99.0")),
        "a time that is no number": noted(lambda fields: fields[NOTE].update(ts="now")),
        "a device that is a wildcard": noted(lambda fields: fields[NOTE].update(device="+")),
        "two versions of one model": order_twice,
    }.items():
        yield Row(what, act, Reason.MALFORMED)
    for device in ("pi-2", "pi-11", "pi"):
        yield Row(
            f"the order of {device}",
            lambda w, device=device: (w.give(2), w.order(2, device=device), w.show()),
            Reason.WRONG_DEVICE,
        )
    yield Row("a device in other letters", noted(lambda f: f[NOTE].update(device="p\u0456-1")), Reason.MALFORMED)


ORDER_ROWS = (
    *_rows(),
    Row("a stolen director key orders the unreleased", order_unreleased, Reason.NOT_RELEASED),
    Row("a stolen director key drives up its versions", order_far_forward, Reason.NOT_RELEASED),
    Row("the order of what was yanked", order_yanked, Reason.NOT_RELEASED),
    Row("a yank undone by the image pack of before", undo_a_yank, Reason.ROLLED_BACK),
    Row("a stolen release key alone", release_alone, None),
    Row("a stolen release key and other bytes", release_other_bytes, Reason.INCONSISTENT),
    Row("an order below a delegation of the director", order_delegated, None),
    Row("an order for another class of board", custom(hardware="pi4"), Reason.WRONG_HARDWARE),
    Row("released for another class of board", released_for("pi4", "pi5"), Reason.WRONG_HARDWARE),
    Row("released for no board", released_for(), Reason.WRONG_HARDWARE),
    Row("released for this class among others", released_for("pi4", BOARD), None),
    Row("the empty order", lambda w: (w.give(2), w.note(), w.director.publish(), w.show()), None),
    Row("an older bundle by a newer order", lambda w: (w.give(2), w.show(), w.check(), w.order(1), w.show()), None),
    Row("automatic retraining within its delegation", auto(), None),
    Row("automatic names at the top level", auto(at_the_top), Reason.NOT_RELEASED),
    Row("automatic names by another model's role", auto(model="wine", paths=["auto/*/*/*"]), Reason.NOT_RELEASED),
    Row("an automatic role that covers other paths", auto(paths=["auto/wine/*/*"]), Reason.NOT_RELEASED),
    Row("an automatic role that covers deeper paths", auto(paths=["auto/digits/*"]), Reason.NOT_RELEASED),
    Row("an automatic role outside of its path", outside_of_its_path, Reason.NOT_RELEASED),
    Row("an automatic role that was revoked", after(auto(), revoke), Reason.NOT_RELEASED),
    Row("an automatic role rolled back", after(auto(ripen), age), Reason.ROLLED_BACK),
    Row("an automatic role that expired", after(auto(), expire), Reason.EXPIRED),
    Row("an automatic role signed by a stranger", after(auto(), forge), Reason.BAD_SIGNATURE),
    Row("an automatic role that is not in the pack", without("file"), Reason.INCONSISTENT),
    Row("an automatic role that the snapshot left out", without("entry"), Reason.INCONSISTENT),
)
