"""Clips in the authors' own layout, read in place: JSON manifest, sound files, frame_i/ID.jpg.

Source: docs/protocol/cavmae.md 2.1.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from av.error import FFmpegError
from numpy.typing import NDArray

from avbench.config import MODALITIES
from avbench.data.corpus.authors_manifest import SPLIT, find_labels, read_manifest
from avbench.data.corpus.clips import hash_ids
from avbench.data.corpus.columns import TextColumn
from avbench.data.media.frame_grid import FrameGrid
from avbench.data.media.jpeg import decode_jpeg
from avbench.data.media.waveform import read_sound
from avbench.errors import InputError, RunError
from avbench.files import canonical_json

# Clips whose files' sizes and dates enter the identity: all of a test set, a sample of AudioSet.
_STAMPED = 2000
_CHUNK = 65536
# Where none of so many sound files exists, the paths are wrong, not the clips.
_LOOKED_AT = 20
_COLUMN_OF = {"audio": "wav", "visual": "video_path"}
_EVEN = 10  # frames of CAV-MAE's extraction, whose times are known


class AuthorsClips:
    """Clips of an authors' manifest; see :class:`avbench.data.corpus.clips.Clips`.

    Where a clip lacks a frame, the one before stands for it, as in the reference; a missing sound file or frame 0 is
    an error that names clip and path, never zeros. Relative paths are taken from the manifest's folder.

    Args:
        root: The manifest's folder.
        table: Text columns video_id, wav, video_path, labels, and perhaps split.
        names: Label mid to class name, in the order of the class indices.
    """

    def __init__(self, root: Path, table: Any, names: dict[str, str]) -> None:
        self.root = root
        self.class_names = tuple(names.values())
        self._names = names
        self._table = table
        self.ids: Sequence[str] = TextColumn(table["video_id"])
        self._wavs = TextColumn(table["wav"])
        self._labels = TextColumn(table["labels"])
        # Few roots, many clips: codes keep one copy of each.
        coded = table["video_path"].combine_chunks()
        coded = coded if pa.types.is_dictionary(coded.type) else coded.dictionary_encode()
        self._roots: list[Path] = [root / text for text in coded.dictionary.to_pylist()]
        self._root_of: NDArray[np.int32] = coded.indices.to_numpy()
        splits = (
            table[SPLIT] if SPLIT in table.column_names else pa.repeat(pa.scalar("", pa.large_string()), len(table))
        )
        self.splits: Sequence[str] = TextColumn(splits)

    @classmethod
    def open(cls, path: Path, labels: str = "") -> AuthorsClips:
        """Opens a manifest.

        Args:
            path: The JSON file.
            labels: Label CSV; empty: looked for beside the manifest (``labels.csv``, ``class_labels_indices*.csv``).

        Raises:
            InputError: The manifest or the CSV is malformed.
        """
        table = read_manifest(path)
        # Trimmed once, so that "a, b" and "a,b" are the same two labels.
        flat = pc.utf8_trim_whitespace(pc.list_flatten(pc.split_pattern(pc.unique(table["labels"]), ",")))
        mids = [mid for mid in pc.unique(flat).to_pylist() if mid]
        clips = cls(path.absolute().parent, table, find_labels(path, labels, mids))
        looked_at = [clips.root / wav for wav in clips._wavs[:_LOOKED_AT]] if "audio" in clips.modalities else []
        if looked_at and not any(wav.exists() for wav in looked_at):
            raise InputError(
                f"{path}: none of the first {len(looked_at)} sound files exists, such as {looked_at[0]}; correct 'wav'"
                " (relative paths start from the manifest's folder)."
            )
        return clips

    @classmethod
    def alike(cls, first: AuthorsClips, second: AuthorsClips) -> tuple[AuthorsClips, AuthorsClips]:
        """Returns the clips of two manifests with one list of classes, where one of the two has a label CSV for both.

        Raises:
            InputError: Both have one, and they call a class differently.
        """
        bare = [all(mid == name for mid, name in clips._names.items()) for clips in (first, second)]
        if bare[0] != bare[1]:
            named, other = (second, first) if bare[0] else (first, second)
            if other._names.keys() <= named._names.keys():
                renamed = cls(other.root, other._table, named._names)
                return (renamed, second) if bare[0] else (first, renamed)
            return first, second
        for mid in first._names.keys() & second._names.keys():
            if first._names[mid] != second._names[mid]:
                raise InputError(
                    f"--eval-data: the label CSVs next to {first.root} and {second.root} call '{mid}'"
                    f" '{first._names[mid]}' and '{second._names[mid]}', valid: one for both; --set data.labels=FILE."
                )
        return first, second

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def modalities(self) -> tuple[str, ...]:
        """What the manifest names files of."""
        first = [(name, self._table[column][0].as_py()) for name, column in _COLUMN_OF.items()] if len(self) else []
        return tuple(name for name, path in first if path) or MODALITIES

    @functools.cached_property
    def sha256(self) -> str:
        """Identity of the content, in any order.

        Entries of the manifest with their class names, and size and time of change of sound and first frame (of an
        even sample where there are more than some thousands: hashing the media would take hours).
        """
        table = self._table
        order = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in ("video_id", "wav")])
        digest = hashlib.sha256(canonical_json(self._names).encode())
        # In slices: the sorted copy of two million rows would take as much memory as the rows.
        for first in range(0, len(self), _CHUNK):
            rows = table.take(order.slice(first, _CHUNK))
            for row in zip(*(column.to_pylist() for column in rows.columns), strict=True):
                digest.update("\0".join(row).encode() + b"\n")
        if len(self):
            for i in order.to_numpy()[
                np.linspace(0, len(self) - 1, min(len(self), _STAMPED)).astype(np.int64)
            ].tolist():
                there = {"audio": self.root / self._wavs[i], "visual": self._frame_path(i, 0)}
                paths = (there[name] for name in self.modalities)
                digest.update(canonical_json([self.ids[i], *map(_stamp, paths)]).encode())
        return digest.hexdigest()

    def labels(self, i: int) -> tuple[str, ...]:
        """Returns the class names of clip ``i``."""
        mids = (mid.strip() for mid in self._labels[i].split(","))
        return tuple(self._names[mid] for mid in mids if mid)

    def label_codes(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Returns the labels of all clips as offsets and indices of :attr:`class_names`."""
        # Millions of clips have far fewer distinct sets of labels.
        coded = self._table["labels"].combine_chunks().dictionary_encode()
        sets = [[mid.strip() for mid in text.split(",")] for text in coded.dictionary.to_pylist()]
        index = {mid: i for i, mid in enumerate(self._names)}
        found = [np.array([index[mid] for mid in mids if mid], np.int32) for mids in sets]
        counts, of_clip = np.array([len(codes) for codes in found], np.int64), coded.indices.to_numpy()
        starts = np.cumsum(counts) - counts
        offsets = np.concatenate(([0], np.cumsum(counts[of_clip])))
        place = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - starts[of_clip], counts[of_clip])
        return offsets, np.concatenate([np.zeros(0, np.int32), *found])[place]

    def duration(self, i: int) -> float:
        """Returns NaN: the manifest does not say, and the reference never asks."""
        return float("nan")

    @functools.cached_property
    def _folders(self) -> list[int]:
        """How many folders frame_0, frame_1, ... each root has."""
        return [_count_frames(root) for root in self._roots]

    def n_frames(self, i: int) -> int:
        """Returns how many ``frame_i`` folders the clip's root has: single frames may be missing for a clip."""
        return self._folders[int(self._root_of[i])] if "visual" in self.modalities else 0

    prepared: None = None  # the layout does not tell how its files were made

    def grid(self, i: int) -> FrameGrid:
        """Returns how many frames the clip's root has, and when: of ten, CAV-MAE's times; else the layout is silent."""
        count = self.n_frames(i)
        return FrameGrid(count, "even" if count == _EVEN else None)

    def grids(self) -> Sequence[FrameGrid]:
        """Returns the different grids of the roots in use."""
        firsts = np.unique(self._root_of, return_index=True)[1].tolist()
        return tuple(dict.fromkeys(self.grid(i) for i in firsts))

    def waveform(self, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the sound file's mono waveform (samples,) in [-1, 1] and its own sample rate; channels are averaged.

        Raises:
            RunError: The file is missing, or cannot be read.
        """
        path = self.root / self._wavs[i]
        try:
            return read_sound(path)
        except (FFmpegError, OSError, ValueError) as error:
            raise RunError(f"clip '{self.ids[i]}': {path} {_reason(path, error)}.") from None

    def _frame_path(self, i: int, k: int) -> Path:
        return self._roots[int(self._root_of[i])] / f"frame_{k}" / f"{self.ids[i]}.jpg"

    def frame(self, i: int, k: int) -> NDArray[np.uint8]:
        """Returns frame ``k`` as RGB (H, W, 3); where it is missing, the nearest one before it.

        Raises:
            RunError: There is no frame from ``k`` down to 0, or it cannot be read.
        """
        path = self._frame_path(i, k)
        for step in range(min(k, max(self.n_frames(i) - 1, 0)), -1, -1):
            path = self._frame_path(i, step)
            try:
                return decode_jpeg(path.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, SyntaxError, ValueError) as error:
                raise RunError(f"clip '{self.ids[i]}': {path} {_reason(path, error)}.") from None
        raise RunError(f"clip '{self.ids[i]}': {path} is missing, and so are the frames after it.")

    def select(self, indices: Sequence[int] | NDArray[np.integer]) -> AuthorsClips:
        """Returns the clips at ``indices``, in that order."""
        table = self._table.take(pa.array(np.asarray(indices, dtype=np.int64)))
        return AuthorsClips(self.root, table, self._names)

    def ids_sha256(self) -> str:
        """Returns the hash of the sorted ids."""
        return hash_ids(self.ids)


def _count_frames(root: Path) -> int:
    count = 0
    while (root / f"frame_{count}").is_dir():
        count += 1
    return count


def _stamp(path: Path) -> list[int]:
    try:
        found = os.stat(path)  # noqa: PTH116  (a tenth faster on folders of millions)
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError) or not path.exists():
        return "is missing"
    return f"cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
