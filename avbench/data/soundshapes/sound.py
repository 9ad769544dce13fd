"""The sound of a clip: a tone whose pitch follows the object's colour, a band of hiss at its height, and noise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from avbench.data.soundshapes.factors import DURATION, N_SAMPLES, SAMPLE_RATE, Factors

_LOWEST_HZ = 200.0
_PITCH_RANGE = 6.0  # highest over lowest fundamental
_HISS_LOW_HZ, _HISS_RANGE = 1900.0, 3.7
_HISS_OCTAVES = 0.2  # standard deviation of the band on a logarithmic axis
_BANDS = 9  # of a hiss that moves, 0.24 octaves apart
_HISS_LEVEL = 0.8  # root mean square over the tone's
_PULSE_HZ = 5.0
_FADE_HZ = 7200.0  # partials above are faded out within 400 Hz
_PEAK = 0.9  # largest sample: above it the sound is turned down, never clipped

# Per shape: the partials as multiples of the fundamental, and their amplitudes.
_PARTIALS: tuple[tuple[tuple[float, float], ...], ...] = (
    ((1.0, 1.0),),
    ((1.0, 1.0), (3.0, 0.8), (5.0, 0.6)),
    tuple((float(k), k**-0.4) for k in range(1, 9)),
    ((1.0, 1.0), (1.26, 0.9), (1.5, 0.8)),
)


def synthesise(factors: Factors) -> NDArray[np.float32]:
    """Returns the clip's waveform, (N_SAMPLES,) at SAMPLE_RATE, in [-1, 1]."""
    rng = factors.stream("noise")
    times = np.arange(N_SAMPLES) / SAMPLE_RATE
    tone = _tone(factors, times, rng)
    hum = 10 ** (factors.hum_db / 20) * np.sqrt(2) * np.sin(2 * np.pi * (factors.hum_hz * times + rng.uniform()))
    wave = 0.1 * 10 ** (factors.gain_db / 20) * (tone + hum + _noises(factors, rng))
    return np.asarray(wave * min(1.0, _PEAK / float(np.abs(wave).max())), dtype=np.float32)


def _tone(factors: Factors, times: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """The tone, of unit root mean square before its pulses."""
    coarse = times[:: SAMPLE_RATE // 500]  # the pitch moves slowly
    hertz = np.interp(times, coarse, _LOWEST_HZ * _PITCH_RANGE ** factors.pitch(coarse))
    cycles = np.cumsum(hertz) / SAMPLE_RATE
    tone = np.zeros(len(times), dtype=np.float32)
    power = 0.0
    for multiple, amplitude in _PARTIALS[factors.shape]:
        # Whole turns are removed before the sine, so that single precision is enough.
        turns = cycles * multiple + rng.uniform()
        turns -= np.floor(turns)
        partial = np.float32(amplitude) * np.sin(np.float32(2 * np.pi) * turns.astype(np.float32))
        if multiple * float(hertz.max()) > _FADE_HZ:
            # A partial above the Nyquist frequency would come back as another one.
            partial *= np.clip((_FADE_HZ + 400.0 - hertz * multiple) / 400.0, 0.0, 1.0).astype(np.float32)
        tone += partial
        power += amplitude**2 / 2
    tone /= np.float32(np.sqrt(power))
    if factors.pulsed:
        # The phase differs from clip to clip and is not in the picture.
        beat = 0.5 + 0.5 * np.sin(2 * np.pi * (_PULSE_HZ * times + rng.uniform()))
        tone *= np.asarray(0.12 + 1.1 * beat**3, dtype=np.float32)
    return np.asarray(tone, dtype=np.float64)


@lru_cache(maxsize=1)
def _octaves() -> NDArray[np.float32]:
    """Base-2 logarithm of the frequency in Hz of each bin of the spectrum, (N_SAMPLES // 2 + 1,)."""
    return np.log2(np.maximum(np.arange(N_SAMPLES // 2 + 1) / DURATION, 50.0)).astype(np.float32)


def _noises(factors: Factors, rng: np.random.Generator) -> NDArray[np.float64]:
    """Coloured noise and the band of hiss, shaped together in the frequency domain."""
    octaves = _octaves()
    coloured = 10 ** (factors.noise_db / 20) * _unit(np.exp2(np.float32(-factors.noise_slope / 2) * octaves))
    if not factors.fall:
        return _shaped(coloured + _HISS_LEVEL * _unit(_band(factors.row)), rng)
    # A band that moves: bands side by side, each the louder the nearer the object; their noises are independent, so the
    # squares of their levels add up to one.
    place = factors.rows(np.arange(N_SAMPLES) / SAMPLE_RATE) * (_BANDS - 1)
    moving = np.zeros(N_SAMPLES)
    for number in range(_BANDS):
        level = np.cos(np.pi / 2 * np.clip(np.abs(place - number), 0.0, 1.0))
        moving += level * _shaped(_unit(_band(number / (_BANDS - 1))), rng)
    return _shaped(coloured, rng) + _HISS_LEVEL * moving


def _band(row: float) -> NDArray[np.float32]:
    """The spectrum of the hiss of an object in that row."""
    centre = np.float32(np.log2(_HISS_LOW_HZ * _HISS_RANGE ** (1.0 - row)))
    return np.asarray(np.exp(np.float32(-0.5 / _HISS_OCTAVES**2) * np.square(_octaves() - centre)))


def _shaped(gain: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise of that spectrum, (N_SAMPLES,)."""
    spectrum = rng.standard_normal((len(gain), 2), dtype=np.float32).view(np.complex64)[:, 0]
    return np.asarray(np.fft.irfft(spectrum * gain, N_SAMPLES))


def _unit(gain: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales a gain so that unit complex noise through it has a root mean square of 1 after the inverse transform."""
    return gain * np.float32(N_SAMPLES / (2.0 * np.sqrt(float(np.sum(np.square(gain))))))
