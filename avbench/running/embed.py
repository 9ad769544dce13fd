"""A model in memory that embeds videos, of any length, rate and size, as retrieval does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from avbench import registry
from avbench.config import DataConfig, InputConfig, Precision
from avbench.data.corpus.decoded import DecodedClips
from avbench.data.feed.dataset import AudioVisualDataset
from avbench.data.feed.spectrogram import window_starts
from avbench.data.media.decode import DecodedSpan
from avbench.data.media.prepare_settings import PrepareSettings
from avbench.errors import InputError
from avbench.files.paths import check_is_file
from avbench.running.request import frames_of
from avbench.settings import build
from avbench.training.device import Device, resolve_device
from avbench.training.precision import autocast, resolve_precision

if TYPE_CHECKING:
    from avbench.data.wants import Wants
    from avbench.methods.base import Method


@dataclass(frozen=True)
class VideoEmbedding:
    """Embeddings of a video; row i of ``audio`` and ``visual`` describes the span ``times[i]``.

    Attributes:
        times: (n, 2) start and end of the sound heard, in seconds of the video.
        frame_times: (n,) when the frame seen was on display, in seconds of the video.
        audio: (n, d) float32, of unit length.
        visual: (n, d) likewise.
        rejected: What of the video could not be used, and why.
    """

    times: npt.NDArray[np.float64]
    frame_times: npt.NDArray[np.float64]
    audio: npt.NDArray[np.float32]
    visual: npt.NDArray[np.float32]
    rejected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """A method with weights.

    Attributes:
        method: The module, in evaluation mode.
        device: Where it computes.
        precision: The arithmetic.
    """

    method: Method
    device: Device
    precision: Precision

    @classmethod
    def load(cls, method: str, checkpoint: Path, *, device: str = "auto", precision: str = "auto") -> Model:
        """Loads weights, strictly; see :func:`avbench.api.load_model`."""
        from avbench.training.checkpoints import build_from_checkpoint

        registry.find("method", method)
        where = resolve_device(device)
        module = build_from_checkpoint(checkpoint, method=method).to(where).eval()
        return cls(module, where, resolve_precision(precision, where))

    @classmethod
    def newest(cls, results: Path) -> Model:
        """Loads the weights that were pretrained last.

        Raises:
            InputError: Nothing was pretrained into ``results``.
        """
        from avbench.store.seal import check_file
        from avbench.training.session import WEIGHTS

        finished = sorted(results.glob("stages/pretrain/*/done.json"), key=lambda path: path.stat().st_mtime)
        if not finished:
            raise InputError(
                f"{results}: found no pretrained weights; give model=load_model(...), or avbench run first."
            )
        from avbench.training.weights_file import read_checkpoint

        weights = finished[-1].with_name(WEIGHTS)
        check_file(weights)
        method = registry.installed("method", str(read_checkpoint(weights).metadata.get("method", "")))
        return cls.load(method.name, weights)

    def embed_video(self, path: str | Path) -> VideoEmbedding:
        """Embeds a video in consecutive windows as long as the model hears.

        A window gives one row: its whole sound, and frame ``eval_frame`` of its method's (ten), as in the paper's
        retrieval. Where the model hears segments around frames (Sync: 16), it gives one row a frame.

        Raises:
            InputError: The file is not there, or nothing in it can be used; the reason is named.
        """
        config = self.method.input_config
        around_frames = config.segment_length > 0
        clips, rejected = windows_of(Path(path), config, frames_of(registry.find("method", self.method.name).card))
        dataset = AudioVisualDataset(clips, config, mode="all_frames" if around_frames else "eval")
        sounds, pictures = [], []
        for i in range(len(clips)):
            batch = dataset.batch([i])
            with torch.inference_mode(), autocast(self.precision, self.device):
                audio, visual = self.method.embed(*batch.inputs(self.device))
            sounds.append(audio.float().cpu().numpy().reshape(-1, audio.shape[-1]))
            pictures.append(visual.float().cpu().numpy().reshape(-1, visual.shape[-1]))
        spans = np.array([span for i in range(len(clips)) for span in _spans(clips.windows[i], dataset, i)])
        return VideoEmbedding(
            spans[:, :2], spans[:, 2], np.concatenate(sounds), np.concatenate(pictures), tuple(rejected)
        )


def windows_of(
    path: Path, config: InputConfig, frames: DataConfig, wants: Wants | None = None
) -> tuple[DecodedClips, list[str]]:
    """Decodes a video in consecutive windows as long as a model hears; returns them, and what cannot be used and why.

    Args:
        path: The video.
        config: What a method hears and sees.
        frames: How many frames of a window, and when.
        wants: What anybody's encoder hears and sees, which then decides it.

    Raises:
        InputError: The file is not there, or nothing in it can be used; the reason is named.
    """
    check_is_file(path, valid="a video")
    # No longer than prepared clips are, so that a clip embeds here as it does in ``avbench features``.
    longest = PrepareSettings().max_seconds
    if wants is None:
        seconds, shortest = config.target_length * config.frame_shift_ms / 1000, config.frame_length_ms / 1000
        chosen = {
            "n_frames": frames.n_frames,
            "sampling": frames.sampling,
            "size": config.image_size,
            "sample_rate": config.sample_rate,
        }
    else:
        seconds, shortest, chosen = wants.seconds or longest, 0.0, wants.preparation(frames.n_frames)
    settings = build(PrepareSettings, {**chosen, "window": min(seconds, longest), "min_fraction": 0.0})
    clips, rejected = DecodedClips.decode(path, settings)
    audible = []
    for i, window in enumerate(clips.windows):
        if window.duration > shortest:
            audible.append(i)
        else:
            rejected.append(f"{window.start:.1f} s: shorter than one row of the spectrogram")
    clips = clips.select(audible)
    if len(clips) == 0:
        raise InputError(f"{path}: nothing in it can be used ({'; '.join(rejected) or 'no sound and picture'}).")
    return clips, rejected


def _spans(window: DecodedSpan, dataset: AudioVisualDataset, i: int) -> list[tuple[float, float, float]]:
    """Returns start and end of the sound, and time of the frame, for each row a window gives, in seconds."""
    config = dataset.config
    frames, _ = dataset.frames(i)
    rows, hop = config.target_length, config.frame_shift_ms / 1000
    length = config.segment_length or rows
    starts = window_starts(len(frames), rows, length) if config.segment_length else [0]
    return [
        (
            window.start + start * hop,
            window.start + min((start + length) * hop, window.duration),
            window.start + window.frame_times[min(k, len(window.frame_times) - 1)],
        )
        for k, start in zip(frames, starts, strict=True)
    ]
