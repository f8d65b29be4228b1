"""Wire examples of devices in the field: append-only. What decoded once decodes to the same values for ever.

A vector is never changed; a field that is added to a message gets a default, and new vectors that hold it.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from edge_agent.contract import codec
from edge_agent.contract.artifacts import sha256
from edge_agent.contract.envelope import PayloadType, inflate, open_envelope, pre_authentication_encoding
from edge_agent.contract.feedback import FeedbackRows
from edge_agent.contract.messages import Desired, Event, Reported
from edge_agent.contract.window_packing import unpack_window
from edge_agent.contract.windows import Window
from tests.fakes.words import WIRE_TYPES

FOLDER = Path(__file__).parents[2] / "vectors"
SIGNED = {
    PayloadType.DESIRED: Desired,
    PayloadType.REPORTED: Reported,
    PayloadType.EVENT: Event,
    PayloadType.WINDOW: Window,
    PayloadType.FEEDBACK: FeedbackRows,
}


def file_of(cls: type) -> Path:
    """The vectors of a type: its name in snake case."""
    return FOLDER / (re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower() + ".json")


PLAIN = [
    (cls, case)
    for cls in WIRE_TYPES
    if file_of(cls).stem not in ("envelope", "profile")
    for case in json.loads(file_of(cls).read_text())
]
SEALED = json.loads((FOLDER / "envelope.json").read_text())


def content_of(kind: PayloadType, content: bytes) -> Any:
    """What a signed payload says."""
    if kind is PayloadType.PACKED_WINDOW:
        return unpack_window(content)
    return codec.decode(SIGNED[kind], inflate(content) if kind.endswith("+zlib") else content)


def covers(found: Any, wanted: Any) -> bool:
    """Whether `found` holds all of `wanted`; fields that came later may be more."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(key in found and covers(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(covers, found, wanted))
    return bool(found == wanted and type(found) is type(wanted))


@pytest.mark.parametrize(("cls", "case"), PLAIN, ids=[f"{cls.__name__}: {case['about']}" for cls, case in PLAIN])
def test_an_old_message_means_what_it_meant(cls: type, case: dict[str, Any]) -> None:
    """Every recorded value comes out, in the type it had."""
    assert covers(codec.to_plain(codec.decode(cls, case["wire"])), case["value"])


@pytest.mark.parametrize(("cls", "case"), PLAIN, ids=[f"{cls.__name__}: {case['about']}" for cls, case in PLAIN])
def test_no_truncated_message_is_taken(cls: type, case: dict[str, Any]) -> None:
    """Each prefix of each vector is refused."""
    wire = case["wire"].encode()
    for length in range(len(wire)):
        with pytest.raises(codec.MalformedError):
            codec.decode(cls, wire[:length])


@pytest.mark.parametrize("case", SEALED, ids=[case["about"] for case in SEALED])
def test_an_old_signature_still_holds(case: dict[str, Any]) -> None:
    """Encoding, key and payload are as they were; one changed bit anywhere in the payload breaks it."""
    kind = PayloadType(case["type"])
    opened = open_envelope(case["wire"].encode(), kind)
    key = bytes.fromhex(case["public_key"])
    assert opened.signatures[0].keyid == sha256(key)[:16]
    VerifyKey(key).verify(pre_authentication_encoding(kind, opened.content), opened.signatures[0].raw)
    assert covers(codec.to_plain(content_of(kind, opened.content)), case["value"])
    for place in (0, len(opened.content) // 2, len(opened.content) - 1):
        changed = bytearray(opened.content)
        changed[place] ^= 1
        with pytest.raises(BadSignatureError):
            VerifyKey(key).verify(pre_authentication_encoding(kind, bytes(changed)), opened.signatures[0].raw)


@pytest.mark.parametrize("case", SEALED, ids=[case["about"] for case in SEALED])
def test_no_truncated_envelope_is_taken(case: dict[str, Any]) -> None:
    """Each prefix of each signed vector is refused."""
    wire = case["wire"].encode()
    for length in range(len(wire)):
        with pytest.raises(codec.MalformedError):
            open_envelope(wire[:length], PayloadType(case["type"]))
