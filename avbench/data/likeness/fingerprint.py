"""What stays of a clip when it is encoded again, made smaller or louder: small vectors of its pictures and its sound.

Two clips are compared by the cosine of their vectors: 1 for a copy. A vector has no mean and no length, so brightness,
contrast and volume do not matter. It covers the clip from its start to its end: a copy that is cut shorter, shifted in
time, cropped or mirrored is another clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Int8 = npt.NDArray[np.int8]
Float64 = npt.NDArray[np.float64]

PICTURES = 3  # of a clip, evenly spread
SIDE = 8  # of such a picture, cells
WIDTH = PICTURES * SIDE * SIDE * 3
BANDS, PIECES = 24, 32  # of a sound: bands of equal width in octaves, pieces of equal length
BAND_HZ = (100.0, 5000.0)  # what every codec and rate keeps
FLOOR = 1e-5  # -50 dB: below the loudest cell codecs differ
WINDOW_S = 0.128
BLANK = 2.0  # standard deviation of picture cells, of 255 levels, up to which they show nothing to compare
STEADY = 0.5  # the same of sound cells, dB
STILL_SIDE, STILL_LEVELS = 16, 3.0  # cells a side, and the levels that none of them leaves


class Fingerprints:
    """Fingerprints of n clips, 1.3 kB each; a row of zeros where there is nothing to compare.

    Attributes:
        pictures: (n, WIDTH).
        sounds: (n, BANDS * PIECES).
        still: (n,): several pictures, all the same.
    """

    def __init__(self, n: int) -> None:
        self.pictures: Int8 = np.zeros((n, WIDTH), np.int8)
        self.sounds: Int8 = np.zeros((n, BANDS * PIECES), np.int8)
        self.still = np.zeros(n, np.bool_)

    def take(self, row: int, frames: Sequence[npt.NDArray[np.uint8]], samples: npt.NDArray[Any], rate: int) -> None:
        """Keeps a clip's fingerprints.

        Args:
            row: Of the clip.
            frames: RGB (H, W, 3) each.
            samples: (samples,) or (channels, samples).
            rate: Samples a second.
        """
        if frames:
            small = np.stack([_cells(frame) for frame in frames])
            self.still[row] = len(small) > 1 and bool(np.abs(small.mean(3) - small[:1].mean(3)).max() <= STILL_LEVELS)
            self.pictures[row] = _kept(_pictures(small), BLANK)
        mono = samples if samples.ndim == 1 else samples.mean(axis=0)
        if mono.size:
            self.sounds[row] = _kept(_sound(mono, rate), STEADY)


def _cells(frame: npt.NDArray[np.uint8]) -> Float64:
    image = Image.fromarray(frame).resize((STILL_SIDE, STILL_SIDE), Image.Resampling.BOX)
    return np.asarray(image, np.float64)


def _pictures(small: Float64) -> Float64:
    """Returns the cells of evenly spread pictures without their mean colour."""
    chosen = small[[int((k + 0.5) * len(small) / PICTURES) for k in range(PICTURES)]]
    step = STILL_SIDE // SIDE
    cells = chosen.reshape(PICTURES, SIDE, step, SIDE, step, 3).mean(axis=(2, 4))
    return np.asarray(cells - cells.mean(axis=(1, 2), keepdims=True))


def _sound(samples: npt.NDArray[Any], rate: int) -> Float64:
    """Returns how the level of each band changes in time, apart from what all bands do, (PIECES, BANDS), dB."""
    window = max(2, round(WINDOW_S * rate))
    hop = max(1, min(window // 2, (len(samples) - window) // (PIECES - 1)))
    padded = np.pad(samples, (0, max(0, window + (PIECES - 1) * hop - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(window), axis=1)) ** 2
    edges = np.searchsorted(np.fft.rfftfreq(window, 1 / rate), np.geomspace(*BAND_HZ, BANDS + 1))
    below = np.pad(power, ((0, 0), (1, 0))).cumsum(axis=1)[:, np.minimum(edges, power.shape[1])]
    until = np.pad(np.diff(below, axis=1), ((1, 0), (0, 0))).cumsum(axis=0)
    at = np.linspace(0, len(frames), PIECES + 1)
    ends = np.stack([np.interp(at, np.arange(len(until)), band) for band in until.T], axis=1)
    cells = np.diff(ends, axis=0)
    loudest = cells.max()
    if not loudest > 0:
        return np.zeros_like(cells)
    level = 10 * np.log10(np.maximum(cells / loudest, FLOOR))
    return np.asarray(level - level.mean(axis=0) - level.mean(axis=1, keepdims=True) + level.mean())


def _kept(cells: Float64, least: float) -> Int8:
    """Returns cells as whole numbers to 127; zeros where they vary too little."""
    if not cells.std() > least:
        return np.zeros(cells.size, np.int8)
    return np.asarray(np.round(cells.ravel() * (127 / np.abs(cells).max())), np.int8)
