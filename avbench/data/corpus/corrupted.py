"""Clips with damaged sounds or pictures; see :mod:`avbench.data.media.corrupt`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avbench.data.corpus.changed import Change
from avbench.data.corpus.clips import Clips
from avbench.data.media.corrupt import PICTURES, SOUNDS
from avbench.rng import numpy_stream


@dataclass(frozen=True)
class Corruption(Change):
    """One corruption of all clips.

    Attributes:
        kind: Of ``SOUNDS`` or ``PICTURES``.
        severity: 0, which changes nothing, to 5.
        seed: Of the draws, one stream a clip and frame.
    """

    kind: str
    severity: int
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.kind}@{self.severity}"

    def waveform(self, clips: Clips, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the sound of clip ``i``, damaged where the corruption is of sounds."""
        sound, rate = clips.waveform(i)
        if self.severity == 0 or self.kind not in SOUNDS:
            return sound, rate
        return SOUNDS[self.kind](sound, rate, self.severity, self._stream(clips, i)), rate

    def frame(self, clips: Clips, i: int, k: int) -> NDArray[np.uint8]:
        """Returns a frame, damaged where the corruption is of pictures.

        Args:
            clips: The clips as they are.
            i: Which of them.
            k: Which frame.
        """
        picture = clips.frame(i, k)
        if self.severity == 0 or self.kind not in PICTURES:
            return picture
        return PICTURES[self.kind](picture, self.severity, self._stream(clips, i, k))

    def _stream(self, clips: Clips, i: int, *frame: int) -> np.random.Generator:
        return numpy_stream(self.seed, f"corruption:{self.kind}:{clips.ids[i]}", *frame)
