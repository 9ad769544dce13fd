"""Arrays on disk that grow by rows, memory-mapped."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from avbench.files import Damaged, read_json, set_aside, write_sealed
from avbench.files.unwritten import writing

PARTIAL = "partial.json"  # what there is of unfinished arrays
_FLUSH_S = 10.0  # what a crash may lose
_HASHED = 1024  # rows at a time

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
        self._hashes: dict[str, hashlib._Hash] = {}  # of the rows of each array that were written in their order
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
        hashes = {name: _hash(array[:rows]) for name, array in arrays.items()}
        told = {name: digest.hexdigest() for name, digest in hashes.items()}
        if state.get("sha256", told) != told:  # a version that wrote none is believed
            raise Damaged(f"{partial}: the rows of its arrays are not those that were written.", partial)
        self.rows, self._arrays, self._hashes = rows, arrays, hashes

    def write(self, values: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Appends rows: named arrays of equal length, the same names each time."""
        count = len(next(iter(values.values())))
        self._put(np.arange(self.rows, self.rows + count), values)
        self.rows += count
        for name, value in values.items():
            self._hashes[name] = _hash(value, self._hashes.get(name))
        if time.monotonic() - self._synced > _FLUSH_S:
            self.sync()

    def put(self, rows: npt.NDArray[np.int64], values: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Writes rows (k,) in their places, which :attr:`rows` does not count."""
        self._put(rows, values)
        self._hashes = {}

    def _put(self, rows: npt.NDArray[np.int64], values: Mapping[str, npt.NDArray[np.float32]]) -> None:
        if not self._arrays:
            self._arrays = {name: self._create(name, value) for name, value in values.items()}
        for name, value in values.items():
            self._arrays[name][rows] = value

    def _create(self, name: str, value: npt.NDArray[np.float32]) -> Mapped:
        path = self.folder / f"{name}.npy"
        path.unlink(missing_ok=True)  # whoever has an older one open keeps it
        array = np.lib.format.open_memmap(path, "w+", np.dtype(np.float32), (self.n, *value.shape[1:]))
        size = path.stat().st_size
        with writing(path, size), path.open("rb+") as handle:  # a full disk is an error here, and no crash later
            os.posix_fallocate(handle.fileno(), 0, size)
        return array

    def sync(self) -> None:
        """Makes sure that what was written survives a crash."""
        for array in self._arrays.values():
            array.flush()
        hashes = self._hashes or {name: _hash(array[: self.rows]) for name, array in self._arrays.items()}
        told = {name: digest.hexdigest() for name, digest in hashes.items()}
        write_sealed(self.folder / PARTIAL, {"rows": self.rows, "arrays": sorted(self._arrays), "sha256": told})
        self._synced = time.monotonic()

    def finish(self) -> None:
        """Syncs; the arrays are complete."""
        self.sync()
        (self.folder / PARTIAL).unlink()


def _hash(rows: npt.NDArray[np.float32], before: hashlib._Hash | None = None) -> hashlib._Hash:
    """Returns the hash of rows, or that of rows before and of these."""
    digest = before or hashlib.sha256()
    for first in range(0, len(rows), _HASHED):
        digest.update(np.ascontiguousarray(rows[first : first + _HASHED], np.float32).data)
    return digest


def open_rows(path: Path, mode: Literal["r", "r+"]) -> Mapped:
    """Returns the array of a file, memory-mapped."""
    array: Mapped = np.load(path, mmap_mode=mode)
    return array
