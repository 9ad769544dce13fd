from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from avbench.data.soundshapes.factors import DURATION, N_SAMPLES, SAMPLE_RATE, Factors, clip_factors
from avbench.data.soundshapes.sound import synthesise


def _clip(**changes: object) -> Factors:
    quiet = {"hum_db": -80.0, "noise_db": -60.0, "gain_db": 0.0, "pulsed": False, "shape": 0}
    return dataclasses.replace(clip_factors(0, "tune", 0), **(quiet | changes))  # type: ignore[arg-type]


def test_equal_length_reproducible_and_never_clipped() -> None:
    for index in range(12):
        factors = clip_factors(0, "tune", index)
        wave = synthesise(factors)
        assert wave.shape == (N_SAMPLES,)
        assert wave.dtype == np.float32
        assert np.abs(wave).max() <= 0.9001
        assert np.array_equal(wave, synthesise(factors))


def test_fundamental_follows_pitch_in_time() -> None:
    factors = _clip(level=0.5, swing=0.12, cycles=1, phase=0.0)
    wave = synthesise(factors)
    for time in (DURATION / 4, 3 * DURATION / 4):
        part = wave[int((time - 0.1) * SAMPLE_RATE) : int((time + 0.1) * SAMPLE_RATE)]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        spectrum[int(1500 * 0.2) :] = 0  # below the hiss
        expected = 200 * 6 ** factors.pitch(np.array([time]))[0]
        assert spectrum.argmax() / 0.2 == pytest.approx(expected, rel=0.03)


def test_hiss_rises_with_the_object() -> None:
    centres = []
    for row in (0.0, 0.5, 1.0):
        power = np.abs(np.fft.rfft(synthesise(_clip(row=row)))) ** 2
        hertz = np.fft.rfftfreq(N_SAMPLES, 1 / SAMPLE_RATE)
        high = hertz > 1600
        centres.append(float((power[high] * hertz[high]).sum() / power[high].sum()))
    assert centres[0] > 1.5 * centres[1] > 2.2 * centres[2]


def test_hiss_moves_with_an_object_that_falls() -> None:
    wave = synthesise(_clip(row=0.5, fall=0.9))
    parts = [wave[k * N_SAMPLES // 4 :][: N_SAMPLES // 4] for k in range(4)]
    centres = []
    for part in parts:
        power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
        hertz = np.fft.rfftfreq(len(part), 1 / SAMPLE_RATE)
        high = hertz > 1600
        centres.append(float((power[high] * hertz[high]).sum() / power[high].sum()))
    assert centres == sorted(centres, reverse=True)
    assert centres[0] > 1.8 * centres[3]
    still = synthesise(_clip(row=0.5))
    assert np.sqrt((wave**2).mean()) == pytest.approx(np.sqrt((still**2).mean()), rel=0.1)  # as loud


def test_pulses_and_timbres_can_be_told_apart() -> None:
    def envelope_depth(wave: np.ndarray) -> float:
        level = np.sqrt((wave[: len(wave) // 320 * 320].reshape(-1, 320) ** 2).mean(axis=1))
        return float(np.percentile(level, 95) / np.percentile(level, 5))

    assert envelope_depth(synthesise(_clip(pulsed=True))) > 1.5 * envelope_depth(synthesise(_clip()))
    spectra = [np.abs(np.fft.rfft(synthesise(_clip(shape=shape)))) for shape in range(4)]
    spectra = [spectrum / np.linalg.norm(spectrum) for spectrum in spectra]
    alike = np.array([[a @ b for a in spectra] for b in spectra])
    assert (alike - np.eye(4)).max() < 0.95
