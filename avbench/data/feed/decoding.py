"""Where the decoded parts of clips come from: the files, or memory (:mod:`avbench.data.feed.memory`)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench.config import InputConfig
from avbench.data.corpus.clips import Clips
from avbench.data.corpus.stored_rows import find_rows
from avbench.data.feed.spectrogram import fit_rows, log_mel
from avbench.data.media.images import resize_and_crop
from avbench.data.media.waveform import resample
from avbench.errors import RunError


class Decoded(Protocol):
    """Where the decoded parts of clips come from: the files, or memory."""

    def spectrogram(self, i: int, out: Tensor) -> None:
        """Writes the normalised rows of clip ``i``, float32 (target_length, n_mels), to ``out``."""
        ...

    def waveform(self, i: int) -> NDArray[np.float32]:
        """Returns the sound of clip ``i``, (samples,) at ``config.sample_rate``."""
        ...

    def picture(self, i: int, k: int) -> NDArray[np.uint8]:
        """Returns frame ``k`` of clip ``i`` at the model's size, RGB (H, W, 3)."""
        ...


class Files:
    """Reads and decodes clips each time they are asked for.

    Args:
        clips: The clips.
        config: Sizes and normalisation.
        stored: Read spectrograms that are stored beside the clips, where there are some for these settings.
    """

    def __init__(self, clips: Clips, config: InputConfig, *, stored: bool = True) -> None:
        self._clips = clips
        self._config = config
        self._stored = find_rows(clips, config) if stored else None

    def rows(self, i: int) -> Tensor:
        """Returns the log-mel rows of clip ``i``, neither padded nor normalised, at most target_length of them.

        Raises:
            RunError: The sound cannot be read, or is shorter than one window.
        """
        if self._stored is not None:
            stored, clips = self._stored
            return torch.from_numpy(stored.read(clips.row(i), clips.ids[i]))
        waveform, rate = self._clips.waveform(i)
        return rows_of(waveform, rate, self._config, self._clips.ids[i])

    def spectrogram(self, i: int, out: Tensor) -> None:
        """See :class:`Decoded`."""
        fit_rows(self.rows(i), self._config, out)

    def waveform(self, i: int) -> NDArray[np.float32]:
        """See :class:`Decoded`."""
        waveform, rate = self._clips.waveform(i)
        return waveform if rate == self._config.sample_rate else resample(waveform, rate, self._config.sample_rate)

    def picture(self, i: int, k: int) -> NDArray[np.uint8]:
        """See :class:`Decoded`."""
        return resize_and_crop(self._clips.frame(i, k), self._config.image_size)


def rows_of(waveform: NDArray[np.float32], rate: int, config: InputConfig, clip: str) -> Tensor:
    """Returns the log-mel rows of a sound, neither padded nor normalised, at most target_length of them.

    Arguments as in :func:`log_mel`; ``clip`` is named in errors.

    Raises:
        RunError: The sound is shorter than one window.
    """
    rows = log_mel(torch.from_numpy(waveform), rate, config, max_rows=config.target_length)
    if len(rows) == 0:
        raise RunError(
            f"clip '{clip}': its sound lasts {len(waveform) / rate:.3f} s, shorter than one window of"
            f" {config.frame_length_ms:g} ms; remove the clip, or prepare the data again."
        )
    return rows
