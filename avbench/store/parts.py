"""Rows that several processes compute: each writes small files of its own, and one gathers them.

A file is whole or not there, and never changed, so a process may be killed at any time and processes need not know of
each other. What two of them computed is taken once.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.files import Damaged, atomic_path, set_aside
from avbench.store.records import UNREADABLE

_FOLDER = "parts"
_ROWS = "row"
_EVERY_S = 10.0  # what a crash may lose
_BYTES = 2**27  # and what is held in memory until then

Values = Mapping[str, npt.NDArray[np.float32]]


def share(batches: Sequence[int], rank: int, world: int) -> list[int]:
    """Returns the batches of one of ``world`` processes; together they have each batch once.

    Args:
        batches: All of them.
        rank: Of this process.
        world: Processes.
    """
    return list(batches[rank::world])


class PartWriter:
    """Collects rows and writes them to a file every ten seconds, or every 128 MiB; a context that leaves none behind.

    Args:
        folder: The extraction's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _FOLDER
        self._rows: list[npt.NDArray[np.int64]] = []
        self._values: list[Values] = []
        self._bytes = 0
        self._written = time.monotonic()

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def write(self, rows: npt.NDArray[np.int64], values: Values) -> None:
        """Takes rows (k,) and named arrays of as many, the same names each time."""
        self._rows.append(rows)
        self._values.append(values)
        self._bytes += sum(value.nbytes for value in values.values())
        if self._bytes > _BYTES or time.monotonic() - self._written > _EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Makes sure that the rows taken so far survive a crash."""
        if self._rows:
            columns: dict[str, npt.NDArray[Any]] = {_ROWS: np.concatenate(self._rows)}
            for name in self._values[0]:
                columns[f"value_{name}"] = np.concatenate([values[name] for values in self._values])
            # No two writers share a name, on whatever machines they are.
            path = self._folder / f"{columns[_ROWS][0]:09d}-{uuid.uuid4().hex}.npz"
            with atomic_path(path) as temporary, temporary.open("wb") as handle:
                np.savez(handle, allow_pickle=False, **columns)
            self._rows, self._values, self._bytes = [], [], 0
        self._written = time.monotonic()


def finished(folder: Path, n: int) -> npt.NDArray[np.bool_]:
    """Returns which of ``n`` rows are in some part: (n,)."""
    done = np.zeros(n, np.bool_)
    for path in _files(folder):
        try:
            with np.load(path) as part:
                rows = part[_ROWS]
                if not {name for name in part.files if name != _ROWS}:
                    raise ValueError("it holds no values")
                for name in part.files:  # all of it: a part that is cut off is not taken for computed
                    if len(part[name]) != len(rows):
                        raise ValueError(f"{name} has another length than its rows")
                done[rows] = True
        except UNREADABLE as error:
            set_aside(Damaged(f"{path}: cannot be read ({' '.join(str(error).split())}).", path))
    return done


def gathered(folder: Path, known: npt.NDArray[np.bool_]) -> Iterator[tuple[npt.NDArray[np.int64], Values]]:
    """Yields the rows of all parts, each once, without those ``known`` before: rows (k,), values (k, ...).

    Args:
        folder: The extraction's folder.
        known: Rows there are, (n,); those yielded are added.
    """
    for path in _files(folder):
        with np.load(path) as part:
            rows = part[_ROWS]
            kept = np.sort(np.unique(rows, return_index=True)[1])
            kept = kept[~known[rows[kept]]]
            if len(kept):
                known[rows[kept]] = True
                yield (
                    rows[kept],
                    {name.removeprefix("value_"): part[name][kept] for name in part.files if name != _ROWS},
                )


def remove(folder: Path) -> None:
    """Removes all parts."""
    shutil.rmtree(folder / _FOLDER, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return sorted((folder / _FOLDER).glob("*.npz"))
