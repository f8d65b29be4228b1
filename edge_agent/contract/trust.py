"""The trust chain on the wire: packs of TUF metadata, names of targets, and what both repositories say of a bundle.

House rules: a pack is only a carrier and is itself untrusted; every file in it is verified by The Update Framework's
client workflow. One pack for each repository, because topics have no 404 and no atomicity. A target is a bundle's
manifest, so its SHA-256 is the bundle's digest. Source: TUF specification 1.0.34; Uptane standard 2.1.0 (image and
director repository, and the device's id and class inside of what the director signs).
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from edge_agent.contract import codec
from edge_agent.contract.manifest import Runtime
from edge_agent.contract.messages import AgentSettings, Soak
from edge_agent.contract.topics import check_device_id, check_digest, check_name

IMAGE = "image"
DIRECTOR = "director"
ANY_HARDWARE = "any"
AUTO = "auto"
# The field of a director's signed targets that holds a `DirectorNote`: the specification lets repositories add fields.
NOTE = "edgeloop"

MAX_PACK_BYTES = 512 * 1024
MAX_PLAIN_BYTES = 8 * 1024 * 1024
_LEVEL = 9
_N = TypeVar("_N")


class OversizeError(codec.MalformedError):
    """A pack is over the limits, packed or unpacked."""


@dataclass(frozen=True, slots=True)
class ReleaseNote:
    """What the image repository says of a bundle (a target's `custom`): what it is, and for which classes of boards.

    `hardware` holds names of profiles, or `any`.
    """

    model: str
    version: int
    variant: str
    runtime: Runtime
    hardware: tuple[str, ...] = (ANY_HARDWARE,)

    def __post_init__(self) -> None:
        check_name(self.model)
        check_name(self.variant)
        for name in self.hardware:
            check_name(name)


@dataclass(frozen=True, slots=True)
class OrderNote:
    """What the director says of a bundle besides the same facts (a target's `custom`): how it reaches this device.

    `hardware` is the class of board that the director takes the device for.
    """

    model: str
    version: int
    variant: str
    runtime: Runtime
    hardware: str
    parcel: str
    cohort: str
    size: int
    memory_mb: float
    threshold: float | None = None

    def __post_init__(self) -> None:
        for name in (self.model, self.variant, self.hardware, self.cohort):
            check_name(name)
        check_digest(self.parcel)


@dataclass(frozen=True, slots=True)
class DirectorNote:
    """What the director signs besides its targets: for which device, when (epoch ms), and how it is to run them."""

    device: str
    ts: int
    soak: Soak = field(default_factory=Soak)
    settings: AgentSettings = field(default_factory=AgentSettings)

    def __post_init__(self) -> None:
        check_device_id(self.device)


def note_plain(note: "ReleaseNote | OrderNote | DirectorNote") -> dict[str, Any]:
    """Return a note as metadata carries it: canonical JSON, which is what is signed, has no fractions: they are texts.

    Source: OLPC Canonical JSON, which TUF metadata is signed in.
    """
    plain: dict[str, Any] = _texts(codec.to_plain(note))
    return plain


def read_note(cls: type[_N], plain: Any) -> _N:
    """Return a note of signed metadata.

    Raises:
        codec.MalformedError: it is not of the form of `cls`.
    """
    return codec.from_plain(cls, _numbers(cls, plain))


def _texts(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {key: _texts(value) for key, value in plain.items()}
    return repr(plain) if isinstance(plain, float) else plain


def _numbers(cls: Any, plain: Any) -> Any:
    """Return `plain` with numbers in place of texts, where a field of `cls` is a fraction."""
    if not is_dataclass(cls) or not isinstance(plain, dict):
        return plain
    hints = get_type_hints(cls)
    kinds = {item.name: hints[item.name] for item in fields(cls)}
    return {key: _number(kinds.get(key), value) for key, value in plain.items()}


def _number(kind: Any, value: Any) -> Any:
    if isinstance(value, str) and (kind is float or float in get_args(kind)):
        try:
            return float(value)
        except ValueError:
            return value  # the codec says what is wrong with it
    return _numbers(kind, value)


def target_name(model: str, version: int, variant: str, *, auto: bool = False) -> str:
    """Return the name of a bundle's target; `auto` is of what automatic retraining made, under its own delegation."""
    plain = f"{check_name(model)}/{version}/{check_name(variant)}"
    return f"{AUTO}/{plain}" if auto else plain


def auto_role(model: str) -> str:
    """Return the delegated role that signs what automatic retraining makes of a model."""
    return f"{AUTO}/{check_name(model)}"


def auto_paths(model: str) -> str:
    """Return the pattern of the target names that `auto_role` may sign (one level a segment, as TUF matches)."""
    return f"{AUTO}/{check_name(model)}/*/*"


def seal_pack(files: Mapping[str, bytes]) -> bytes:
    """Return metadata files, by the names that TUF gives them (`1.root.json`, `timestamp.json`), as one payload.

    Raises:
        OversizeError: it is larger than devices take.
    """
    plain = json.dumps({name: data.decode() for name, data in sorted(files.items())}, separators=(",", ":")).encode()
    packed = zlib.compress(plain, _LEVEL)
    if len(packed) > MAX_PACK_BYTES or len(plain) > MAX_PLAIN_BYTES:
        raise OversizeError(
            f"a pack of {len(packed)} bytes ({len(plain)} unpacked) is over the {MAX_PACK_BYTES} ({MAX_PLAIN_BYTES}) "
            "that devices take: yank versions that nothing runs"
        )
    return packed


def open_pack(packed: bytes) -> dict[str, bytes]:
    """Return the files of a pack by name; bounded before a byte is trusted.

    Raises:
        OversizeError: over the limits.
        codec.MalformedError: no pack, or cut short.
    """
    if len(packed) > MAX_PACK_BYTES:
        raise OversizeError(f"pack: {len(packed)} bytes are over the limit of {MAX_PACK_BYTES}")
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(packed, MAX_PLAIN_BYTES)
    except zlib.error as error:
        raise codec.MalformedError(f"pack: not zlib: {error}") from error
    if len(plain) >= MAX_PLAIN_BYTES and not stream.eof:
        raise OversizeError(f"pack: over {MAX_PLAIN_BYTES} bytes unpacked")
    if not stream.eof or stream.unused_data:
        raise codec.MalformedError("pack: cut short, or followed by more")
    try:
        found = json.loads(plain)
    except (ValueError, RecursionError) as error:
        raise codec.MalformedError(f"pack: not JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise codec.MalformedError("pack: not an object of texts")
    try:
        return {name: text.encode() for name, text in found.items()}
    except UnicodeEncodeError as error:
        raise codec.MalformedError(f"pack: not Unicode: {error}") from error


def claimed_version(packed: bytes) -> int:
    """Return the version of a pack's timestamp as it says itself, -1 where it says none; nothing of it is verified."""
    try:
        version = json.loads(open_pack(packed)["timestamp.json"])["signed"]["version"]
    except (codec.MalformedError, ValueError, KeyError, TypeError, RecursionError):
        return -1
    return version if isinstance(version, int) else -1
