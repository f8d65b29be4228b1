"""Every state of a folder that a power cut may leave, enumerated from the recorded changes of a procedure.

The rules are those that POSIX leaves to file systems, harsher than ext4's or F2FS's own:

- What was written since the file's last flush may be there, absent, torn in the middle, zeros (where the file grew), or
  there without what was written before it.
- Names that came, went or moved since their folder's last flush may have done so or not, each by itself; a rename
  within a folder is one change of it. Flushing a file does not flush its name.
- Bytes outside a write are not touched by it (SQLite's "powersafe overwrite").

More than `_ALL_OF` open changes of one folder are not taken in all their subsets, but as each beginning, each alone and
all but each. Source: Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.disk_calls import (
    Change,
    Cut,
    Made,
    Promised,
    Recorder,
    Removed,
    Renamed,
    Synced,
    Written,
    watched,
)

_ALL_OF = 6
Tree = Mapping[str, bytes | None]
"""Files by their path from the folder; `None` is a folder."""


@dataclass(frozen=True)
class Recording:
    """A folder before, what was changed in it, and after how many changes what was promised."""

    folder: Path
    before: Tree
    changes: tuple[Change, ...]

    def syncs(self) -> list[tuple[int, Synced]]:
        """All flushes by their positions."""
        return [(number, change) for number, change in enumerate(self.changes) if isinstance(change, Synced)]

    def without(self, position: int) -> "Recording":
        """The same, as it would be if one flush were forgotten."""
        changes = (*self.changes[:position], *self.changes[position + 1 :])
        return Recording(self.folder, self.before, changes)


@dataclass(frozen=True)
class CrashState:
    """What a cut after `after` changes may leave; `promised` promises had been made by then."""

    tree: Tree
    promised: int
    after: int

    def lay_out(self, folder: Path) -> None:
        """Write the state into an empty folder."""
        folder.mkdir()
        for name, data in sorted(self.tree.items()):
            place = folder / name
            if data is None:
                place.mkdir()
            else:
                place.write_bytes(data)
                place.chmod(0o600)


@contextmanager
def recorded(folder: Path) -> Iterator[tuple[Recorder, list[Recording]]]:
    """Record what is changed below `folder`; the recording is in the list afterwards.

    It is checked to be complete: replayed on what was there before, it gives what is there now.
    """
    before, recorder, made = read_tree(folder), Recorder(), list[Recording]()
    with watched(folder, recorder):
        yield recorder, made
    recording = Recording(folder, before, tuple(recorder.changes))
    disk = _Disk(recording)
    for change in recording.changes:
        disk.apply(change)
    assert disk.seen() == read_tree(folder), "something was written that the recorder did not see"
    made.append(recording)


def read_tree(folder: Path) -> Tree:
    """Read a folder; SQLite's shared memory is no part of it, since it does not outlive a power cut."""
    paths = (path for path in folder.rglob("*") if not path.name.endswith("-shm"))
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in paths}


def crash_states(recording: Recording) -> Iterator[CrashState]:
    """Give every state once for each number of promises made, for a cut at the beginning and after each change."""
    disk, promised, given = _Disk(recording), 0, set[tuple[int, int]]()
    for after in range(len(recording.changes) + 1):
        for tree in disk.left_by_a_cut():
            key = (promised, hash(frozenset(tree.items())))
            if key not in given:
                given.add(key)
                yield CrashState(tree, promised, after)
        if after < len(recording.changes):
            change = recording.changes[after]
            promised += isinstance(change, Promised)
            disk.apply(change)


