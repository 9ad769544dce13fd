"""A model in memory that embeds videos, of any length, rate and size, as retrieval does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from avbench import registry
from avbench.config import MODALITIES, DataConfig, InputConfig
from avbench.data.corpus.decoded import DecodedClips
from avbench.data.feed.dataset import AudioVisualDataset
from avbench.data.feed.heard import HeardClips
from avbench.data.feed.spectrogram import window_starts
from avbench.data.media.decode import DecodedSpan
from avbench.data.media.modalities import modalities_of_file
from avbench.data.media.prepare_settings import PrepareSettings
from avbench.data.media.verdict import Rejected
from avbench.errors import InputError
from avbench.files.paths import check_is_file
from avbench.running import encoded, weights
from avbench.running.options import ConfigOptions
from avbench.running.request import resolve
from avbench.settings import build
from avbench.store.extracted import Arrays, embeddings, unit_length
from avbench.training.device import resolve_device

if TYPE_CHECKING:
    from avbench.data.wants import Wants
    from avbench.encoders.judged import Judged


@dataclass(frozen=True)
class VideoEmbedding:
    """Embeddings of a video; row i of ``audio`` and ``visual`` describes the span ``times[i]``.

    Attributes:
        times: (n, 2) start and end of the sound heard, in seconds of the video.
        frame_times: (n,) when the frame seen was on display, in seconds of the video; of several frames that give one
            row, the middle one; NaN where none was seen.
        audio: (n, d) float32, of unit length; None where the model or the file has no sound.
        visual: (n, d) likewise, of the frames.
        rejected: What of the video could not be used, and why.
        vectors: (windows, F, D) by modality, as the model gave them.
    """

    times: npt.NDArray[np.float64]
    frame_times: npt.NDArray[np.float64]
    audio: npt.NDArray[np.float32] | None
    visual: npt.NDArray[np.float32] | None
    rejected: tuple[str, ...] = ()
    vectors: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A method or an encoder with weights.

    Attributes:
        name: Whose.
        judged: What computes, on its device and in evaluation mode.
        input: What a method hears and sees.
        frames: How many frames of a window, and when.
        takes: Its modalities.
        wants: What anybody's encoder hears and sees, in place of these.
    """

    name: str
    judged: Judged
    input: InputConfig
    frames: DataConfig
    takes: tuple[str, ...]
    wants: Wants | None = None

    @classmethod
    def load(
        cls,
        method: str,
        checkpoint: Path | None = None,
        *,
        settings: Sequence[str] = (),
        device: str = "auto",
        precision: str = "auto",
    ) -> Model:
        """Loads weights, strictly; see :func:`avbench.api.load_model`, whose settings are here ``key=value`` each."""
        entry = registry.find("method", method)
        if checkpoint is None and not entry.encoder:  # which may have weights of its own
            raise InputError("--checkpoint: found nothing, valid: a weights file.")
        options = ConfigOptions(
            data=".",  # no set of ours, which would bring its own preset
            checkpoint=checkpoint,
            set=(tuple(settings),),
            device=device,  # type: ignore[arg-type]  # checked where it is resolved
            precision=precision,  # type: ignore[arg-type]
        )
        (request,) = options.requests((method,), registry.tasks_of(entry)[:1], (0,))
        config = resolve(request)
        judged = weights.load(config, (), resolve_device(device))
        takes, wants = tuple(entry.card["modalities"]), encoded.wants(config)
        return cls(entry.shown, judged, config.input, config.data, takes, wants)

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
        """Embeds a video in consecutive windows as long as the model hears; of one modality, what there is of it.

        A window gives one row: its whole sound, and frame ``eval_frame`` of its method's (ten), as in the paper's
        retrieval. Where the model hears segments around frames (Sync: 16), or an encoder gives several vectors of a
        clip, it gives one row for each.

        Raises:
            InputError: The file is not there, or nothing in it can be used; the reason is named.
            RunError: An encoder's function failed, or returned what cannot be used.
        """
        there = _there(Path(path), self.takes)
        clips, rejected = windows_of(Path(path), self.input, self.frames, self.wants, there)
        parts = [found for _, found in self.judged.computed("vectors", clips, np.arange(len(clips)), workers=0)]
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        vectors = embeddings(whole, self.name)
        rows = max(values.shape[1] for values in vectors.values())
        sides = {
            side: unit_length(values)[:, _nearest(rows, values.shape[1])].reshape(-1, values.shape[-1])
            for side, values in vectors.items()
        }
        dataset: Any = self.judged.heard(clips)
        spans = np.array([span for i in range(len(clips)) for span in _spans(clips.windows[i], dataset, i, rows)])
        return VideoEmbedding(
            spans[:, :2], spans[:, 2], sides.get("audio"), sides.get("visual"), tuple(rejected), vectors
        )

    def similarity(self, sound_of: VideoEmbedding, picture_of: VideoEmbedding) -> float | None:
        """Returns how similar one video's sound and another's picture are, on average over all pairs of their windows.

        It is the cosine, or the similarity that an encoder defines. None: there is no such sound or picture.

        Raises:
            InputError: Their vectors differ in width, and the encoder defines no similarity.
            RunError: The encoder's similarity failed.
        """
        if sound_of.audio is None or picture_of.visual is None:
            return None
        if self.judged.scores is not None:
            blocks = list(self.judged.scores(sound_of.vectors["audio"], picture_of.vectors["visual"]))
            return float(np.concatenate(blocks).mean())
        sound, picture = sound_of.audio.shape[1], picture_of.visual.shape[1]
        if sound != picture:
            raise InputError(f"found widths {sound} (audio) and {picture} (visual), valid: the same.")
        return cosine(sound_of.audio, picture_of.visual)


