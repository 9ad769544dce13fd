"""Damaged sounds and pictures: nothing at severity 0, more with each severity, the same draws for the same clip."""

from __future__ import annotations

import pickle
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from labelled_clips import INPUT, LabelledClips

from avbench.data.corpus.changed import Change, changed
from avbench.data.corpus.clips import Clips
from avbench.data.corpus.corrupted import Corruption, damaged
from avbench.data.feed.dataset import AudioVisualDataset
from avbench.data.media import corrupt
from avbench.data.media.corrupt import PICTURES, SEVERITIES, SOUNDS
from avbench.errors import InputError

Array = npt.NDArray[Any]
RATE = 16000
LEVELS = range(1, SEVERITIES + 1)


def sound() -> Array:
    time = np.arange(RATE) / RATE
    tones = sum(np.sin(2 * np.pi * f * time) for f in (110, 300, 700, 1500, 3000, 6000))
    return np.asarray(0.1 * tones, np.float32)


def picture() -> Array:
    """Squares with sharp edges over a slope."""
    y, x = np.mgrid[:112, :112]
    return np.stack([(x // 8 + y // 8) % 2 * 120 + y, x + 60, 200 - y], axis=-1).astype(np.uint8)


def clips(n: int = 4) -> Clips:
    return cast(Clips, LabelledClips(n))


@pytest.mark.parametrize("kind", [*SOUNDS, *PICTURES])
def test_severity_0_is_the_untouched_input_bit_for_bit(kind: str) -> None:
    own, same = clips(), changed(clips(), Corruption(kind, 0))
    for i in range(len(own)):
        np.testing.assert_array_equal(same.waveform(i)[0], own.waveform(i)[0])
        assert same.waveform(i)[1] == own.waveform(i)[1]
        np.testing.assert_array_equal(same.frame(i, 1), own.frame(i, 1))
        assert same.n_frames(i) == own.n_frames(i)
    for mode in ("eval", "all_frames"):
        seen, unseen = (AudioVisualDataset(each, INPUT, mode=mode).batch([0, 2]) for each in (own, same))  # type: ignore[arg-type]
        np.testing.assert_array_equal(seen.audio, unseen.audio)
        np.testing.assert_array_equal(seen.visual, unseen.visual)


@pytest.mark.parametrize("kind", SOUNDS)
def test_a_sound_is_further_from_itself_with_each_severity(kind: str) -> None:
    own = sound()
    found = [SOUNDS[kind](own, RATE, level, np.random.default_rng(0)) for level in LEVELS]
    assert all(each.dtype == np.float32 and each.shape == own.shape and np.isfinite(each).all() for each in found)
    alike = [np.corrcoef(own, each)[0, 1] for each in found]
    assert all(np.diff(alike) < 0), alike
    assert alike[0] < 1 - 1e-6


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_further_from_itself_with_each_severity(kind: str) -> None:
    own = picture()
    found = [PICTURES[kind](own, level, np.random.default_rng(0)) for level in LEVELS]
    assert all(each.dtype == np.uint8 and each.shape == own.shape for each in found)
    errors = [np.abs(each.astype(float) - own).mean() for each in found]
    assert all(np.diff([0.0, *errors]) > 0), errors
    np.testing.assert_array_equal(own, picture())  # which stays as it was


def test_severities_are_what_they_say() -> None:
    own = sound()
    noise = corrupt.sound_noise(own, RATE, 4, np.random.default_rng(0)).astype(np.float64) - own
    assert 10 * np.log10((own.astype(np.float64) ** 2).mean() / (noise**2).mean()) == pytest.approx(0.0, abs=0.1)
    assert np.abs(corrupt.clipping(own, RATE, 5, np.random.default_rng(0))).max() == np.abs(own).max()
    low = np.abs(np.fft.rfft(corrupt.muffling(own, RATE, 5, np.random.default_rng(0)))) / np.abs(np.fft.rfft(own))
    assert low[110] > 0.99
    assert low[[700, 1500, 3000, 6000]].max() < 0.01
    echo = corrupt.reverberation(np.eye(1, RATE, dtype=np.float32)[0], RATE, 1, np.random.default_rng(0))
    assert (echo[: RATE // 5] ** 2).sum() / (echo**2).sum() > 0.999  # it decays within 0.2 s
    assert np.linalg.norm(echo) == pytest.approx(1.0, abs=1e-3)
    covered = corrupt.occlusion(np.zeros((100, 200, 3), np.uint8), 4, np.random.default_rng(0)) > 0
    assert covered.any(axis=2).mean() == pytest.approx(0.5, abs=0.01)
    assert (corrupt.darkness(np.full((2, 2, 3), 200, np.uint8), 1, np.random.default_rng(0)) == 120).all()


def test_silence_stays_silence_and_an_empty_sound_empty() -> None:
    for kind in SOUNDS:
        for own in (np.zeros(500, np.float32), np.zeros(1, np.float32)):
            assert not SOUNDS[kind](own, RATE, 3, np.random.default_rng(0)).any()


def test_draws_are_of_the_clip_the_frame_and_the_seed() -> None:
    first, again, other = (changed(clips(), Corruption("picture_noise", 3, seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.frame(1, 0), again.frame(1, 0))
    assert (first.frame(1, 0) != other.frame(1, 0)).any()
    assert ((first.frame(1, 0) - clips().frame(1, 0)) != (first.frame(1, 1) - clips().frame(1, 1))).any()
    moved = first.select([1, 3])
    np.testing.assert_array_equal(moved.frame(0, 0), first.frame(1, 0))
    np.testing.assert_array_equal(
        changed(clips(), Corruption("sound_noise", 2)).select([2]).waveform(0)[0],
        changed(clips(), Corruption("sound_noise", 2)).waveform(2)[0],
    )


def test_a_corruption_of_one_modality_leaves_the_other() -> None:
    for kind, own in (("blur", "waveform"), ("sound_noise", "frame")):
        changes = changed(clips(), Corruption(kind, 5))
        left = changes.waveform(0)[0] if own == "waveform" else changes.frame(0, 0)
        np.testing.assert_array_equal(left, clips().waveform(0)[0] if own == "waveform" else clips().frame(0, 0))


def test_a_modality_that_is_gone_is_silence_or_grey_as_long_and_as_large() -> None:
    silent, blank = damaged(clips(), "no_sound"), damaged(clips(), "no_picture")
    assert not silent.waveform(1)[0].any()
    assert silent.waveform(1)[0].shape == clips().waveform(1)[0].shape
    np.testing.assert_array_equal(silent.frame(1, 0), clips().frame(1, 0))
    np.testing.assert_array_equal(blank.frame(1, 0), np.full_like(clips().frame(1, 0), 128))
    np.testing.assert_array_equal(blank.waveform(1)[0], clips().waveform(1)[0])


@pytest.mark.parametrize(("has", "found"), [("audio", "blur@1"), ("audio", "no_picture"), ("visual", "clipping@5")])
def test_what_clips_have_not_cannot_be_damaged(has: str, found: str) -> None:
    own = clips()
    own.modalities = (has,)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=f"data.corruption: found {found} and clips with .* alone"):
        damaged(own, found)


def test_changed_clips_are_clips_with_an_identity_of_their_own_and_travel_to_processes() -> None:
    own = clips()
    same = changed(own, Change())
    assert len({own.sha256, same.sha256, *(changed(own, Corruption("blur", k)).sha256 for k in range(6))}) == 8
    copied = pickle.loads(pickle.dumps(changed(own, Corruption("blur", 2))))
    assert (list(copied.ids), len(copied), copied.class_names) == (list(own.ids), 4, own.class_names)
    assert copied.labels(1) == own.labels(1)
    np.testing.assert_array_equal(copied.frame(1, 0), changed(own, Corruption("blur", 2)).frame(1, 0))
