"""What a clip of the embedded set is made of: every factor drawn from named streams, and the label they give.

A clip shows one sounding object before a dull background, with silent objects around it. What picture and sound share,
what belongs to one of them alone, and the label:

========== ======== ================================================ =============================================
factor     kind     picture                                          sound
========== ======== ================================================ =============================================
shape (4)  shared   disk, square, triangle, ring, each with its own  timbre: sine, odd harmonics, all harmonics,
                    texture (plain, stripes across, down, checks)    chord
pitch s(t) shared   hue 0.75 s (red to violet), changing in time     fundamental 200 * 6^s Hz, changing with it
row        shared   height of the object and its brightness          centre of a band of hiss, 1.9 to 7 kHz
rimmed     picture  white rim or none                                -
pulsed     sound    -                                                five pulses a second, or steady
rest       nuisance size, column, drift, angle, colour strength,     level, hum, coloured noise
                    background, silent objects, pixel noise
========== ======== ================================================ =============================================

The label is (shape, mean pitch below or above the middle, pulsed, rimmed): 32 classes of equal probability. Two of
its parts can be seen and heard, one only seen, one only heard, so one modality alone can be right half of the time.

Version 1 is the set ``soundshapes``: its pitch swings to and fro and its row stays, so that moments come back. In
version 2, ``soundshapes-2``, pitch and row go one way through the clip, each up or down: every moment comes once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from avbench.errors import InputError
from avbench.rng import numpy_stream

SPLITS = ("train", "tune", "test")
SHAPES = ("disk", "square", "triangle", "ring")
SIZE = 96  # pixels, height and width
FPS = 8
N_FRAMES = 21
SAMPLE_RATE = 16000
DURATION = N_FRAMES / FPS  # seconds; the same for all clips, so that a file's length says nothing
N_SAMPLES = N_FRAMES * SAMPLE_RATE // FPS

_MARGIN = 18.0  # pixels between the border and the nearest centre of a sounding object


@dataclass(frozen=True)
class Silent:
    """An object that makes no sound.

    Attributes:
        kind: Index into the silhouettes of :mod:`avbench.data.soundshapes.picture`.
        radius: Pixels.
        hue: In [0, 1).
        saturation: In [0, 1].
        value: In [0, 1].
        angle: Radians.
        centre: (row, column) of the middle of its path, pixels.
        drift: (row, column) amplitude of its path, pixels.
        phase: Of its path, radians.
        rimmed: Whether it has a white rim.
    """

    kind: int
    radius: float
    hue: float
    saturation: float
    value: float
    angle: float
    centre: tuple[float, float]
    drift: tuple[float, float]
    phase: float
    rimmed: bool


@dataclass(frozen=True)
class Factors:
    """All that decides a clip, but for noise.

    Attributes:
        version: Of the set, see above.
        seed: Of the set.
        split: One of ``SPLITS``.
        index: Of the clip in its split.
        shape: Index into ``SHAPES``; also the timbre.
        high: Whether the mean pitch (and hue) is in the upper half.
        pulsed: Whether the sound is pulsed.
        rimmed: Whether the sounding object has a white rim.
        level: Mean of s, in [0, 1].
        swing: Amplitude of s.
        cycles: Periods of s in the clip; whole, so that ``level`` is its mean.
        phase: Of s, radians.
        glide: How far s goes one way through the clip.
        row: Of the object's centre in its range, in [0, 1] from the top; half-way through the clip.
        fall: How far it goes down through the clip, of its range.
        column: The same from the left.
        radius: Of the disk of the same area, pixels.
        drift: Amplitude of the object's slow way to and fro, pixels.
        drift_phase: Of that way, radians.
        angle: Rotation, radians.
        saturation: Of the object's colour.
        gain_db: Level of the whole sound.
        hum_hz: Frequency of the hum.
        hum_db: Its level against the tone.
        noise_db: Level of the coloured noise against the tone.
        noise_slope: Exponent of the noise's spectrum.
        silent: The silent objects.
    """

    version: int
    seed: int
    split: str
    index: int
    shape: int
    high: bool
    pulsed: bool
    rimmed: bool
    level: float
    swing: float
    cycles: int
    phase: float
    glide: float
    row: float
    fall: float
    column: float
    radius: float
    drift: float
    drift_phase: float
    angle: float
    saturation: float
    gain_db: float
    hum_hz: float
    hum_db: float
    noise_db: float
    noise_slope: float
    silent: tuple[Silent, ...]

    @property
    def id(self) -> str:
        """Name of the clip, such as ``test_000007``."""
        return clip_id(self.split, self.index)

    @property
    def label(self) -> str:
        """The clip's class, such as ``ring-high-pulsed-plain``."""
        return "-".join(
            (
                SHAPES[self.shape],
                "high" if self.high else "low",
                "pulsed" if self.pulsed else "steady",
                "rimmed" if self.rimmed else "plain",
            )
        )

    def pitch(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns s at times in seconds: what hue and fundamental follow."""
        angle = 2 * np.pi * self.cycles * times / DURATION + self.phase
        return np.asarray(self.level + self.swing * np.sin(angle) + self.glide * _way(times))

    def rows(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the row at times in seconds, in [0, 1] from the top: what brightness and hiss follow, too."""
        return np.asarray(self.row + self.fall * _way(times))

    def value(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the brightness of the object's colour at times in seconds, in [0, 1]: higher objects are brighter."""
        return np.asarray(1.0 - 0.55 * self.rows(times))

    def centre(self, times: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns the object's centre at times in seconds: rows and columns, pixels."""
        span = SIZE - 2 * _MARGIN
        sway = self.drift * np.sin(2 * np.pi * times / DURATION + self.drift_phase)
        return _MARGIN + span * self.rows(times), np.asarray(_MARGIN + span * self.column + sway)

    def stream(self, name: str) -> np.random.Generator:
        """Returns the clip's own random stream of that name."""
        return _stream(self.version, self.seed, self.split, self.index, name)


def _way(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far a clip is at times in seconds: -0.5 at its start to 0.5 at its end."""
    return times / DURATION - 0.5


def clip_id(split: str, index: int) -> str:
    """Returns a clip's name, such as ``test_000007``."""
    return f"{split}_{index:06d}"


def _stream(version: int, seed: int, split: str, index: int, name: str) -> np.random.Generator:
    return numpy_stream(seed, f"soundshapes/{split}/{name}", version, index)


def clip_factors(seed: int, split: str, index: int, version: int = 1) -> Factors:
    """Draws the factors of one clip; a function of its arguments alone.

    Args:
        seed: Of the set.
        split: One of ``SPLITS``; each has streams of its own.
        index: Of the clip in its split.
        version: Of the set, 1 or 2; there is a new one whenever any pixel or sample of any clip changes.

    Raises:
        InputError: There is no such split.
    """
    if split not in SPLITS:
        raise InputError(f"split: found '{split}', valid: {', '.join(SPLITS)}.")
    shared, private, picture, sound = (
        _stream(version, seed, split, index, name) for name in ("shared", "private", "picture", "sound")
    )
    high = bool(shared.integers(2))
    radius = float(picture.uniform(22.0, 30.0))
    factors = Factors(
        version=version,
        seed=seed,
        split=split,
        index=index,
        shape=int(shared.integers(len(SHAPES))),
        high=high,
        pulsed=bool(private.integers(2)),
        rimmed=bool(private.integers(2)),
        level=float(shared.uniform(0.08, 0.46)) + (0.46 if high else 0.0),
        swing=float(shared.uniform(0.04, 0.12)),
        cycles=int(shared.integers(1, 3)),
        phase=float(shared.uniform(0, 2 * np.pi)),
        glide=0.0,
        row=float(shared.uniform(0, 1)),
        fall=0.0,
        column=float(picture.uniform(0, 1)),
        radius=radius,
        drift=float(picture.uniform(2.0, 7.0)),
        drift_phase=float(picture.uniform(0, 2 * np.pi)),
        angle=float(picture.uniform(-0.25, 0.25)),
        saturation=float(picture.uniform(0.75, 1.0)),
        gain_db=float(sound.uniform(-6, 6)),
        hum_hz=float(sound.uniform(50, 160)),
        hum_db=float(sound.uniform(-24, -6)),
        noise_db=float(sound.uniform(-34, -18)),
        noise_slope=float(sound.uniform(0.0, 1.0)),
        silent=(),
    )
    if version == 2:  # in the same half of the pitches, from one end of its range to the other
        glide = float(shared.uniform(0.36, 0.44)) * _side(shared)
        fall = float(shared.uniform(0.6, 0.9)) * _side(shared)
        level = float(shared.uniform(0.23, 0.27)) + (0.5 if high else 0.0)
        row = float(shared.uniform(abs(fall) / 2, 1 - abs(fall) / 2))
        factors = replace(factors, level=level, swing=0.0, glide=glide, row=row, fall=fall)
    silent = tuple(_silent(picture, factors) for _ in range(int(picture.integers(1, 3))))
    return replace(factors, silent=silent)


def _side(rng: np.random.Generator) -> int:
    return 1 if rng.integers(2) else -1


def _silent(rng: np.random.Generator, factors: Factors) -> Silent:
    radius = float(rng.uniform(8.0, 12.0))
    rows, columns = factors.centre(np.array([DURATION / 2]))
    # Beside the sounding object where there is room; where it is not, that one lies in front.
    candidates = rng.uniform(4.0, SIZE - 4.0, size=(12, 2))
    distance = np.hypot(candidates[:, 0] - rows[0], candidates[:, 1] - columns[0])
    free = np.flatnonzero(distance > factors.radius + radius)
    centre = candidates[free[0] if len(free) else int(distance.argmax())]
    return Silent(
        kind=int(rng.integers(len(SHAPES), len(SHAPES) + 2)),
        radius=radius,
        hue=float(rng.uniform(0, 1)),
        saturation=float(rng.uniform(0.5, 0.9)),
        value=float(rng.uniform(0.5, 0.9)),
        angle=float(rng.uniform(-np.pi, np.pi)),
        centre=(float(centre[0]), float(centre[1])),
        drift=(float(rng.uniform(-6, 6)), float(rng.uniform(-6, 6))),
        phase=float(rng.uniform(0, 2 * np.pi)),
        rimmed=bool(rng.integers(2)),
    )