@dataclass
class _File:
    kept: bytes = b""
    open: list[Written | Cut] = field(default_factory=list)

    def seen(self) -> bytes:
        return _written(self.kept, self.open)

    def variants(self) -> set[bytes]:
        found = set()
        for count in range(len(self.open) + 1):
            done = self.open[:count]
            found.add(_written(self.kept, done))
            if done and isinstance(last := done[-1], Written):
                whole = _written(self.kept, done[:-1])
                half = Written(last.path, last.offset, last.data[: len(last.data) // 2])
                found.add(_written(whole, [half]))
                found.add(_written(self.kept, [last]))
                if last.offset + len(last.data) > len(whole):
                    found.add(_written(whole, [Cut(last.path, last.offset + len(last.data))]))
        return found


@dataclass
class _Folder:
    kept: dict[str, int] = field(default_factory=dict)
    open: list[dict[str, int | None]] = field(default_factory=list)

    def seen(self) -> dict[str, int]:
        return _named(self.kept, self.open)

    def variants(self) -> list[dict[str, int]]:
        found: list[dict[str, int]] = []
        for chosen in _subsets(self.open):
            names = _named(self.kept, chosen)
            if names not in found:
                found.append(names)
        return found


class _Disk:
    """Files and folders by number (0 is the folder itself), with what is flushed of each and what is not."""

    def __init__(self, recording: Recording) -> None:
        self._folder = recording.folder
        self._nodes: list[_File | _Folder] = [_Folder()]
        for name, data in sorted(recording.before.items()):
            parent, last = self._parent(self._folder / name)
            parent.kept[last] = self._new(_Folder() if data is None else _File(data))

    def apply(self, change: Change) -> None:
        match change:
            case Made(path, is_folder):
                parent, name = self._parent(path)
                parent.open.append({name: self._new(_Folder() if is_folder else _File())})
            case Written(path) | Cut(path):
                node = self._nodes[self._find(path)]
                assert isinstance(node, _File)
                node.open.append(change)
            case Synced(path):
                self._sync(self._nodes[self._find(path)])
            case Renamed(path, target):
                parent, name = self._parent(path)
                assert path.parent == target.parent, "a rename between folders is not modelled"
                parent.open.append({name: None, target.name: self._find(path)})
            case Removed(path):
                parent, name = self._parent(path)
                parent.open.append({name: None})
            case Promised():
                pass

    def seen(self) -> Tree:
        """What a process sees: all changes."""
        return dict(self._walk(0, "", {number: node.seen() for number, node in enumerate(self._nodes)}))

    def left_by_a_cut(self) -> Iterator[Tree]:
        """All combinations of what each dirty file and folder may have kept."""
        dirty = [number for number, node in enumerate(self._nodes) if node.open]
        choices = [list(self._nodes[number].variants()) for number in dirty]
        for chosen in itertools.product(*choices):
            left = dict(zip(dirty, chosen, strict=True))
            yield dict(self._walk(0, "", left))

    def _walk(self, number: int, prefix: str, left: Mapping[int, object]) -> Iterator[tuple[str, bytes | None]]:
        node = self._nodes[number]
        names = left.get(number, node.kept)
        assert isinstance(names, dict)
        for name, child in names.items():
            below = self._nodes[child]
            if isinstance(below, _Folder):
                yield f"{prefix}{name}", None
                yield from self._walk(child, f"{prefix}{name}/", left)
            else:
                data = left.get(child, below.kept)
                assert isinstance(data, bytes)
                yield f"{prefix}{name}", data

    def _new(self, node: "_File | _Folder") -> int:
        self._nodes.append(node)
        return len(self._nodes) - 1

    def _sync(self, node: "_File | _Folder") -> None:
        if isinstance(node, _File):
            node.kept, node.open = node.seen(), []
        else:
            node.kept, node.open = node.seen(), []

    def _find(self, path: Path) -> int:
        number = 0
        for part in path.relative_to(self._folder).parts:
            node = self._nodes[number]
            assert isinstance(node, _Folder)
            number = node.seen()[part]
        return number

    def _parent(self, path: Path) -> tuple[_Folder, str]:
        node = self._nodes[self._find(path.parent)]
        assert isinstance(node, _Folder)
        return node, path.name


def _written(data: bytes, changes: Iterable[Written | Cut]) -> bytes:
    content = bytearray(data)
    for change in changes:
        if isinstance(change, Cut):
            del content[change.size :]
            content.extend(bytes(change.size - len(content)))
        elif change.data:
            content.extend(bytes(max(0, change.offset - len(content))))
            content[change.offset : change.offset + len(change.data)] = change.data
    return bytes(content)


def _named(kept: Mapping[str, int], changes: Iterable[Mapping[str, int | None]]) -> dict[str, int]:
    names: dict[str, int | None] = dict(kept)
    for change in changes:
        names |= change
    return {name: number for name, number in names.items() if number is not None}


def _subsets(changes: Sequence[dict[str, int | None]]) -> Iterator[list[dict[str, int | None]]]:
    if len(changes) <= _ALL_OF:
        for size in range(len(changes) + 1):
            yield from map(list, itertools.combinations(changes, size))
        return
    for count in range(len(changes) + 1):
        yield list(changes[:count])
    for number, change in enumerate(changes):
        yield [change]
        yield [*changes[:number], *changes[number + 1 :]]
