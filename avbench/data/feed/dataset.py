"""Clips as tensors: which frame, which audio window, and the noise, mixing and masks of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench.config import InputConfig
from avbench.data.corpus.clips import Clips, modalities_of
from avbench.data.corpus.frames import eval_frame, moments
from avbench.data.feed.augment import Augment, Mix, mix_waveforms
from avbench.data.feed.batch import Batch
from avbench.data.feed.decoding import Decoded, Files, rows_of
from avbench.data.feed.spectrogram import fit_rows, window_starts
from avbench.data.media.images import write_normalised
from avbench.errors import InputError
from avbench.rng import numpy_stream

Mode = Literal["train", "eval", "all_frames"]
# Additive noise is uniform in [0, 1) per cell times a factor uniform in [0, 1/10) (docs/protocol/cavmae.md 2.3).
_NOISE_SCALE = 0.1


@dataclass(frozen=True, slots=True)
class Item:
    """One clip.

    Attributes:
        index: Its position in the dataset.
        audio: Normalised log-mel rows, float32 (T, M); with windows (L, M), or (F, L, M) for all frames; None of
            pictures alone.
        visual: Normalised image, float32 (3, H, W), or (F, 3, H, W) for all frames; None of sound alone.
        target: Soft labels, float32 (C,), where the dataset has an ``augment``.
    """

    index: int
    audio: Tensor | None
    visual: Tensor | None
    target: Tensor | None = None


class AudioVisualDataset(torch.utils.data.Dataset[Item]):
    """Items of clips; a function of (clips, config, mode, seed, epoch, index), whoever computes them.

    ``train`` draws one frame per clip and epoch; ``eval`` takes the one that
    :func:`~avbench.data.corpus.frames.eval_frame` names; ``all_frames`` takes as many frames as the clip with the most
    has, a shorter clip's last one repeated. With ``config.segment_length`` each frame comes with the audio window
    around it (docs/protocol/cavmae_sync.md 2): the spectrogram is computed once at ``target_length`` rows and sliced.

    Args:
        clips: The clips.
        config: Sizes and normalisation.
        mode: Which frames.
        noise: Training only: additive noise, then a circular roll along time, after normalisation
            (docs/protocol/cavmae.md 2.3). Not applied to windows, where a roll would part sound and frame; the
            reference applies none there.
        seed: Seed of frame, noise and other draws.
        augment: Fine-tuning: mixing, masks and targets (:mod:`avbench.data.feed.augment`). In the reference's order:
            mixing, masks, normalisation, noise and roll.
        pairing: The frames of clip ``i`` are those of clip ``pairing[i]``, int64 (n,); None: its own.
        raw: Leave frames as bytes, to be normalised where they go; not those that an ``augment`` mixes.

    Raises:
        InputError: ``config.segment_length`` is longer than ``config.target_length``, or the pairing is not one of
            these clips.
    """

    def __init__(
        self,
        clips: Clips,
        config: InputConfig,
        *,
        mode: Mode,
        noise: bool = False,
        seed: int = 0,
        augment: Augment | None = None,
        pairing: NDArray[np.int64] | None = None,
        raw: bool = False,
    ) -> None:
        if config.segment_length > config.target_length:
            raise InputError(
                f"input.segment_length: found {config.segment_length}, valid: at most input.target_length"
                f" = {config.target_length}."
            )
        if pairing is not None and (
            pairing.shape != (len(clips),) or (len(clips) and not 0 <= pairing.min() <= pairing.max() < len(clips))
        ):
            raise InputError(
                f"pairing: found shape {pairing.shape}, valid: one position of {len(clips)} for each clip."
            )
        self.clips = clips
        self.config = config
        self.mode = mode
        self.augment = augment
        self.pairing = pairing
        self.raw = raw and augment is None
        self.noise = noise and mode == "train" and not config.segment_length
        self.seed = seed
        self.epoch = 0
        self.source: Decoded = Files(clips, config)
        has = modalities_of(clips)
        self.hears, self.sees = "audio" in has, "visual" in has
        # One number of frames for all clips, so that they can be stacked.
        self._n_frames = max((moments(clips, i) for i in range(len(clips))), default=1) if mode == "all_frames" else 1

    def __len__(self) -> int:
        return len(self.clips)

    def set_epoch(self, epoch: int) -> None:
        """Sets the counter that frame and noise draws depend on."""
        self.epoch = epoch

    def __getitem__(self, i: int) -> Item:
        batch = self.batch([i])
        parts = (None if part is None else part[0] for part in (batch.audio, batch.visual, batch.target))
        return Item(int(i), *parts)

    @property
    def frames_per_item(self) -> int:
        """How many frames an item holds, or sounds around the times of so many."""
        return self._n_frames

    def shown(self, i: int) -> int:
        """Returns whose frames clip ``i`` is seen with."""
        return i if self.pairing is None else int(self.pairing[i])

    def frames(self, i: int, repeat: int = 0) -> tuple[list[int], int]:
        """Returns which frames the item of clip ``i`` holds in this epoch, and of how many they are chosen."""
        if self.mode == "all_frames":
            return list(range(self._n_frames)), self._n_frames
        shown = self.shown(i)
        count = moments(self.clips, shown)
        if self.mode == "eval":
            return [eval_frame(self.clips, shown, self.config)], count
        return [int(numpy_stream(self.seed, "frame", *self._counters(i, repeat)).integers(count))], count

    def _counters(self, i: int, repeat: int) -> tuple[int, ...]:
        # The first of an epoch has no counter of its own, so that plain epochs keep the draws they always had.
        return (self.epoch, i, repeat) if repeat else (self.epoch, i)

    def batch(
        self, indices: Sequence[int] | NDArray[np.integer], repeats: Sequence[int] | NDArray[np.integer] | None = None
    ) -> Batch:
        """Returns the items at ``indices``, stacked.

        Args:
            indices: Positions of the clips.
            repeats: How often each clip came before in this epoch: it is drawn anew each time; None: never.

        Raises:
            RunError: A clip cannot be read; the message names it.
        """
        # NumPy where it can be: torch's threads, one set for each thread that calls it, would compete with the model's.
        chosen = [int(i) for i in indices]
        counts = [0] * len(chosen) if repeats is None else [int(r) for r in repeats]
        config = self.config
        rows = torch.empty(len(chosen) if self.hears else 0, config.target_length, config.n_mels)  # (B, T, M)
        side = config.image_size
        shape, kind = ((side, side, 3), torch.uint8) if self.raw else ((3, side, side), torch.float32)
        pictures = torch.empty(len(chosen) if self.sees else 0, self._n_frames, *shape, dtype=kind)
        windows: list[Tensor] = []
        mixes: dict[int, Mix] = {}
        for position, (i, repeat) in enumerate(zip(chosen, counts, strict=True)):
            frames, count = self.frames(i, repeat)
            mix = None if self.augment is None else self.augment.mix(len(self), self.seed, *self._counters(i, repeat))
            if self.hears:
                self._sound(i, repeat, mix, rows[position])
            if self.hears and config.segment_length:
                starts = window_starts(count, config.target_length, config.segment_length)
                windows += [rows[position, starts[k] : starts[k] + config.segment_length] for k in frames]
            if mix is not None:
                mixes[position] = mix
            if self.sees:
                self._look(i, frames, mix, pictures[position].numpy())
        audio = self._heard(rows, windows) if self.hears else None
        visual = pictures if self.sees else None
        if self.mode != "all_frames":
            audio, visual = (None if part is None else part[:, 0] for part in (audio, visual))
        raw = config if self.raw else None
        return Batch(torch.tensor(chosen), audio, visual, self._targets(chosen, mixes), raw)

    def _heard(self, rows: Tensor, windows: list[Tensor]) -> Tensor:
        """Returns a sound for each frame, (B, F, T, M), from those of the clips, (B, T, M), or their windows."""
        if self.config.segment_length:
            return torch.stack(windows).view(-1, self._n_frames, self.config.segment_length, self.config.n_mels)
        return rows[:, None].expand(-1, self._n_frames, -1, -1)

    def _look(self, i: int, frames: list[int], mix: Mix | None, out: NDArray[np.float32] | NDArray[np.uint8]) -> None:
        """Writes the frames of clip ``i`` as training sees them to ``out``.

        Args:
            i: The clip.
            frames: Which of them.
            mix: What it is mixed with.
            out: (F, 3, H, W) normalised; (F, H, W, 3) bytes where they are ``raw``.
        """
        for k, place in zip(frames, out, strict=True):  # one by one: what was just decoded is in the cache
            picture = self.source.picture(self.shown(i), k)
            np.copyto(place, picture) if self.raw else write_normalised(picture, self.config, place)
        if mix is not None:
            others = np.empty_like(out)
            for other, place in zip(self._partner_pictures(mix, frames), others, strict=True):
                write_normalised(other, self.config, place)
            out *= np.float32(mix.weight)
            out += others * np.float32(1 - mix.weight)

    def _sound(self, i: int, repeat: int, mix: Mix | None, out: Tensor) -> None:
        """Writes the rows of clip ``i`` as training hears them to ``out``.

        Args:
            i: The clip.
            repeat: How often it came before in this epoch.
            mix: What it is mixed with.
            out: (T, M).
        """
        counters, augment = self._counters(i, repeat), self.augment
        if mix is None:
            self.source.spectrogram(i, out)
        else:
            sound = mix_waveforms(self.source.waveform(i), self.source.waveform(mix.partner), mix.weight)
            fit_rows(rows_of(sound, self.config.sample_rate, self.config, self.clips.ids[i]), self.config, out)
        rows = out.numpy()
        if augment is not None:
            bins, times = augment.masks(*rows.shape, self.seed, *counters)
            # The reference writes raw zeros, like its padding, before it normalises.
            rows[:, bins.start : bins.end] = rows[times.start : times.end] = (
                -self.config.audio_mean / self.config.audio_std
            )
        if self.noise:
            self._add_noise(counters, rows)

    def _partner_pictures(self, mix: Mix, frames: list[int]) -> list[NDArray[np.uint8]]:
        """Returns the partner's frames: one of its own drawing, or all."""
        shown = self.shown(mix.partner)
        if self.mode == "train":
            frames = [int(mix.frame * moments(self.clips, shown))]
        return [self.source.picture(shown, k) for k in frames]

    def _targets(self, chosen: list[int], mixes: Mapping[int, Mix]) -> Tensor | None:
        if self.augment is None:
            return None
        targets = [self.augment.target(i, mixes.get(position)) for position, i in enumerate(chosen)]
        return torch.from_numpy(np.stack(targets))

    def _add_noise(self, counters: tuple[int, ...], rows: NDArray[np.float32]) -> None:
        stream = numpy_stream(self.seed, "noise", *counters)
        cells = stream.random(rows.shape, dtype=np.float32)
        cells *= np.float32(stream.random() * _NOISE_SCALE)
        cells += rows
        # The reference draws from randint(-T, T - 1), ends included.
        shift = int(stream.integers(-len(rows), len(rows))) % len(rows)
        rows[shift:] = cells[: len(rows) - shift]
        rows[:shift] = cells[len(rows) - shift :]
