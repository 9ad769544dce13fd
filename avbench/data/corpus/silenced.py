"""Clips whose sound is gone, to silence or to noise as loud as it was, or whose pictures are gone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avbench.data.corpus.changed import Change
from avbench.data.corpus.clips import Clips
from avbench.rng import numpy_stream

_GREY = 128


@dataclass(frozen=True)
class Silence(Change):
    """No sound, as long as it was."""

    def waveform(self, clips: Clips, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns zeros."""
        sound, rate = clips.waveform(i)
        return np.zeros_like(sound), rate


@dataclass(frozen=True)
class Noise(Change):
    """White noise in place of the sound, as long and as loud.

    Attributes:
        seed: Of the noise, a stream of its own for each clip's id.
    """

    seed: int = 0

    def waveform(self, clips: Clips, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns noise."""
        sound, rate = clips.waveform(i)
        level = np.sqrt(np.mean(np.square(sound, dtype=np.float64))) if len(sound) else 0.0
        noise = numpy_stream(self.seed, f"noise:{clips.ids[i]}").standard_normal(len(sound))
        return np.asarray(noise * level, np.float32), rate


@dataclass(frozen=True)
class Blank(Change):
    """Grey pictures, as many and as large as they were."""

    def frame(self, clips: Clips, i: int, k: int) -> NDArray[np.uint8]:
        """Returns a grey picture.

        Args:
            clips: The clips as they are.
            i: Which of them.
            k: Which frame.
        """
        return np.full_like(clips.frame(i, k), _GREY)
