"""Clips as tensors: which frame, which audio window, and the noise of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench.config import InputConfig
from avbench.data.clips import Clips
from avbench.data.images import normalise, resize_and_crop
from avbench.data.spectrogram import fit_rows, log_mel, window_starts
from avbench.errors import InputError, RunError
from avbench.rng import numpy_stream

Mode = Literal["train", "eval", "all_frames"]
# Additive noise is uniform in [0, 1) per cell times a factor uniform in [0, 1/10) (facts/cavmae.md 2.3).
_NOISE_SCALE = 0.1


@dataclass(frozen=True, slots=True)
class Item:
    """One clip.

    Attributes:
        index: Its position in the dataset.
        audio: Normalised log-mel rows, float32 (T, M); with windows (L, M), or (F, L, M) for all frames.
        visual: Normalised image, float32 (3, H, W), or (F, 3, H, W) for all frames.
    """

    index: int
    audio: Tensor
    visual: Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Several clips: ``index`` int64 (B,), and the tensors of :class:`Item` with a first axis of length B."""

    index: Tensor
    audio: Tensor
    visual: Tensor


class Source(Protocol):
    """Where the decoded parts of clips come from: the files, or memory."""

    def spectrogram(self, i: int, out: Tensor) -> None:
        """Writes the normalised rows of clip ``i``, float32 (target_length, n_mels), to ``out``."""
        ...

    def picture(self, i: int, k: int) -> NDArray[np.uint8]:
        """Returns frame ``k`` of clip ``i`` at the model's size, RGB (H, W, 3)."""
        ...


class Files:
    """Reads and decodes clips each time they are asked for."""

    def __init__(self, clips: Clips, config: InputConfig) -> None:
        self._clips = clips
        self._config = config

    def rows(self, i: int) -> Tensor:
        """Returns the log-mel rows of clip ``i``, neither padded nor normalised, at most target_length of them.

        Raises:
            RunError: The sound cannot be read, or is shorter than one window.
        """
        waveform, rate = self._clips.waveform(i)
        rows = log_mel(torch.from_numpy(waveform), rate, self._config, max_rows=self._config.target_length)
        if len(rows) == 0:
            raise RunError(
                f"clip '{self._clips.ids[i]}': its sound lasts {len(waveform) / rate:.3f} s, shorter than one window of"
                f" {self._config.frame_length_ms:g} ms; remove the clip, or prepare the data again."
            )
        return rows

    def spectrogram(self, i: int, out: Tensor) -> None:
        """See :class:`Source`."""
        fit_rows(self.rows(i), self._config, out)

    def picture(self, i: int, k: int) -> NDArray[np.uint8]:
        """See :class:`Source`."""
        return resize_and_crop(self._clips.frame(i, k), self._config.image_size)


class AudioVisualDataset(torch.utils.data.Dataset[Item]):
    """Items of clips; a function of (clips, config, mode, seed, epoch, index), whoever computes them.

    ``train`` draws one frame per clip and epoch; ``eval`` takes frame ``config.eval_frame``, or the last one there
    is; ``all_frames`` takes as many frames as the clip with the most has, a shorter clip's last one repeated. With
    ``config.segment_length`` each frame comes with the audio window around it (facts/cavmae_sync.md 2): the
    spectrogram is computed once at ``target_length`` rows and sliced.

    Args:
        clips: The clips.
        config: Sizes and normalisation.
        mode: Which frames.
        noise: Training only: additive noise, then a circular roll along time, after normalisation (facts/cavmae.md
            2.3). Not applied to windows, where a roll would part sound and frame; the reference applies none there.
        seed: Seed of frame and noise draws.

    Raises:
        InputError: ``config.segment_length`` is longer than ``config.target_length``.
    """

    def __init__(self, clips: Clips, config: InputConfig, *, mode: Mode, noise: bool = False, seed: int = 0) -> None:
        if config.segment_length > config.target_length:
            raise InputError(
                f"input.segment_length: found {config.segment_length}, valid: at most input.target_length"
                f" = {config.target_length}."
            )
        self.clips = clips
        self.config = config
        self.mode = mode
        self.noise = noise and mode == "train" and not config.segment_length
        self.seed = seed
        self.epoch = 0
        self.source: Source = Files(clips, config)
        # One number of frames for all clips, so that they can be stacked.
        self._n_frames = max(map(clips.n_frames, range(len(clips))), default=1) if mode == "all_frames" else 1

    def __len__(self) -> int:
        return len(self.clips)

    def set_epoch(self, epoch: int) -> None:
        """Sets the counter that frame and noise draws depend on."""
        self.epoch = epoch

    def __getitem__(self, i: int) -> Item:
        batch = self.batch([i])
        return Item(int(i), batch.audio[0], batch.visual[0])

    def frames(self, i: int) -> tuple[list[int], int]:
        """Returns which frames the item of clip ``i`` holds in this epoch, and of how many they are chosen."""
        if self.mode == "all_frames":
            return list(range(self._n_frames)), self._n_frames
        count = max(1, self.clips.n_frames(i))
        if self.mode == "eval":
            return [min(self.config.eval_frame, count - 1)], count
        return [int(numpy_stream(self.seed, "frame", self.epoch, i).integers(count))], count

    def batch(self, indices: Sequence[int] | NDArray[np.integer]) -> Batch:
        """Returns the items at ``indices``, stacked.

        Raises:
            RunError: A clip cannot be read; the message names it.
        """
        # NumPy where it can be: torch's threads, one set for each thread that calls it, would compete with the model's.
        chosen = [int(i) for i in indices]
        config = self.config
        rows = torch.empty(len(chosen), config.target_length, config.n_mels)  # (B, T, M)
        pictures: list[NDArray[np.uint8]] = []
        windows: list[Tensor] = []
        for position, i in enumerate(chosen):
            frames, count = self.frames(i)
            self.source.spectrogram(i, rows[position])
            if self.noise:
                self._add_noise(i, rows[position].numpy())
            if config.segment_length:
                starts = window_starts(count, config.target_length, config.segment_length)
                windows += [rows[position, starts[k] : starts[k] + config.segment_length] for k in frames]
            pictures += [self.source.picture(i, k) for k in frames]
        visual = normalise(np.stack(pictures), config)  # (B * F, 3, H, W)
        visual = visual.view(len(chosen), self._n_frames, *visual.shape[1:])
        if config.segment_length:
            audio = torch.stack(windows).view(len(chosen), self._n_frames, config.segment_length, config.n_mels)
        else:
            audio = rows[:, None].expand(-1, self._n_frames, -1, -1)
        if self.mode != "all_frames":
            audio, visual = audio[:, 0], visual[:, 0]
        return Batch(torch.tensor(chosen), audio, visual)

    def _add_noise(self, i: int, rows: NDArray[np.float32]) -> None:
        stream = numpy_stream(self.seed, "noise", self.epoch, i)
        cells = stream.random(rows.shape, dtype=np.float32)
        cells *= np.float32(stream.random() * _NOISE_SCALE)
        cells += rows
        # The reference draws from randint(-T, T - 1), ends included.
        shift = int(stream.integers(-len(rows), len(rows))) % len(rows)
        rows[shift:] = cells[: len(rows) - shift]
        rows[:shift] = cells[len(rows) - shift :]
