"""The join of an official list with the files on disk, whatever they are called.

A file is named by the id, or by the video alone, or by the video with start or with start and end, in seconds or
milliseconds, in any sub-folder. A video of YouTube is an id of eleven characters, which may hold ``_`` and ``-``.
"""

from __future__ import annotations

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from avbench.data.catalogue.entry import DataSet, ListFile
from avbench.data.catalogue.reading import AnnotationRow
from avbench.data.prepare.samples import SOUNDS, VIDEOS
from avbench.errors import InputError

_MILLISECONDS = 1000.0  # a clip of so many seconds is none; it is written in milliseconds
_TIMED = re.compile(r"(?P<video>.{11})[_-](?P<start>\d+(?:\.\d+)?)(?:[_-](?P<end>\d+(?:\.\d+)?))?")


@dataclass(frozen=True)
class Joined:
    """Rows of the official list, and the files that are theirs.

    Attributes:
        rows: Id to row.
        files: Id to file, for the clips that are there; in the order of the list.
        extra: Files that are no clip of the list.
        ambiguous: Files whose name fits several clips of the list.
        duplicates: Files of a clip that has another file.
    """

    rows: Mapping[str, AnnotationRow]
    files: Mapping[str, str]
    extra: tuple[str, ...] = field(default=())
    ambiguous: tuple[str, ...] = field(default=())
    duplicates: tuple[str, ...] = field(default=())

    @property
    def missing(self) -> list[str]:
        """Ids of the list without a file."""
        return [id for id in self.rows if id not in self.files]


def find_lists(entry: DataSet, root: Path, named: Iterable[Path] = ()) -> list[tuple[ListFile, Path]]:
    """Finds the official lists of a data set.

    Args:
        entry: The data set.
        root: Its folder; the lists are looked for there and in its direct sub-folders.
        named: List files, or folders with them, that the user named; the root is then not searched.

    Returns:
        What each file is, and the file; for each part of the set the first that was found.

    Raises:
        InputError: There is none, or a named file is none of the set's lists.
    """
    named = list(named)
    for path in named:
        if not path.exists():
            raise InputError(f"--list {path}: no such file or folder; {_how(entry)}")
    places = [path for path in named if path.is_dir()] if named else [root]
    found = [(_which(entry, path), path) for path in named if path.is_file()]
    covered = {part for which, _ in found for part in which.parts}
    for which in entry.lists:
        file = find_file(places, which.files)
        if file is not None and not covered & set(which.parts):
            found.append((which, file))
            covered |= set(which.parts)
    if not found:
        looked = ", ".join(str(place) for place in places)
        raise InputError(f"{entry.name}: no official list in {looked} or the folders in it; {_how(entry)}")
    return found


def _how(entry: DataSet) -> str:
    names = " or ".join(dict.fromkeys(which.files[0] for which in entry.lists))
    return f"valid: {names}; put it there or name it with --list FILE. To get it: {' '.join(entry.obtain.split())}"


def _which(entry: DataSet, path: Path) -> ListFile:
    """Tells which of a set's lists a file is: by its name, else by the split in its name, else the first."""
    for which in entry.lists:
        if path.name in which.files:
            return which
    suffix = [which for which in entry.lists if Path(which.files[0]).suffix == path.suffix]
    if not suffix:
        valid = ", ".join(which.files[0] for which in entry.lists)
        raise InputError(f"--list {path}: not the form of a list of {entry.title}, valid: {valid}.")
    words = re.split(r"[^a-z]+", path.stem.lower())
    ours = {"train": "train", "val": "tune", "test": "test", "eval": "test"}
    split = next((ours[word] for word in words if word in ours), None)
    return next((which for which in suffix if split and which.split == split), suffix[0])


def find_file(places: Iterable[Path], names: Sequence[str]) -> Path | None:
    """Returns the first file of one of the names in the folders or their direct sub-folders."""
    for place in places:
        folders = [place, *sorted(Path(item.path) for item in os.scandir(place) if item.is_dir())]
        for name in names:
            for folder in folders:
                if (folder / name).is_file():
                    return folder / name
    return None


def find_files(root: Path, suffixes: frozenset[str], exclude: Path | None = None) -> list[str]:
    """Returns the paths, from the root on, of the files below a folder with one of the suffixes, without hidden ones.

    They are sorted, and the same wherever the folder is named from.

    Args:
        root: The folder.
        suffixes: Such as ``.mp4``, in lower case.
        exclude: A folder to leave out.
    """
    found: list[str] = []
    seen: set[str] = set()
    without = os.path.realpath(exclude) if exclude is not None else ""
    for folder, folders, files in os.walk(root.resolve(), followlinks=True):
        real = os.path.realpath(folder)
        if real in seen or real == without:  # a link back to a folder above would never end
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            if not file.startswith(".") and os.path.splitext(file)[1].lower() in suffixes:  # noqa: PTH122  (millions)
                found.append(f"{folder}{os.sep}{file}")
    return sorted(found)


def find_media(entry: DataSet, root: Path, out: Path) -> list[str]:
    """Returns the files that may be clips of a set: sounds, too, where it is one of sound alone.

    Args:
        entry: The set.
        root: Its folder.
        out: A folder to leave out.
    """
    return find_files(root, VIDEOS if "visual" in entry.modalities else VIDEOS | SOUNDS, exclude=out)


class _Finder:
    """From a file's name to the clips it may be."""

    def __init__(self, rows: Mapping[str, AnnotationRow]) -> None:
        self._rows = rows
        self._videos: defaultdict[str, list[str]] = defaultdict(list)
        for id, row in rows.items():
            self._videos[row.video].append(id)

    def ids(self, stem: str) -> list[str]:
        """Returns the ids that a file of this name may be: none, one or several."""
        if stem in self._rows:
            return [stem]
        if stem in self._videos:
            return self._videos[stem]
        timed = _TIMED.fullmatch(stem)
        if timed is None or timed["video"] not in self._videos:
            return []
        ids = self._videos[timed["video"]]
        start = float(timed["start"])
        if timed["end"] is not None and float(timed["end"]) - start >= _MILLISECONDS:
            return self._from(ids, start / 1000)
        return self._from(ids, start) or (self._from(ids, start / 1000) if start >= _MILLISECONDS else [])

    def _from(self, ids: list[str], start: float) -> list[str]:
        # Where the list gives no start, the video has one clip and the name says it all.
        starts = ((id, self._rows[id].start) for id in ids)
        return [id for id, listed in starts if math.isnan(listed) or abs(listed - start) < 0.5]


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]  # noqa: PTH119, PTH122  (millions)


def join(rows: Mapping[str, AnnotationRow], files: Iterable[str]) -> Joined:
    """Joins rows and files.

    Of several files for one clip the one named by the id is taken, else the first in alphabetical order.

    Args:
        rows: Id to row.
        files: Paths.
    """
    finder = _Finder(rows)
    chosen: dict[str, str] = {}
    extra: list[str] = []
    ambiguous: list[str] = []
    duplicates: list[str] = []
    for path in files:
        stem = _stem(path)
        ids = finder.ids(stem)
        if len(ids) != 1:
            (ambiguous if ids else extra).append(path)
            continue
        id = ids[0]
        other = chosen.setdefault(id, path)
        if other != path:
            better = stem == id and _stem(other) != id
            chosen[id] = path if better else other
            duplicates.append(other if better else path)
    ordered = {id: chosen[id] for id in rows if id in chosen}
    return Joined(rows, ordered, tuple(extra), tuple(ambiguous), tuple(duplicates))
