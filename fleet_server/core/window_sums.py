"""Many windows added up without their inputs: what the evidence of a rollout needs of them, from their packed form.

House rules: of each row only its scalars and its end (outputs, latency) are kept while a run is read, so that a hundred
thousand rows take a few MiB; rows of one layout are added at once.
"""

import struct
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.contract.windows import LATENCY_BUCKETS
from fleet_server.core.canary_metrics import DeviceSums
from fleet_server.core.packed_counts import SCALARS, Layout, open_packed

# No window counts as much in truth; so sums never wrap, whatever a device claims.
_LARGEST = np.uint64(2**40)
_HELD = struct.Struct("<2dc")
_WIDTHS = (("H", 2**16), ("I", 2**32), ("Q", 2**64))


def add_up(rows: Iterable[tuple[int, bytes]]) -> dict[int, DeviceSums]:
    """Return the sums of each owner of these rows: pairs of an owner's number and counts as the database keeps them.

    Raises:
        UnreadableCountsError: a row is no counts at all.
    """
    runs: dict[int, tuple[Layout, list[int], list[bytes]]] = {}
    for owner, packed in rows:
        layout, body = open_packed(packed)
        _, owners, kept = runs.setdefault(id(layout), (layout, [], []))  # heads are read once, so that `is` will do
        owners.append(owner)
        kept.append(body[: SCALARS.size])
        kept.append(body[-_end_bytes(layout) :])
    found: dict[int, DeviceSums] = {}
    for layout, owners, kept in runs.values():
        for owner, sums in _add_run(layout, np.array(owners), b"".join(kept)):
            found[owner] = found[owner] + sums if owner in found else sums
    return found


def hold_sums(sums: DeviceSums) -> bytes:
    """Return sums as few bytes, a quarter of the object's, for as long as this process lives."""
    counts = (sums.rows, sums.errors, sums.rejected, sums.labels, sums.correct, *sums.latency, *sums.outputs)
    largest = max(counts)
    code = next(code for code, limit in _WIDTHS if largest < limit)
    return _HELD.pack(sums.memory_mb, sums.abs_error, code.encode()) + array(code, counts).tobytes()


def read_held(held: bytes) -> DeviceSums:
    """Return the sums that were held."""
    memory_mb, abs_error, code = _HELD.unpack_from(held)
    counts = tuple(array(code.decode(), held[_HELD.size :]))
    rows, errors, rejected, labels, correct = counts[:5]
    end = 5 + LATENCY_BUCKETS
    return DeviceSums(
        rows, errors, rejected, counts[end:], counts[5:end], memory_mb, labels, correct, abs_error
    )  # fmt: skip


def _end_bytes(layout: Layout) -> int:
    return (layout.shape.outputs + layout.shape.confidence + LATENCY_BUCKETS) * layout.rest_bytes


def _add_run(layout: Layout, owners: NDArray[np.intp], kept: bytes) -> Iterator[tuple[int, DeviceSums]]:
    read = np.frombuffer(kept, _record(layout))
    order = np.argsort(owners, kind="stable")
    found, starts = np.unique(owners[order], return_index=True)
    scalars, outputs, latency = (
        np.add.reduceat(np.minimum(read[name][order].astype(np.uint64), _LARGEST), starts, axis=0).tolist()
        for name in ("scalars", "outputs", "latency")
    )
    abs_error = np.add.reduceat(read["floats"][order, 0], starts).tolist()
    memory_mb = np.maximum.reduceat(read["floats"][order, 1], starts).tolist()
    for place, owner in enumerate(found.tolist()):
        rows, errors, rejected, labels, correct = scalars[place]
        answered, times = tuple(outputs[place]), tuple(latency[place])
        error = abs_error[place]
        yield owner, DeviceSums(rows, errors, rejected, answered, times, memory_mb[place], labels, correct, error)


def _record(layout: Layout) -> np.dtype[Any]:
    count = f"<u{layout.rest_bytes}"
    return np.dtype(
        [
            ("scalars", "<u8", (5,)),
            ("floats", "<f8", (2,)),
            ("outputs", count, (layout.shape.outputs,)),
            ("confidence", count, (layout.shape.confidence,)),
            ("latency", count, (LATENCY_BUCKETS,)),
        ]
    )
