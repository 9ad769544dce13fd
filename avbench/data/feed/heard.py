"""Clips as anybody's encoder hears and sees them: waveforms and pictures, of each clip as many as it has."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from avbench.data.corpus.clips import Clips, modalities_of
from avbench.data.media.waveform import resample
from avbench.data.wants import Wants
from avbench.errors import RunError

log = logging.getLogger("avbench")


@dataclass(frozen=True, slots=True)
class HeardBatch:
    """Several clips, one element of each list for each clip.

    Attributes:
        index: (B,) their positions.
        rate: Samples per second of the sounds.
        sounds: float32 (samples,) or (channels, samples), or what the encoder's ``prepare_audio`` makes of it.
        pictures: uint8 (F, H, W, 3), or what the encoder's ``prepare_visual`` makes of it.
        times: float32 (F,) seconds from the clip's start.
    """

    index: Tensor
    rate: int
    sounds: list[Any] = field(default_factory=list)
    pictures: list[Any] = field(default_factory=list)
    times: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class HeardClips:
    """Reads clips for an encoder.

    Attributes:
        clips: The clips.
        wants: What it hears and sees.
        prepare: Functions by modality, called with a clip's id and then as an encoder's ``prepare_audio`` and
            ``prepare_visual`` are; missing ones do nothing.
    """

    clips: Clips
    wants: Wants
    prepare: dict[str, Callable[..., Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def modalities(self) -> tuple[str, ...]:
        """What is read: what the encoder takes and the clips have."""
        has = modalities_of(self.clips)
        return tuple(each for each in self.wants.modalities if each in has)

    def batch(self, indices: Sequence[int] | NDArray[np.integer], repeats: object = None) -> HeardBatch:
        """Returns the clips at ``indices``; ``repeats`` changes nothing, as nothing is drawn.

        Raises:
            RunError: A clip cannot be read; the message names it.
        """
        chosen = [int(i) for i in indices]
        found = HeardBatch(torch.tensor(chosen), self.wants.sample_rate)
        modalities = self.modalities
        for i in chosen:
            if "audio" in modalities:
                found.sounds.append(self.prepared("audio", i, self.sound(i), self.wants.sample_rate))
            if "visual" in modalities:
                pictures, times = self.pictures(i)
                found.pictures.append(self.prepared("visual", i, pictures, times))
                found.times.append(times)
        return found

    def prepared(self, modality: str, i: int, value: Tensor, beside: Any) -> Any:
        """Returns what an encoder makes of one clip's sound or pictures where it is read.

        Args:
            modality: ``audio`` or ``visual``.
            i: The clip.
            value: Its sound or pictures.
            beside: The sample rate, or the times.
        """
        prepare = self.prepare.get(modality)
        return value if prepare is None else prepare(self.clips.ids[i], value, beside)

    def sound(self, i: int) -> Tensor:
        """Returns the sound of clip ``i``, (samples,) or (channels, samples), no longer than is wanted.

        Raises:
            RunError: It cannot be read, or is empty.
        """
        wants = self.wants
        stored: Any = (
            getattr(self.clips, "channels", self.clips.waveform) if wants.channels > 1 else self.clips.waveform
        )
        waveform, rate = stored(i)
        if wants.seconds is not None:  # resampled alone, a long sound would take most of the time
            waveform = waveform[..., : int(np.ceil(wants.seconds * rate)) + rate]
        sides = [resample(side, rate, wants.sample_rate) for side in np.atleast_2d(waveform)]
        if wants.channels > 1 and len(sides) == 1:
            tell_once(f"encoders of {wants.channels} channels hear the same on each: the clips are stored with one")
            sides *= wants.channels
        found = np.stack(sides)
        if wants.seconds is not None:
            found = found[:, : round(wants.seconds * wants.sample_rate)]
        if not found.shape[-1]:
            raise RunError(f"clip '{self.clips.ids[i]}': its sound is empty; remove the clip.")
        return torch.from_numpy(np.ascontiguousarray(found if wants.channels > 1 else found[0]))

    def pictures(self, i: int) -> tuple[Tensor, Tensor]:
        """Returns the pictures of clip ``i``, uint8 (F, H, W, 3), and their times in seconds, (F,).

        Raises:
            RunError: A picture cannot be read.
        """
        count = self.wants.frames
        stored = [self.clips.frame(i, k) for k in range(count)]
        if self.wants.image is not None:
            stored = [fit(picture, self.wants.image) for picture in stored]
        return torch.from_numpy(np.stack(stored)), torch.tensor(self._times(i)[:count], dtype=torch.float32)

    def _times(self, i: int) -> list[float]:
        known: Any = getattr(self.clips, "frame_times", None)
        times = list(known(i)) if known is not None else []
        if not times:
            duration = self.clips.duration(i)
            times = [duration * (k + 0.5) / self.wants.frames for k in range(self.wants.frames)]
        return times + times[-1:] * (self.wants.frames - len(times))  # a clip that lacks frames shows its last again


@functools.cache
def tell_once(text: str) -> None:
    """Warns, once in a process."""
    log.warning("%s", text)


def fit(picture: NDArray[np.uint8], image: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns the middle of a picture at a size: resized (bicubic) until it covers it, then cut.

    Args:
        picture: RGB (H, W, 3).
        image: Height and width wanted.
    """
    height, width = picture.shape[:2]
    if (height, width) == image:
        return picture
    scale = max(image[0] / height, image[1] / width)
    larger = max(image[1], round(width * scale)), max(image[0], round(height * scale))
    resized = Image.fromarray(picture).resize(larger, Image.Resampling.BICUBIC)
    left, top = (larger[0] - image[1]) // 2, (larger[1] - image[0]) // 2
    return np.asarray(resized.crop((left, top, left + image[1], top + image[0])))
