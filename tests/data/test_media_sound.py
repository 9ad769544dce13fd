from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np
import pytest

from avbench.data.media.sound import assemble


def frames(values: np.ndarray, format: str, layout: str, step: int) -> Iterator[av.AudioFrame]:
    for number in range(20):
        frame = av.AudioFrame.from_ndarray(values, format=format, layout=layout)
        frame.sample_rate, frame.pts = 16000, number * step
        yield frame


@pytest.mark.parametrize("step", [1600, 16])
def test_sound_whose_times_are_too_dense_is_laid_out_by_its_length(step: int) -> None:
    values = np.full((1, 1600), 1000, np.int16)
    sound = assemble(frames(values, "s16", "mono", step), 1 / 16000, 0.0, 10.0, 16000, "mix")
    assert sound is not None
    assert len(sound.samples) == 32000
    assert sound.gaps == 0


def test_8_bit_silence_of_channels_without_positions_is_silence() -> None:
    values = np.full((1, 3 * 1600), 128, np.uint8)
    sound = assemble(frames(values, "u8", "3 channels", 1600), 1 / 16000, 0.0, 10.0, 16000, "mix")
    assert sound is not None
    assert np.abs(sound.samples).max() <= 1
