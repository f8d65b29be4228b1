"""New windows of one bundle, judged device by device: what was known of the devices becomes what is known now.

House rules: a device's windows are taken in their order; the k-th windows of all devices are judged at once. Windows of
too few rows are merged until they are a look. A device that changes to another bundle of its version learns anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.contract.windows import merge
from fleet_server.core.count_arrays import CountArrays, read_arrays
from fleet_server.core.drift_devices import DeviceLooks, judge_devices
from fleet_server.core.drift_findings import describe
from fleet_server.core.drift_machine import DriftState, Look, add_look, confirmed_columns, next_state, weigh
from fleet_server.core.drift_memory import Memory, deviations, learn, new_memory, pack_memory, unpack_memories
from fleet_server.core.drift_policy import DriftPolicy
from fleet_server.core.drift_shown import pack_shown, shown_of
from fleet_server.core.packed_counts import pack_counts, shape_of, unpack_counts
from fleet_server.core.yardstick import Columns, Yardstick, columns_of, measure
from fleet_server.store.drift import DeviceDrift
from fleet_server.store.windows import StoredWindow

Floats = NDArray[np.float64]
# So many devices at once keep the arrays within a processor's cache.
_TOGETHER = 125
_SAID = 3


def since_of(before: DriftState, state: DriftState, since: int, now: int) -> int:
    """Return since when a state holds: drift began when the first of its looks moved."""
    return since if state is before or (before is DriftState.WATCH and state is DriftState.DRIFT) else now


def judge_windows(
    yardstick: Yardstick,
    windows: Iterable[StoredWindow],
    known: tuple[Mapping[str, DeviceDrift], Mapping[str, bytes]],
    policy: DriftPolicy,
    now: int,
) -> tuple[dict[str, DeviceDrift], dict[str, bytes]]:
    """Return what is known of the devices after these windows of one bundle, which are in their order.

    `known` is what was known of them before, and what they had learnt. Both come back: those that have changed.
    """
    before, memories = known
    found, held = dict(before), dict(memories)
    waves: list[list[StoredWindow]] = []
    turns: dict[str, int] = {}
    for window in windows:
        turn = turns[window.device] = turns.get(window.device, -1) + 1
        if turn == len(waves):
            waves.append([])
        waves[turn].append(window)
    for wave in waves:
        for start in range(0, len(wave), _TOGETHER):
            part = [
                (window, _begin(found.get(window.device), window, now)) for window in wave[start : start + _TOGETHER]
            ]
            found.update((item.device, item) for item in _judge_part(yardstick, part, held, policy, now))
    changed = {name: item for name, item in found.items() if before.get(name) is not item}
    return changed, {name: memory for name, memory in held.items() if memories.get(name) is not memory}


def _begin(known: DeviceDrift | None, window: StoredWindow, now: int) -> DeviceDrift:
    if known is not None and known.digest == window.digest:
        return known
    return DeviceDrift(window.device, window.model, window.version, window.digest, DriftState.LEARNING, now)


def _judge_part(
    yardstick: Yardstick,
    part: list[tuple[StoredWindow, DeviceDrift]],
    held: dict[str, bytes],
    policy: DriftPolicy,
    now: int,
) -> list[DeviceDrift]:
    counts, fits = read_arrays([window.packed for window, _ in part], yardstick.shape)
    waiting: list[DeviceDrift] = []
    whole: list[tuple[StoredWindow, DeviceDrift]] = []
    places: list[int] = []
    merged: list[tuple[int, bytes]] = []
    for place, (window, known) in enumerate(part):
        if not fits[place]:
            continue
        rows = int(counts.rows[place])
        if known.pending is None and rows >= policy.min_rows:
            places.append(place)
            whole.append((window, known))
            continue
        packed = _gather(known.pending, window.packed, yardstick)
        if rows < policy.min_rows and unpack_counts(packed).rows < policy.min_rows:
            waiting.append(replace(known, pending=packed, windows=known.windows + 1, rows=known.rows + rows))
        else:
            merged.append((len(places), packed))
            places.append(place)
            whole.append((window, known))
    if not whole:
        return waiting
    own_rows = [int(counts.rows[place]) for place in places]
    looks = counts if len(places) == len(part) else counts.take(np.array(places, np.intp))
    if merged:
        found, _ = read_arrays([packed for _, packed in merged], yardstick.shape)
        looks.put(np.array([place for place, _ in merged], np.intp), found)
    return waiting + _take_looks(yardstick, whole, (looks, own_rows), held, policy, now)


def _gather(pending: bytes | None, packed: bytes, yardstick: Yardstick) -> bytes:
    if pending is None:
        return packed
    before = unpack_counts(pending)
    return pack_counts(merge(before, unpack_counts(packed))) if shape_of(before) == yardstick.shape else packed


def _take_looks(
    yardstick: Yardstick,
    whole: list[tuple[StoredWindow, DeviceDrift]],
    seen: tuple[CountArrays, list[int]],
    held: dict[str, bytes],
    policy: DriftPolicy,
    now: int,
) -> list[DeviceDrift]:
    known, (counts, own_rows) = [item for _, item in whole], seen
    columns, rows = columns_of(yardstick, counts), counts.rows.astype(np.float64)
    memory = _memories(yardstick, known, held)
    learnt = memory.windows >= policy.learning_windows
    measured = measure(yardstick, columns)
    past = _scaled(deviations(measured, memory), memory, learnt)
    moved = np.zeros((len(known), yardstick.columns), np.bool_)
    after: list[dict[str, Any]] = [{} for _ in known]
    places = np.flatnonzero(learnt)
    if len(places):
        if len(places) == len(known):  # as most of the time: nothing is copied
            looks = judge_devices(yardstick, columns, rows, memory, past, policy)
        else:
            mine = past[0][places], past[1][places]
            looks = judge_devices(yardstick, _some(columns, places), rows[places], memory.take(places), mine, policy)
        for row, (place, look) in enumerate(zip(places.tolist(), looks.looks(), strict=True)):
            after[place] = _decide(yardstick, known[place], (looks, row, look), policy, now)
            if any(after[place]["looks"]):
                moved[place, list(confirmed_columns(after[place]["looks"], policy.confirm, policy.psi_floor))] = True
    places = np.flatnonzero(~learnt)
    if len(places):
        part = memory.take(places)
        learn(yardstick, _some(columns, places), rows[places], part)
        for row, place in enumerate(places.tolist()):
            held[known[place].device] = pack_memory(part, row, yardstick)
            after[place] = {"learnt": int(part.windows[row])}
    shown = pack_shown(yardstick, shown_of(yardstick, measured, past, moved))
    return [
        replace(
            item,
            windows=item.windows + 1,
            rows=item.rows + count,
            pending=None,
            look=look,
            look_at=now,
            look_n=window.n,
            **changed,
        )
        for (window, item), count, look, changed in zip(whole, own_rows, shown, after, strict=True)
    ]


def _scaled(past: tuple[Floats, Floats], memory: Memory, learnt: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Scale what learning devices deviate: their past is a few windows; so it varies as a window alone does."""
    if learnt.all():
        return past
    scale = np.where(learnt, 1.0, np.sqrt(memory.windows / (memory.windows + 1)))[:, None, None]
    return past[0] * scale, past[1] * scale


