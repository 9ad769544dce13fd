"""Clips of a prepared folder: Parquet manifest, JPEG frames and WAV or FLAC sound in tar shards, read by offset."""

from __future__ import annotations

import functools
import shlex
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from avbench.config import MODALITIES
from avbench.data.corpus.clips import hash_ids
from avbench.data.corpus.columns import NumberLists, TextColumn, coded_lists, numbers, one_array, taken
from avbench.data.corpus.manifest_file import read_table, table_hash
from avbench.data.corpus.shards import ShardReader
from avbench.data.media.frame_grid import FrameGrid, fractions
from avbench.errors import InputError, RunError

if TYPE_CHECKING:
    from avbench.config import Sampling
    from avbench.data.media.prepare_settings import PrepareSettings

_OF_FRAMES = ("frame_offsets", "frame_sizes", "frame_crc32")
CLASSES = "classes.txt"  # id, tab, name; what preparing a set of the catalogue leaves
_HASHED = ("id", "split", "labels", "sha256")


def _in_official_order(path: Path, names: list[str]) -> tuple[str, ...]:
    """Returns the classes of a catalogue's set as its list has them, all of them; without a list, those that occur.

    Raises:
        InputError: A clip has a class that the list lacks.
    """
    if not path.is_file():
        return tuple(names)
    official = [line.partition("\t")[2] for line in path.read_text(encoding="utf-8").splitlines()]
    missing = sorted(set(names) - set(official))
    if missing:
        raise InputError(f"{path}: lacks class '{missing[0]}' of the clips; prepare the folder again.")
    return tuple(official)


_LOOKED_AT = 256  # clips whose times tell the rule of a folder that does not
_SLICE = 65_536  # rows taken at a time: a copy of all would cost as much memory again


