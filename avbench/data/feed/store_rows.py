"""Computes the spectrograms of a prepared folder once and stores them beside it; reading them is in corpus/."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from avbench.config import InputConfig
from avbench.data.corpus.prepared import PreparedClips
from avbench.data.corpus.stored_rows import FOLDER, described, name_of
from avbench.data.feed.decoding import Files
from avbench.data.feed.loader import batches
from avbench.data.progress import Progress
from avbench.errors import InputError
from avbench.files import atomic_path, write_json

_BATCH = 16  # clips that a process computes at once


@dataclass(frozen=True)
class _Rows:
    """The rows of clips, as :class:`~avbench.data.feed.loader.Batched` gives them out."""

    clips: PreparedClips
    files: Files

    def __len__(self) -> int:
        return len(self.clips)

    def batch(self, indices: NDArray[Any], repeats: NDArray[Any]) -> list[Tensor]:
        return [self.files.rows(int(i)) for i in indices]


def store_rows(folder: Path, config: InputConfig, *, workers: int = -1, progress: bool = True) -> Path:
    """Writes the spectrograms of all clips; a run that is stopped leaves none.

    Args:
        folder: A prepared folder.
        config: Sizes of the spectrogram.
        workers: Processes; -1: one for every core but one.
        progress: Show progress on standard error.

    Returns:
        The file that holds them.

    Raises:
        InputError: It is no prepared folder, or one of pictures alone.
        RunError: The sound of a clip cannot be read.
    """
    clips = PreparedClips.open(folder)
    if "audio" not in clips.modalities:
        raise InputError(f"{folder}: found pictures alone, valid: clips with sound, of which spectrograms are made.")
    belongs = described(folder, config)
    path = folder / FOLDER / f"{name_of(config)}.npy"
    path.with_suffix(".json").unlink(missing_ok=True)
    index = np.zeros((len(clips), 2), np.uint32)
    with atomic_path(path) as temporary, Progress("spectrograms", len(clips), unit="clip", enabled=progress) as bar:
        shape = len(clips), config.target_length, config.n_mels
        stored = np.lib.format.open_memmap(temporary, "w+", np.dtype(np.float32), shape)
        source, first = _Rows(clips, Files(clips, config, stored=False)), 0
        for found in batches(source, np.arange(len(clips)), _BATCH, workers=workers):
            for row, rows in enumerate(found, first):
                values = rows.numpy()
                stored[row, : len(values)] = values
                index[row] = len(values), zlib.crc32(values.tobytes())
            first += len(found)
            bar.step(count=len(found))
        stored.flush()
    with atomic_path(path.with_suffix(".clips.npy")) as temporary, temporary.open("wb") as handle:
        np.save(handle, index)
    write_json(path.with_suffix(".json"), belongs)
    return path
