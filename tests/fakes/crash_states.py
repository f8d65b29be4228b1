"""Every state of a folder that a power cut may leave, enumerated from the recorded changes of a procedure.

The rules are those that POSIX leaves to file systems, harsher than ext4's or F2FS's own:

- What was written since the file's last flush may be there, absent, torn in the middle, zeros (where the file grew), or
  there without what was written before it.
- Names that came, went or moved since their folder's last flush may have done so or not, each by itself; a rename
  within a folder is one change of it. Flushing a file does not flush its name.
- After a flush of a file that failed, what it should have flushed may be there or not, for good: a later flush does not
  write it. That of a folder leaves its changes open.
- Bytes outside a write are not touched by it (SQLite's "powersafe overwrite").

More than `_ALL_OF` open changes of one folder are not taken in all their subsets, but as each beginning, each alone and
all but each. Source: Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from tests.fakes.disk_calls import (
    Change,
    Cut,
    Made,
    Promised,
    Recorder,
    Removed,
    Renamed,
    Synced,
    SyncFailed,
    Written,
    watched,
)

_ALL_OF = 6
T = TypeVar("T")
C = TypeVar("C")
Names = dict[str, int]
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
def recorded(folder: Path, recorder: Recorder) -> Iterator[list[Recording]]:
    """Record what is changed below `folder`; the recording is in the list afterwards.

    It is checked to be complete: replayed on what was there before, it gives what is there now.
    """
    before, made = read_tree(folder), list[Recording]()
    with watched(folder, recorder):
        yield made
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


class _Node(Generic[T, C]):
    """A file or folder: what a process sees, what may be on the disk, and the changes since the last flush."""

    def __init__(self, content: T) -> None:
        self.seen = content
        self.kept = [content]
        self.open: list[C] = []

    def change(self, change: C) -> None:
        self.open.append(change)
        self.seen = self.made(self.seen, [change])

    def sync(self) -> None:
        self.kept = _distinct(self.made(content, self.open) for content in self.kept)
        self.open = []

    def fail_to_sync(self) -> None:
        """Whatever may be on the disk now stays there, whether or not it is flushed again."""
        self.kept = _distinct(self.variants())
        self.open = []

    @property
    def is_sure(self) -> bool:
        return not self.open and len(self.kept) == 1

    def variants(self) -> Iterator[T]:
        raise NotImplementedError

    @staticmethod
    def made(content: T, changes: Sequence[C]) -> T:
        raise NotImplementedError


class _File(_Node[bytes, Written | Cut]):
    def variants(self) -> Iterator[bytes]:
        for kept, count in itertools.product(self.kept, range(len(self.open) + 1)):
            done = self.open[:count]
            yield self.made(kept, done)
            if done and isinstance(last := done[-1], Written):
                before, end = self.made(kept, done[:-1]), last.offset + len(last.data)
                yield self.made(before, [Written(last.path, last.offset, last.data[: len(last.data) // 2])])
                yield self.made(kept, [last])
                if end > len(before):
                    yield self.made(before, [Cut(last.path, end)])

    @staticmethod
    def made(content: bytes, changes: Sequence[Written | Cut]) -> bytes:
        made = bytearray(content)
        for change in changes:
            if isinstance(change, Cut):
                del made[change.size :]
                made.extend(bytes(change.size - len(made)))
            elif change.data:
                made.extend(bytes(max(0, change.offset - len(made))))
                made[change.offset : change.offset + len(change.data)] = change.data
        return bytes(made)


class _Folder(_Node[Names, Mapping[str, int | None]]):
    def variants(self) -> Iterator[Names]:
        for kept, chosen in itertools.product(self.kept, _subsets(self.open)):
            yield self.made(kept, chosen)

    @staticmethod
    def made(content: Names, changes: Sequence[Mapping[str, int | None]]) -> Names:
        names: dict[str, int | None] = dict(content)
        for change in changes:
            names |= change
        return {name: number for name, number in names.items() if number is not None}


class _Disk:
    """Files and folders by number (0 is the folder itself), with what is flushed of each and what is not."""

    def __init__(self, recording: Recording) -> None:
        self._folder = recording.folder
        self._nodes: list[_File | _Folder] = [_Folder({})]
        for name, data in sorted(recording.before.items()):
            path = self._folder / name
            self._parent(path).change({path.name: self._new(_Folder({}) if data is None else _File(data))})
        for node in self._nodes:
            node.sync()

    def apply(self, change: Change) -> None:
        match change:
            case Made(path, is_folder):
                self._parent(path).change({path.name: self._new(_Folder({}) if is_folder else _File(b""))})
            case Written(path) | Cut(path):
                node = self._nodes[self._find(path)]
                assert isinstance(node, _File)
                node.change(change)
            case Synced(path):
                self._nodes[self._find(path)].sync()
            case SyncFailed(path):
                if isinstance(node := self._nodes[self._find(path)], _File):
                    node.fail_to_sync()
            case Renamed(path, target):
                assert path.parent == target.parent, "a rename between folders is not modelled"
                self._parent(path).change({path.name: None, target.name: self._find(path)})
            case Removed(path):
                self._parent(path).change({path.name: None})
            case Promised():
                pass

    def seen(self) -> Tree:
        """What a process sees: all changes."""
        return dict(self._walk(0, "", {number: node.seen for number, node in enumerate(self._nodes)}))

    def left_by_a_cut(self) -> Iterator[Tree]:
        """All combinations of what each file and folder may have kept."""
        unsure = [number for number, node in enumerate(self._nodes) if not node.is_sure]
        choices = [_distinct(self._nodes[number].variants()) for number in unsure]
        sure = {number: node.kept[0] for number, node in enumerate(self._nodes) if node.is_sure}
        for chosen in itertools.product(*choices):
            yield dict(self._walk(0, "", sure | dict(zip(unsure, chosen, strict=True))))

    def _walk(self, number: int, prefix: str, contents: Mapping[int, object]) -> Iterator[tuple[str, bytes | None]]:
        names = contents[number]
        assert isinstance(names, dict)
        for name, child in names.items():
            content = contents[child]
            if isinstance(content, bytes):
                yield f"{prefix}{name}", content
            else:
                yield f"{prefix}{name}", None
                yield from self._walk(child, f"{prefix}{name}/", contents)

    def _new(self, node: "_File | _Folder") -> int:
        self._nodes.append(node)
        return len(self._nodes) - 1

    def _find(self, path: Path) -> int:
        number = 0
        for part in path.relative_to(self._folder).parts:
            node = self._nodes[number]
            assert isinstance(node, _Folder)
            number = node.seen[part]
        return number

    def _parent(self, path: Path) -> _Folder:
        node = self._nodes[self._find(path.parent)]
        assert isinstance(node, _Folder)
        return node


def _distinct(contents: Iterable[T]) -> list[T]:
    found: list[T] = []
    for content in contents:
        if content not in found:
            found.append(content)
    return found


def _subsets(changes: Sequence[Mapping[str, int | None]]) -> Iterator[list[Mapping[str, int | None]]]:
    if len(changes) <= _ALL_OF:
        for size in range(len(changes) + 1):
            yield from map(list, itertools.combinations(changes, size))
        return
    for count in range(len(changes) + 1):
        yield list(changes[:count])
    for number, change in enumerate(changes):
        yield [change]
        yield [*changes[:number], *changes[number + 1 :]]