class PreparedClips:
    """Clips of a folder that ``avbench data prepare`` wrote; see :class:`avbench.data.corpus.clips.Clips`.

    Args:
        root: The folder.
        table: The manifest's columns, one row a clip.
        class_names: All classes: in the order of ``classes.txt``, where the folder has one, else sorted.
        reader: Reads the shards.
        rows: Which rows of the table, in which order; None: all. Selections share the table.
    """

    def __init__(
        self,
        root: Path,
        table: Any,
        class_names: tuple[str, ...],
        reader: ShardReader,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        self.root = root
        self.class_names = class_names
        self._table = table
        self._reader = reader
        self._rows = np.arange(table.num_rows) if rows is None else rows
        self._scalars = {name: numbers(table[name]) for name in ("duration", "n_frames", "audio_offset", "audio_size")}
        found = table.column_names
        self._lists = {n: one_array(table[n]) for n in ("labels", "frame_times", "shard", "audio_crc32") if n in found}
        self._of_frames = {
            n: NumberLists(table[n]) for n in ("frame_offsets", "frame_sizes", "frame_crc32") if n in found
        }
        self.ids: Sequence[str] = TextColumn(self._chosen("id"))
        self.splits: Sequence[str] = TextColumn(self._chosen("split"))

    @classmethod
    def open(cls, root: Path) -> PreparedClips:
        """Opens a prepared folder.

        Raises:
            InputError: It has no readable manifest, or one without the columns needed.
        """
        table = read_table(root)
        names = sorted(pc.unique(pc.list_flatten(table["labels"])).to_pylist())
        return cls(root, table, _in_official_order(root / CLASSES, names), ShardReader(root))

    def __len__(self) -> int:
        return len(self._rows)

    @functools.cached_property
    def modalities(self) -> tuple[str, ...]:
        """What the clips of the folder have; of an empty one, both."""
        there = (self._scalars["audio_size"].any(), self._scalars["n_frames"].any())
        return tuple(name for name, found in zip(MODALITIES, there, strict=True) if found) or MODALITIES

    def _chosen(self, name: str) -> Any:
        """Returns a column of these clips."""
        column, rows = self._table[name], self._rows
        whole = len(rows) == len(column) and bool((rows[1:] > rows[:-1]).all())
        return column if whole else taken(column, rows)

    @functools.cached_property
    def sha256(self) -> str:
        """Identity of the content: ids, splits, labels and bytes of these clips, in any order."""
        table = self._table.select(list(_HASHED))
        slices = (self._rows[first : first + _SLICE] for first in range(0, len(self), _SLICE))
        return table_hash(taken(table, rows) for rows in slices)

    @functools.cached_property
    def silent(self) -> NDArray[np.bool_]:
        """Which clips have no sound above zero, bool (n,)."""
        values: NDArray[np.bool_] = self._chosen("silent").to_numpy()
        return values

    def labels(self, i: int) -> tuple[str, ...]:
        """Returns the class names of clip ``i``."""
        return tuple(self._lists["labels"][int(self._rows[i])].as_py())

    def label_codes(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Returns the labels of all clips as offsets and indices of :attr:`class_names`."""
        return coded_lists(one_array(self._chosen("labels")), self.class_names)

    def duration(self, i: int) -> float:
        """Returns the length of clip ``i`` in seconds."""
        return float(self._scalars["duration"][self._rows[i]])

    def n_frames(self, i: int) -> int:
        """Returns how many frames clip ``i`` has."""
        return int(self._scalars["n_frames"][self._rows[i]])

    def frame_times(self, i: int) -> list[float]:
        """Returns when each frame of clip ``i`` was captured, in seconds from the clip's start."""
        times: list[float] = self._lists["frame_times"][int(self._rows[i])].as_py()
        return times

    @functools.cached_property
    def prepared(self) -> PrepareSettings | None:
        """How the clips were prepared; None where the folder does not tell."""
        from avbench.data.media.prepare_settings import read_settings

        return read_settings(self.root)

    def grid(self, i: int) -> FrameGrid:
        """Returns how many frames clip ``i`` has, and when: those of the set, whose last ones single clips may lack."""
        return self._grid

    def grids(self) -> Sequence[FrameGrid]:
        """Returns the grid of the set."""
        return (self._grid,)

    @functools.cached_property
    def _grid(self) -> FrameGrid:
        if "visual" not in self.modalities:
            return FrameGrid(0, None)
        if not self._scalars["duration"].any():  # single pictures, which have no time
            return FrameGrid(1, None)
        if self.prepared is not None:
            return FrameGrid(self.prepared.n_frames, self.prepared.sampling)
        counts = self._scalars["n_frames"]
        count = int(counts.max(initial=0))
        whole = np.flatnonzero(counts == count)[:_LOOKED_AT].tolist()
        return FrameGrid(count, self._sampling_of(count, whole))

    def _sampling_of(self, count: int, rows: list[int]) -> Sampling | None:
        """Returns the rule that fits the stored times of some rows best; None where none does."""
        found = [
            np.asarray(times) / duration
            for times, duration in ((self._lists["frame_times"][r].as_py(), self._scalars["duration"][r]) for r in rows)
            if len(times) == count and duration > 0
        ]
        if not found:
            return None
        times = np.median(found, axis=0)
        rules: tuple[Sampling, ...] = ("even", "ends", "centre")
        off, _, best = min((float(np.abs(times - fractions(count, s)).max()), n, s) for n, s in enumerate(rules))
        return best if off < 0.5 / count else None

    def row(self, i: int) -> int:
        """Returns which row of the manifest clip ``i`` is."""
        return int(self._rows[i])

    def _shard(self, i: int) -> str:
        return str(self._lists["shard"][self.row(i)].as_py())

    def waveform(self, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the mono waveform (samples,) in [-1, 1] and its sample rate; two channels are averaged.

        Raises:
            RunError: The shard is missing or damaged.
        """
        found, rate = self.channels(i)
        return found if found.ndim == 1 else found.mean(axis=0), rate

    def channels(self, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the waveform as it is stored, (samples,) or (2, samples), and its sample rate.

        Raises:
            RunError: The shard is missing or damaged.
        """
        from av.error import FFmpegError  # late, as all below: who only asks for ids decodes nothing

        from avbench.data.media.waveform import decode_stored

        shard = self._shard(i)
        row = self._rows[i]
        if not self._scalars["audio_size"][row]:
            raise self._damaged(i, "sound", "the manifest names none")
        data = self._reader.read(shard, int(self._scalars["audio_offset"][row]), int(self._scalars["audio_size"][row]))
        checksum = self._lists["audio_crc32"][int(row)].as_py() if "audio_crc32" in self._lists else None
        self._check(i, "sound", data, checksum)
        try:
            return decode_stored(data)
        except (FFmpegError, ValueError) as error:
            raise self._damaged(i, "sound", error) from None

    def frame(self, i: int, k: int) -> NDArray[np.uint8]:
        """Returns frame ``k`` as RGB (H, W, 3); beyond the last stored frame, the last one there is.

        Raises:
            RunError: The shard is missing or damaged, or the clip has no frame.
        """
        from avbench.data.media.jpeg import decode_jpeg

        row, k = self.row(i), min(k, self.n_frames(i) - 1)
        offset, size, checksum = (
            lists.at(row, k) if (lists := self._of_frames.get(name)) is not None else None for name in _OF_FRAMES
        )
        if offset is None or size is None:
            raise self._damaged(i, f"frame {max(k, 0)}", "the manifest names no frame")
        data = self._reader.read(self._shard(i), offset, size)
        self._check(i, f"frame {k}", data, checksum)
        try:
            return decode_jpeg(data)
        except (OSError, SyntaxError, ValueError) as error:
            raise self._damaged(i, f"frame {k}", error) from None

    def _check(self, i: int, what: str, data: bytes, checksum: int | None) -> None:
        if checksum is not None and zlib.crc32(data) != checksum:
            raise self._damaged(i, what, "its bytes are not those that were written")

    def _damaged(self, i: int, what: str, error: object) -> RunError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return RunError(
            f"clip '{self.ids[i]}': {what} in {self.root / self._shard(i)} cannot be read ({reason});"
            f" 'avbench data verify {shlex.quote(str(self.root))}' lists all such clips."
        )

    def select(self, indices: Sequence[int] | NDArray[np.integer]) -> PreparedClips:
        """Returns the clips at ``indices``, in that order; shards stay open once for all selections."""
        rows = self._rows[np.asarray(indices, dtype=np.int64)]
        return PreparedClips(self.root, self._table, self.class_names, self._reader, rows)

    def ids_sha256(self) -> str:
        """Returns the hash of the sorted ids."""
        return hash_ids(self.ids)
