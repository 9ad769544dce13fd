"""Stored sound: WAV and FLAC of the same samples are the same waveform; damaged bytes are refused."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from avbench.data.media.sound import encode_flac
from avbench.data.media.waveform import decode_stored, encode_wav

SAMPLES = np.random.default_rng(0).integers(-(2**15), 2**15, 12_345).astype(np.int16)


def test_stored_as_wav_and_as_flac_it_is_the_same_to_the_bit() -> None:
    (wav, rate), (flac, flac_rate) = (
        decode_stored(encode_wav(SAMPLES, 22_050)),
        decode_stored(encode_flac(SAMPLES, 22_050)),
    )
    assert rate == flac_rate == 22_050
    assert wav.dtype == flac.dtype == np.float32
    np.testing.assert_array_equal(wav, flac)
    np.testing.assert_array_equal(wav, SAMPLES.astype(np.float32) / 32768)


def test_what_is_stored_is_a_plain_wav_file() -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as writer:
        writer.setparams((1, 2, 16_000, len(SAMPLES), "NONE", ""))
        writer.writeframes(SAMPLES.tobytes())
    assert encode_wav(SAMPLES, 16_000) == buffer.getvalue()


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-2], lambda d: d[:30], lambda d: d + b"\0\0", lambda d: b"RIFX" + d[4:]]
)
def test_a_file_that_is_not_whole_is_refused(damage: object) -> None:
    with pytest.raises(ValueError, match=r"WAV|FLAC"):
        decode_stored(damage(encode_wav(SAMPLES, 16_000)))  # type: ignore[operator]
