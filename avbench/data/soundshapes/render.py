"""A clip in memory, and as the bytes of its file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avbench.data.soundshapes.factors import FPS, SAMPLE_RATE, Factors
from avbench.data.soundshapes.picture import draw, masks
from avbench.data.soundshapes.sound import synthesise
from avbench.data.soundshapes.video import encode


@dataclass(frozen=True)
class Rendered:
    """A clip before it is encoded.

    Attributes:
        factors: What it was drawn from.
        frames: uint8 (N, H, W, 3), RGB.
        fps: Frames per second.
        waveform: float32 (samples,) in [-1, 1].
        sample_rate: Samples per second.
    """

    factors: Factors
    frames: NDArray[np.uint8]
    fps: int
    waveform: NDArray[np.float32]
    sample_rate: int

    def mask(self, time: float) -> NDArray[np.bool_]:
        """Returns where the sounding object is at a time in seconds, (H, W)."""
        return np.asarray(masks(self.factors, np.array([time]))[0])

    def encoded(self) -> bytes:
        """Returns the clip as an mp4 file."""
        return encode(self.frames, self.fps, self.waveform, self.sample_rate)


def render(factors: Factors) -> Rendered:
    """Draws and sounds a clip."""
    return Rendered(factors, draw(factors), FPS, synthesise(factors), SAMPLE_RATE)
