from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from avbench.data.soundshapes.factors import DURATION, SHAPES, SIZE, SPLITS, clip_factors
from avbench.errors import InputError


def test_a_clip_is_a_function_of_seed_split_and_index() -> None:
    assert clip_factors(3, "test", 7) == clip_factors(3, "test", 7)
    others = [clip_factors(4, "test", 7), clip_factors(3, "tune", 7), clip_factors(3, "test", 8)]
    assert len({clip_factors(3, "test", 7).level, *(other.level for other in others)}) == 4


def test_unknown_split_is_refused() -> None:
    with pytest.raises(InputError, match="valid: train, tune, test"):
        clip_factors(0, "val", 0)


def test_all_32_classes_occur_and_none_dominates() -> None:
    labels = Counter(clip_factors(0, "train", index).label for index in range(1600))
    assert len(labels) == 32
    assert max(labels.values()) < 100  # 50 expected


def test_label_names_mean_pitch_and_private_factors() -> None:
    times = np.linspace(0, DURATION, 1000, endpoint=False)
    for index in range(40):
        factors = clip_factors(1, "tune", index)
        shape, height, sound, rim = factors.label.split("-")
        assert shape == SHAPES[factors.shape]
        assert (height == "high") == (factors.pitch(times).mean() > 0.5)
        assert (sound == "pulsed") == factors.pulsed
        assert (rim == "rimmed") == factors.rimmed


def test_pitch_changes_in_time_and_stays_in_range() -> None:
    times = np.linspace(0, DURATION, 200)
    for index in range(40):
        pitch = clip_factors(2, "train", index).pitch(times)
        assert 0 <= pitch.min() < pitch.max() - 0.05
        assert pitch.max() <= 1.05


def test_in_the_second_version_every_moment_comes_once() -> None:
    times = np.linspace(0, DURATION, 200)
    directions = set()
    for index in range(40):
        factors = clip_factors(2, "train", index, version=2)
        pitch, rows = factors.pitch(times), factors.rows(times)
        directions.add((pitch[-1] > pitch[0], rows[-1] > rows[0]))
        assert (np.sign(np.diff(pitch)) == np.sign(factors.glide)).all()
        assert (np.sign(np.diff(rows)) == np.sign(factors.fall)).all()
        assert 0 <= pitch.min() < pitch.max() <= 1
        assert ((pitch > 0.5) == factors.high).all()
        assert 0 <= rows.min() < rows.max() <= 1
        assert rows.max() - rows.min() > 0.5
    assert len(directions) == 4  # neither tells the other's


def test_positions_spread_over_both_axes() -> None:
    at = np.array([DURATION / 2])
    centres = np.array([np.concatenate(clip_factors(0, "train", index).centre(at)) for index in range(400)])
    assert (centres.min(axis=0) < 0.25 * SIZE).all()
    assert (centres.max(axis=0) > 0.75 * SIZE).all()
    assert abs(np.corrcoef(centres.T)[0, 1]) < 0.15


def test_private_and_nuisance_factors_say_nothing_of_shared_ones() -> None:
    clips = [clip_factors(0, split, index) for split in SPLITS for index in range(400)]
    shared = np.array([(clip.shape, clip.level, clip.row) for clip in clips], dtype=float)
    rest = np.array(
        [
            (clip.pulsed, clip.rimmed, clip.column, clip.radius, clip.gain_db, clip.hum_hz, clip.saturation)
            for clip in clips
        ],
        dtype=float,
    )
    both = np.corrcoef(np.hstack([shared, rest]).T)[:3, 3:]
    assert np.abs(both).max() < 0.12
