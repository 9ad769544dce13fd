"""The published folds of a set: which clips train and which are tested in each, of which a run takes one."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from avbench.data.corpus.changed import DelegatedClips
from avbench.data.corpus.clips import Clips
from avbench.errors import InputError
from avbench.files import write_text

FILE = "folds.csv"  # id, and a column a fold: the clip's split in it; in a prepared folder


def write_folds(folder: Path, rows: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Writes the folds of the clips of a prepared folder.

    Args:
        folder: The folder.
        rows: Id, and split in each fold.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    found = [(id, *splits) for id, splits in rows]
    writer.writerow(["id", *range(1, len(found[0]) if found else 1)])
    writer.writerows(found)
    write_text(folder / FILE, buffer.getvalue())


def fold_count(folder: Path) -> int:
    """Returns how many folds a prepared folder has; 0: none."""
    if not (folder / FILE).is_file():
        return 0
    with (folder / FILE).open(newline="", encoding="utf-8") as handle:
        return len(next(csv.reader(handle))) - 1


def in_fold(clips: Clips, folder: Path, fold: int) -> Clips:
    """Returns clips with the splits that they have in one fold; of a folder without folds, the clips as they are.

    Args:
        clips: The clips.
        folder: Where they are.
        fold: Which fold, from 1 on.

    Raises:
        InputError: There is no such fold.
    """
    count = fold_count(folder)
    if not 1 <= fold <= max(count, 1):
        valid = f"1 to {count}, the folds of {folder}" if count else f"1, as {folder} has no folds"
        raise InputError(f"data.fold: found {fold}, valid: {valid}.")
    if not count:
        return clips
    with (folder / FILE).open(newline="", encoding="utf-8") as handle:
        splits = {row[0]: row[fold] for row in csv.reader(handle)}
    missing = next((id for id in clips.ids if id not in splits), None)
    if missing is not None:
        raise InputError(f"{folder / FILE}: lacks clip '{missing}'; prepare the set again.")
    return cast(Clips, _FoldedClips(clips, [splits[id] for id in clips.ids]))


def has_folds(clips: Clips) -> bool:
    """Returns whether clips are of a set with published folds."""
    return isinstance(clips, _FoldedClips)


class _FoldedClips(DelegatedClips):
    """Clips with other splits; which of them train and which are judged tells folds apart, so the content does not."""

    def __init__(self, clips: Clips, splits: list[str]) -> None:
        super().__init__(clips)
        self.splits: Sequence[str] = splits

    def __len__(self) -> int:
        return len(self._clips)

    def select(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> Clips:
        """Returns the clips at ``indices``, in that order."""
        chosen = np.asarray(indices, np.int64)
        return cast(Clips, _FoldedClips(self._clips.select(chosen), [self.splits[i] for i in chosen.tolist()]))
