"""Clips that are changed as they are read: in each channel, and in nothing but what the change is of."""

from __future__ import annotations

import pickle
from typing import Any, cast

import numpy as np

from avbench.data.corpus.changed import Change, changed
from avbench.data.corpus.clips import Clips
from avbench.data.corpus.corrupted import Corruption
from avbench.data.corpus.silenced import Noise, Silence
from avbench.data.feed.heard import HeardClips
from avbench.data.wants import Wants

RATE = 16_000
STEREO = Wants(modalities=("audio",), sample_rate=RATE, channels=2, seconds=None, frames=1, image=None)


class TwoSides:
    """Two clips of one second: a tone left, and a softer one right."""

    ids = ("a", "b")
    sha256 = "two sides"

    def __len__(self) -> int:
        return len(self.ids)

    def channels(self, i: int) -> tuple[Any, int]:
        tone = np.sin(np.arange(RATE) * (0.1 + 0.1 * i)).astype(np.float32)
        return np.stack([tone, 0.25 * tone]), RATE

    def waveform(self, i: int) -> tuple[Any, int]:
        sound, rate = self.channels(i)
        return sound.mean(axis=0), rate


def heard(change: Change | None = None) -> Any:
    clips = cast(Clips, TwoSides())
    return HeardClips(clips if change is None else changed(clips, change), STEREO, {}).sound(1).numpy()


def test_a_change_of_the_sound_is_heard_on_both_channels() -> None:
    assert (heard() == TwoSides().channels(1)[0]).all()
    assert not heard(Silence()).any()
    loud, soft = heard(Noise())
    assert loud.std() > 3 * soft.std() > 0  # as loud as each was
    for kind in ("sound_noise", "clipping"):
        damaged = heard(Corruption(kind, 5))
        assert damaged.shape == (2, RATE)
        assert (np.abs(damaged - heard()).max(axis=1) > 0.01).all()


def test_what_is_not_changed_is_the_same_to_the_bit() -> None:
    for change in (Change(), Corruption("sound_noise", 0), Corruption("darkness", 5)):
        assert (heard(change) == heard()).all()


def test_a_sound_of_one_channel_is_changed_as_such() -> None:
    class OneSide(TwoSides):
        def channels(self, i: int) -> tuple[Any, int]:
            return self.waveform(i)

        def waveform(self, i: int) -> tuple[Any, int]:
            return np.ones(RATE, np.float32), RATE

    clips: Any = changed(cast(Clips, OneSide()), Silence())
    assert clips.channels(0)[0].tolist() == [0.0] * RATE


def test_each_change_is_another_identity_and_travels_to_other_processes() -> None:
    clips = [changed(cast(Clips, TwoSides()), change) for change in (Change(), Silence(), Noise(), Noise(1))]
    assert len({each.sha256 for each in clips}) == 4
    assert pickle.loads(pickle.dumps(clips[1])).waveform(0)[0].any() == np.False_
