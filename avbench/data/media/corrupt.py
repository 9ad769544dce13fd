"""Damaged sounds and pictures, five severities each; severity 0 is the very object that came in.

The draws of a clip come from its id, the corruption and the seed, not from the severity: a stronger noise is the same
noise, louder. The deviations of a picture's noise are those of Hendrycks and Dietterich 2019 (ImageNet-C), the other
severities are ours.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Sound = NDArray[np.float32]  # (samples,)
Picture = NDArray[np.uint8]  # (H, W, 3)

SEVERITIES = 5
#: Sound: signal to noise in dB; time to decay by 60 dB in s, and sound to echoes in dB; gain before what exceeds the
#: peak is cut; cut-off in Hz.
NOISE_DB = (20.0, 10.0, 5.0, 0.0, -5.0)
REVERBERATION_S = (0.2, 0.4, 0.8, 1.6, 3.2)
ECHOES_DB = (10.0, 5.0, 0.0, -5.0, -10.0)
CLIPPING_GAIN = (2.0, 4.0, 8.0, 16.0, 32.0)
MUFFLING_HZ = (4000.0, 2000.0, 1000.0, 500.0, 250.0)
#: Picture: deviation of noise, of 1; of the blur, pixels of 224; share of light; JPEG quality; share that is covered.
NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)
BLUR = (1.0, 2.0, 3.0, 4.0, 6.0)
DARKNESS = (0.6, 0.4, 0.25, 0.12, 0.05)
JPEG = (40, 20, 12, 7, 4)
OCCLUSION = (0.1, 0.2, 0.35, 0.5, 0.7)
_GREY = 128
_STEEP = 8  # of the low-pass filter: its order


def _level(sound: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) if len(sound) else 0.0


def _as_loud(sound: NDArray[np.float64], as_: Sound) -> Sound:
    """Returns a sound as loud as another; silence stays."""
    level = _level(sound)
    return np.asarray(sound * (_level(as_) / level) if level > 0 else sound, np.float32)


def sound_noise(sound: Sound, rate: int, severity: int, stream: np.random.Generator) -> Sound:
    """Returns a sound with white noise, at a ratio to the sound's own level; silence has none.

    Args:
        sound: (samples,).
        rate: Samples per second.
        severity: 1 to 5.
        stream: Of the noise.
    """
    noise = stream.standard_normal(len(sound)) * _level(sound) * 10 ** (-NOISE_DB[severity - 1] / 20)
    return np.asarray(sound + noise, np.float32)


def reverberation(sound: Sound, rate: int, severity: int, stream: np.random.Generator) -> Sound:
    """Returns a sound in a room: itself and decaying echoes, together as loud and as long as before.

    Args:
        sound: (samples,).
        rate: Samples per second.
        severity: 1 to 5.
        stream: Of the echoes.
    """
    decay = REVERBERATION_S[severity - 1]
    time = np.arange(1, max(2, round(decay * rate))) / rate
    echoes = stream.standard_normal(round(REVERBERATION_S[-1] * rate))[: len(time)] * 10 ** (-3 * time / decay)
    echoes *= 10 ** (-ECHOES_DB[severity - 1] / 20) / max(float(np.linalg.norm(echoes)), 1e-12)
    response = np.concatenate([[1.0], echoes])
    size = len(sound) + len(response) - 1
    mixed = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(response, size), size)[: len(sound)]
    return _as_loud(mixed, sound)


def clipping(sound: Sound, rate: int, severity: int, stream: np.random.Generator) -> Sound:
    """Returns a sound that is too loud for its peak, which what exceeds it is cut to.

    Args:
        sound: (samples,).
        rate: Samples per second.
        severity: 1 to 5.
        stream: Not used.
    """
    peak = float(np.abs(sound).max(initial=0.0))
    return np.asarray(np.clip(sound * CLIPPING_GAIN[severity - 1], -peak, peak), np.float32)


def muffling(sound: Sound, rate: int, severity: int, stream: np.random.Generator) -> Sound:
    """Returns a sound as from behind a wall: what is above a frequency is faint, its phase as it was.

    Args:
        sound: (samples,).
        rate: Samples per second.
        severity: 1 to 5.
        stream: Not used.
    """
    ratio = np.fft.rfftfreq(len(sound), 1 / rate) / MUFFLING_HZ[severity - 1]
    kept = np.fft.rfft(sound) / np.sqrt(1 + ratio ** (2 * _STEEP))
    return np.asarray(np.fft.irfft(kept, len(sound)), np.float32)


def _rounded(values: NDArray[np.floating]) -> Picture:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def picture_noise(picture: Picture, severity: int, stream: np.random.Generator) -> Picture:
    """Returns a picture, (H, W, 3), with noise in every value.

    Args:
        picture: The picture.
        severity: 1 to 5.
        stream: Of the noise.
    """
    noise = stream.standard_normal(picture.shape, np.float32) * np.float32(255 * NOISE[severity - 1])
    return _rounded(picture + noise)


def blur(picture: Picture, severity: int, stream: np.random.Generator) -> Picture:
    """Returns a picture out of focus, in proportion to its shorter side.

    Args:
        picture: The picture.
        severity: 1 to 5.
        stream: Not used.
    """
    radius = BLUR[severity - 1] * min(picture.shape[:2]) / 224
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def darkness(picture: Picture, severity: int, stream: np.random.Generator) -> Picture:
    """Returns a picture with less light.

    Args:
        picture: The picture.
        severity: 1 to 5.
        stream: Not used.
    """
    return _rounded(picture * np.float32(DARKNESS[severity - 1]))


def jpeg(picture: Picture, severity: int, stream: np.random.Generator) -> Picture:
    """Returns a picture as JPEG of low quality keeps it.

    Args:
        picture: The picture.
        severity: 1 to 5.
        stream: Not used.
    """
    written = io.BytesIO()
    Image.fromarray(picture).save(written, "JPEG", quality=JPEG[severity - 1])
    return np.asarray(Image.open(written).convert("RGB"))


def occlusion(picture: Picture, severity: int, stream: np.random.Generator) -> Picture:
    """Returns a picture with a grey rectangle of its own shape over it; larger ones cover what smaller ones do.

    Args:
        picture: The picture.
        severity: 1 to 5.
        stream: Of where it is.
    """
    covered, place = picture.copy(), stream.random(2)
    spans = []
    for size, at in zip(picture.shape[:2], place.tolist(), strict=True):
        length = round(size * OCCLUSION[severity - 1] ** 0.5)
        start = round((size - length) * at)
        spans.append(slice(start, start + length))
    covered[spans[0], spans[1]] = _GREY
    return covered


SOUNDS: Mapping[str, Callable[[Sound, int, int, np.random.Generator], Sound]] = {
    "sound_noise": sound_noise,
    "reverberation": reverberation,
    "clipping": clipping,
    "muffling": muffling,
}
PICTURES: Mapping[str, Callable[[Picture, int, np.random.Generator], Picture]] = {
    "picture_noise": picture_noise,
    "blur": blur,
    "darkness": darkness,
    "jpeg": jpeg,
    "occlusion": occlusion,
}
