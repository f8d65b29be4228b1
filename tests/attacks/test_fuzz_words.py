"""Every door on the wire: whatever comes, the documented error and no other, in bounded time and memory.

Messages are damaged where they are valid: a value anywhere is replaced, a byte anywhere is changed, the end is cut.
`EDGELOOP_FUZZ` multiplies the number of examples.
"""

import json
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.adapters.journal import Journal, JournalError
from edge_agent.adapters.spool import Spool
from edge_agent.contract import codec
from edge_agent.contract.artifacts import Parcel, parse_parcel
from edge_agent.contract.baseline import Baseline
from edge_agent.contract.card import VersionRecord
from edge_agent.contract.envelope import PayloadType, inflate, open_envelope
from edge_agent.contract.manifest import parse_manifest
from edge_agent.contract.topics import Topics
from edge_agent.contract.trust import MAX_PLAIN_BYTES, open_pack, seal_pack
from edge_agent.core import control
from edge_agent.core.spool_rules import Message, Priority
from edge_agent.core.update_machine import Update
from edge_agent.kernels import format as graphs
from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function
from fleet_server.broker.evidence import RejectedError, open_signed
from fleet_server.core.canary import Observed
from fleet_server.core.rollout_inputs import plain_inputs
from fleet_server.core.rollout_policy import parse_policy
from fleet_server.core.rollouts import Rollout, RolloutDevice, RolloutView
from tests.fakes.mqtt_devices import FakeDevice
from tests.fakes.words import WIRE_TYPES, words

FOLDER = Path(__file__).parents[1] / "vectors"
EXAMPLES = 25 * int(os.environ.get("EDGELOOP_FUZZ", "1"))
# Long values are among what is tried; how Hypothesis shows them is no matter of these tests.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")
FUZZ = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)

NASTY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, -(2**63), 10**400, 0, -1, 1e308, -0.0]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=50),
    st.sampled_from(["\ud800", "\x00", "../../x", "a" * 70_000, "{}", "1" * 5000]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
    st.sampled_from([[[]] * 3, {"a": {"b": {}}}, [[[[[[[[]]]]]]]]]),
)