def _memories(yardstick: Yardstick, known: list[DeviceDrift], held: Mapping[str, bytes]) -> Memory:
    begun = [item.learnt > 0 for item in known]
    packed = [held[item.device] for item in known if item.learnt > 0]
    if all(begun):
        return unpack_memories(packed, yardstick)
    memory = new_memory(yardstick, len(known))
    if packed:
        memory.put(np.flatnonzero(begun), unpack_memories(packed, yardstick))
    return memory


def _some(columns: Columns, places: NDArray[np.intp]) -> Columns:
    return Columns(columns.bins[places], columns.extras[places], columns.shift[places])


def _decide(
    yardstick: Yardstick, known: DeviceDrift, seen: tuple[DeviceLooks, int, Look], policy: DriftPolicy, now: int
) -> dict[str, Any]:
    found, row, look = seen
    looks = add_look(known.looks, look, policy.of)
    state = next_state(known.state, weigh(looks, policy.confirm, policy.psi_floor))
    since = since_of(known.state, state, known.since, now)
    if not any(looks):
        return {"state": state, "since": since, "looks": looks, "sentence": ""}
    confirmed = confirmed_columns(looks, policy.confirm, policy.psi_floor)
    sentence = known.sentence if state is DriftState.DRIFT else ""
    newest = [column for column in confirmed if found.ways[row, column]]
    if newest:
        newest.sort(key=lambda column: -float(found.psi[row, column]))
        sentence = "; ".join(_say(yardstick, found, row, column) for column in newest[:_SAID])
        sentence += f"; {len(newest) - _SAID} more columns moved" if len(newest) > _SAID else ""
    return {"state": state, "since": since, "looks": looks, "sentence": sentence}


def _say(yardstick: Yardstick, found: DeviceLooks, row: int, column: int) -> str:
    share = found.shares[row, column]
    place = int(np.argmax(np.abs(share)))
    words = describe(yardstick, column, found.figures[row, column].tolist(), (place, float(share[place])))
    return f"{words} (PSI {found.psi[row, column]:.2f})"
