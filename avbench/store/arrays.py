"""Arrays on disk that grow by rows, memory-mapped."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from avbench.files import Damaged, read_json, set_aside, write_json

PARTIAL = "partial.json"  # what there is of unfinished arrays
_FLUSH_S = 10.0  # what a crash may lose

Mapped = np.memmap[tuple[int, ...], np.dtype[np.float32]]


class RowWriter:
    """Arrays that grow by rows on disk and, after a crash, go on from the last rows that were synced.

    Args:
        folder: Where ``NAME.npy`` files go.
        n: Rows there will be.
    """

    def __init__(self, folder: Path, n: int) -> None:
        self.folder = folder
        self.n = n
        self.rows = 0
        self._arrays: dict[str, Mapped] = {}
        self._synced = time.monotonic()
        partial = folder / PARTIAL
        if partial.exists():
            try:
                self._go_on(partial)
            except Damaged as damage:
                set_aside(damage)

    def _go_on(self, partial: Path) -> None:
        """Opens what an extraction that was stopped left.

        Raises:
            Damaged: It is not what one leaves.
        """
        state = read_json(partial)
        rows, names = state.get("rows"), state.get("arrays")
        if not isinstance(rows, int) or not 0 <= rows <= self.n or not isinstance(names, list):
            raise Damaged(f"{partial}: found no rows and arrays, valid: those of {self.n} clips.", partial)
        try:
            arrays = {str(name): open_rows(self.folder / f"{name}.npy", "r+") for name in names}
        except (OSError, ValueError, EOFError) as error:
            raise Damaged(f"{partial}: an array it names cannot be opened ({error}).", partial) from None
        if any(len(array) != self.n for array in arrays.values()):
            raise Damaged(f"{partial}: an array it names has not {self.n} rows.", partial)
        self.rows, self._arrays = rows, arrays

    def write(self, values: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Appends rows: named arrays of equal length, the same names each time."""
        count = len(next(iter(values.values())))
        self.put(np.arange(self.rows, self.rows + count), values)
        self.rows += count
        if time.monotonic() - self._synced > _FLUSH_S:
            self.sync()

    def put(self, rows: npt.NDArray[np.int64], values: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Writes rows (k,) in their places, which :attr:`rows` does not count."""
        if not self._arrays:
            self._arrays = {name: self._create(name, value) for name, value in values.items()}
        for name, value in values.items():
            self._arrays[name][rows] = value

    def _create(self, name: str, value: npt.NDArray[np.float32]) -> Mapped:
        path = self.folder / f"{name}.npy"
        path.unlink(missing_ok=True)  # whoever has an older one open keeps it
        array = np.lib.format.open_memmap(path, "w+", np.dtype(np.float32), (self.n, *value.shape[1:]))
        with path.open("rb+") as handle:  # a full disk is an error here, and not a crash in the middle
            os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)
        return array

    def sync(self) -> None:
        """Makes sure that what was written survives a crash."""
        for array in self._arrays.values():
            array.flush()
        write_json(self.folder / PARTIAL, {"rows": self.rows, "arrays": sorted(self._arrays)})
        self._synced = time.monotonic()

    def finish(self) -> None:
        """Syncs; the arrays are complete."""
        self.sync()
        (self.folder / PARTIAL).unlink()


def open_rows(path: Path, mode: Literal["r", "r+"]) -> Mapped:
    """Returns the array of a file, memory-mapped."""
    array: Mapped = np.load(path, mmap_mode=mode)
    return array
