from __future__ import annotations

import io

import av
import numpy as np
import pytest

from avbench.data.soundshapes import clip_factors, render
from avbench.data.soundshapes.factors import DURATION


@pytest.fixture(scope="module")
def coded() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    clip = render(clip_factors(0, "tune", 2))
    data = clip.encoded()
    with av.open(io.BytesIO(data)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.audio[0].codec_context.name == "aac"
        assert container.duration / 1e6 == pytest.approx(DURATION, abs=0.07)
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(io.BytesIO(data)) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return clip.frames, frames, clip.waveform, sound


def test_pictures_survive_the_codec(coded: tuple[np.ndarray, ...]) -> None:
    before, after = coded[:2]
    assert after.shape == before.shape
    assert np.abs(after.astype(int) - before).mean() < 6


def test_sound_survives_the_codec_without_delay(coded: tuple[np.ndarray, ...]) -> None:
    before, after = coded[2:]
    n = len(before)
    assert n <= len(after) <= n + 1024
    assert np.corrcoef(before, after[:n])[0, 1] > 0.98


def test_encoding_is_reproducible() -> None:
    clip = render(clip_factors(0, "tune", 4))
    assert clip.encoded() == clip.encoded()