def cosine(a: npt.NDArray[np.float32] | None, b: npt.NDArray[np.float32] | None) -> float | None:
    """Returns the cosine of rows of unit length, averaged over all pairs; None where a side is not there."""
    return None if a is None or b is None else float((a @ b.T).mean())


def windows_of(
    path: Path,
    config: InputConfig,
    frames: DataConfig,
    wants: Wants | None = None,
    modalities: tuple[str, ...] = MODALITIES,
) -> tuple[DecodedClips, list[str]]:
    """Decodes a video in consecutive windows as long as a model hears; returns them, and what cannot be used and why.

    Args:
        path: The video.
        config: What a method hears and sees.
        frames: How many frames of a window, and when.
        wants: What anybody's encoder hears and sees, which then decides it.
        modalities: Those that are decoded.

    Raises:
        InputError: The file is not there, or nothing in it can be used; the reason is named.
    """
    check_is_file(path, valid="a video")
    # No longer than prepared clips are, so that a clip embeds here as it does in ``avbench features``.
    longest = PrepareSettings().max_seconds
    chosen: dict[str, Any]
    if wants is None:
        seconds, shortest = config.target_length * config.frame_shift_ms / 1000, config.frame_length_ms / 1000
        chosen = {
            "n_frames": frames.n_frames,
            "sampling": frames.sampling,
            "size": config.image_size,
            "sample_rate": config.sample_rate,
        }
    else:
        seconds, shortest, chosen = wants.seconds or longest, 0.0, wants.preparation(wants.frames)
    chosen |= {"modality": "both" if modalities == MODALITIES else modalities[0]}
    settings = build(PrepareSettings, {**chosen, "window": min(seconds, longest), "min_fraction": 0.0})
    clips, rejected = DecodedClips.decode(path, settings)
    audible = []
    for i, window in enumerate(clips.windows):
        if window.samples is None or window.duration > shortest:
            audible.append(i)
        else:
            rejected.append(f"{window.start:.1f} s: shorter than one row of the spectrogram")
    clips = clips.select(audible)
    if len(clips) == 0:
        raise InputError(f"{path}: nothing in it can be used ({'; '.join(rejected) or 'no sound and picture'}).")
    return clips, rejected


def _there(path: Path, takes: tuple[str, ...]) -> tuple[str, ...]:
    """Returns what a file has of the modalities that a model takes; all of them where decoding tells the fault."""
    try:
        has = modalities_of_file(path, PrepareSettings().max_pixels)
    except Rejected:
        return takes
    return tuple(each for each in takes if each in has) or takes


def _nearest(rows: int, count: int) -> npt.NDArray[np.int64]:
    """Returns for the middle of each of ``rows`` equal parts of a window in which of ``count`` equal parts it lies."""
    return ((np.arange(rows) + 0.5) / rows * count).astype(np.int64)


def _spans(
    window: DecodedSpan, dataset: AudioVisualDataset | HeardClips, i: int, rows: int
) -> list[tuple[float, float, float]]:
    """Returns start and end of the sound, and time of the frame, for each row a window gives, in seconds.

    Args:
        window: The window.
        dataset: What reads it for the model.
        i: Which window it is.
        rows: How many rows it gives.
    """
    times = window.frame_times or [np.nan]
    if isinstance(dataset, HeardClips):
        times = times[: dataset.wants.frames]
        shown = _nearest(rows, len(times))
        return [(window.start, window.start + window.duration, window.start + times[k]) for k in shown]
    config = dataset.config
    frames, _ = dataset.frames(i)
    length = config.segment_length or config.target_length
    hop = config.frame_shift_ms / 1000
    starts = window_starts(len(frames), config.target_length, length) if config.segment_length else [0]
    return [
        (
            window.start + start * hop,
            window.start + min((start + length) * hop, window.duration),
            window.start + times[min(k, len(times) - 1)],
        )
        for k, start in zip(frames, starts, strict=True)
    ]