def paths(plain: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all values in a document."""
    inner = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    return [here, *(path for key, value in inner for path in paths(value, (*here, key)))]


def replaced(plain: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of a document with another value in one place."""
    if not path:
        return value
    copied = dict(plain) if isinstance(plain, dict) else list(plain)
    copied[path[0]] = replaced(plain[path[0]], path[1:], value)
    return copied


@st.composite
def damaged(draw: st.DrawFn, cls: type) -> bytes:
    """The JSON of a valid value of a type, damaged."""
    plain = codec.to_plain(draw(words(cls)))
    data = json.dumps(replaced(plain, draw(st.sampled_from(paths(plain))), draw(NASTY))).encode()
    return draw(st.sampled_from([data, data + b"}", b"\xef\xbb\xbf" + data, data.decode().encode("utf-16")]))


def garbled(valid: bytes) -> st.SearchStrategy[bytes]:
    """Some valid bytes with a few changed, cut, doubled; or any bytes at all."""
    place = st.integers(0, max(0, len(valid) - 1))
    return st.one_of(
        st.binary(max_size=400),
        place.map(lambda at: valid[:at]),
        st.tuples(place, st.integers(0, 255)).map(lambda got: valid[: got[0]] + bytes([got[1]]) + valid[got[0] + 1 :]),
        st.tuples(place, place).map(lambda got: valid[: got[0]] + valid[got[1] :]),
    )


def only(error: type[Exception], read: Callable[[], Any]) -> None:
    """Reading gives a value, or this error and no other."""
    try:
        read()
    except error as found:
        told = str(found)
    else:
        return
    assert 0 < len(told) < 20_000


@pytest.mark.parametrize("cls", WIRE_TYPES, ids=lambda cls: cls.__name__)
def test_damaged_messages(cls: type) -> None:
    @FUZZ
    @given(damaged(cls))
    def check(data: bytes) -> None:
        only(codec.MalformedError, lambda: codec.encode(codec.decode(cls, data)))

    check()


@pytest.mark.parametrize("depth", [1000, 100_000])
@pytest.mark.parametrize("cls", [Baseline, Parcel, VersionRecord], ids=lambda cls: cls.__name__)
def test_deep_nesting(cls: type, depth: int) -> None:
    for opening in (b"[", b'{"a":'):
        with pytest.raises(codec.MalformedError):
            codec.decode(cls, opening * depth)


@pytest.mark.parametrize("kind", [control.Load, control.Beat, control.WindowClosed], ids=lambda cls: cls.__name__)
def test_damaged_control_lines(kind: type) -> None:
    @FUZZ
    @given(words(kind).flatmap(lambda value: garbled(control.write_line(value))))
    def check(line: bytes) -> None:
        only(codec.MalformedError, lambda: control.read_line(line))

    check()


@FUZZ
@given(st.recursive(NASTY, lambda inner: st.dictionaries(st.sampled_from(["kind", "body"]), inner)).map(json.dumps))
def test_control_lines_of_any_json(line: str) -> None:
    only(codec.MalformedError, lambda: control.read_line(line.encode("utf-8", "surrogatepass")))


SEALED = FakeDevice("pi-1").seal(FakeDevice("pi-1").report(1))


@FUZZ
@given(garbled(SEALED))
def test_garbled_envelopes(data: bytes) -> None:
    key = FakeDevice("pi-1").public_key
    only(codec.MalformedError, lambda: open_envelope(data, PayloadType.REPORTED).content)
    kind = type(FakeDevice("pi-1").report(1))
    only(RejectedError, lambda: open_signed(kind, PayloadType.REPORTED, data, "pi-1", key))


PACK = seal_pack({"1.root.json": b'{"signed":{}}', "timestamp.json": b"{}"})


@FUZZ
@given(
    st.one_of(garbled(PACK), st.recursive(NASTY, st.lists).map(lambda plain: zlib.compress(json.dumps(plain).encode())))
)
def test_garbled_packs(data: bytes) -> None:
    only(codec.MalformedError, lambda: open_pack(data))


def test_every_truncated_pack_and_a_bomb() -> None:
    for length in range(len(PACK)):
        with pytest.raises(codec.MalformedError):
            open_pack(PACK[:length])
    bomb = zlib.compress(b'"' + b"a" * (4 * MAX_PLAIN_BYTES) + b'"', 9)
    for read in (open_pack, inflate):
        with pytest.raises(codec.MalformedError):
            read(bomb)


def small_graph() -> bytes:
    b = Builder(2)
    return graphs.encode(b.build(b.apply(b.dense(0, np.ones((2, 3)), 0.0), Function.TANH)))


@FUZZ
@given(garbled(small_graph()))
def test_garbled_graphs(data: bytes) -> None:
    only(graphs.FormatError, lambda: graphs.decode(data))


MANIFEST = json.loads((FOLDER / "manifest.json").read_text())[0]["wire"].encode()
PARCEL = json.loads((FOLDER / "parcel.json").read_text())[0]["wire"].encode()


@FUZZ
@given(garbled(MANIFEST), garbled(PARCEL))
def test_garbled_manifests_and_parcels(manifest: bytes, parcel: bytes) -> None:
    only(codec.MalformedError, lambda: parse_manifest(manifest))
    only(codec.MalformedError, lambda: parse_parcel(parcel))


@FUZZ
@given(
    st.text(max_size=200)
    | st.sampled_from(["edgeloop/v1/d/pi-1/up/status"])
    .flatmap(lambda t: garbled(t.encode()))
    .map(lambda b: b.decode("latin-1"))
)
def test_any_topic(topic: str) -> None:
    only(ValueError, lambda: Topics().parse_up(topic))
    only(ValueError, lambda: Topics().parse_digest(topic))


@FUZZ
@given(garbled(codec.encode(Update())))
def test_a_journal_whose_row_is_garbage(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    path = tmp_path_factory.mktemp("journal") / "agent.db"
    with Journal.open(path) as journal:
        journal.save(Update())
        journal._db.execute("UPDATE update_row SET body = ?", (body,))
    with Journal.open(path) as journal:
        assert journal.rebuilt
        assert journal.load() == Update()


@settings(FUZZ, max_examples=EXAMPLES // 2)
@given(st.binary(max_size=5000), st.integers(0, 5000))
def test_a_journal_and_a_spool_of_garbage(tmp_path_factory: pytest.TempPathFactory, garbage: bytes, place: int) -> None:
    """A journal is refused or read; telemetry must not stop the device, so a spool is made anew."""
    folder = tmp_path_factory.mktemp("state")
    with Journal.open(folder / "agent.db") as journal:
        journal.save(Update())
    with Spool.open(folder / "spool.db", 1) as spool:
        spool.put(Message("t", b"p", Priority.EVENT, 60))
    for name in ("agent.db", "spool.db"):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:place] + garbage + data[place + len(garbage) :])
    with suppress(JournalError), Journal.open(folder / "agent.db"):
        pass
    with Spool.open(folder / "spool.db", 1) as spool:
        spool.put(Message("t", b"p", Priority.EVENT, 60))


def test_inputs_of_a_decision_are_small() -> None:
    members = tuple(RolloutDevice(f"device-{number:05}", 1) for number in range(10_000))
    rollout = Rollout("ro-1", "digits", 1, "all", parse_policy({"phases": ["100%"]}))
    assert len(json.dumps(plain_inputs(RolloutView(rollout, members), 0.0, Observed()))) < 200_000
