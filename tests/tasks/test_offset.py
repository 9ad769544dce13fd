"""Offset: what is heard at each offset, symmetry, a model in step and one that is not, ties, chance, short clips."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from label_rows import codes_of
from labelled_clips import INPUT

from avbench.config import InputConfig
from avbench.data.corpus.changed import Change, changed
from avbench.data.corpus.clips import Clips, hash_ids
from avbench.data.feed.dataset import AudioVisualDataset
from avbench.errors import InputError
from avbench.store.extracted import alike
from avbench.store.features import Features
from avbench.tasks.offset import TASK, Moved, OffsetConfig, _cosines, curve, judge
from avbench.tasks.subject import Subject

Array = npt.NDArray[Any]
RATE = 1000
QUICK = OffsetConfig(range=1.0, offsets=5, resamples=30)


class Sounds:
    """Clips of given sounds; the frame is in the middle and holds its number."""

    class_names = ("one",)
    root = Path("made")

    def __init__(self, sounds: list[Array], frames: int = 3) -> None:
        self._frames = frames
        self._sounds = [sound.astype(np.float32) for sound in sounds]
        self.ids = [f"clip{i}" for i in range(len(sounds))]
        self.splits = [""] * len(sounds)

    def __len__(self) -> int:
        return len(self._sounds)

    @property
    def sha256(self) -> str:
        return hash_ids(self.ids)

    def labels(self, i: int) -> tuple[str, ...]:
        return ("one",)

    def label_codes(self) -> Any:
        return codes_of(self)

    def duration(self, i: int) -> float:
        return len(self._sounds[i]) / RATE

    def n_frames(self, i: int) -> int:
        return self._frames

    def waveform(self, i: int) -> tuple[Array, int]:
        return self._sounds[i], RATE

    def frame(self, i: int, k: int) -> Array:
        return np.full((16, 16, 3), 40 * min(k, 2) + i, np.uint8)


class Ear:
    """A model whose embedding of a sound is a function of it, and of a picture always (1, 0)."""

    device, progress, folder = "cpu", False, Path("unused")

    def __init__(self, clips: Any, embed: Any, config: OffsetConfig) -> None:
        self.evaluated, self._embed = clips, embed
        run = dataclasses.make_dataclass("Run", ["input", "task"])
        self.config = run(dataclasses.replace(INPUT, eval_frame=1), config)

    def on(self, change: Change) -> Ear:
        return Ear(changed(self.evaluated, change), self._embed, self.config.task)

    def embeddings(self) -> Features:
        n = len(self.evaluated)
        sounds = np.stack([self._embed(self.evaluated.waveform(i)[0]) for i in range(n)])
        return Features(list(self.evaluated.ids), sounds / np.linalg.norm(sounds, axis=1)[:, None], np.eye(2)[[0] * n])


def run(clips: Any, embed: Any, config: OffsetConfig = QUICK) -> Any:
    return TASK.run(cast(Subject, Ear(clips, embed, config)), config)


def middle_energy(sound: Array) -> Array:
    """The energy of the middle fifth, and of the rest: the same for a sound and its mirror image."""
    n = len(sound)
    inner = float((sound[2 * n // 5 : n - 2 * n // 5] ** 2).sum())
    return np.array([inner, float((sound**2).sum()) - inner + 1e-6])


def bump(centre: float, seconds: float = 6.0) -> Array:
    time = (np.arange(int(seconds * RATE)) + 0.5) / RATE
    return np.exp(-(((time - centre) / 0.2) ** 2)) + 0.01


def test_a_symmetric_sound_gives_a_symmetric_curve() -> None:
    noise = np.random.default_rng(0).standard_normal(3000)
    clips = Sounds([bump(3.0), np.concatenate([noise, noise[::-1]])])
    config = dataclasses.replace(QUICK, offsets=9)
    cosines = run(clips, middle_energy, config).per_sample["cosines"]
    np.testing.assert_allclose(cosines, cosines[:, ::-1], atol=1e-7)
    assert cosines.std(axis=1).min() > 0.01


def test_a_model_in_step_is_right_and_a_late_sound_is_found_late() -> None:
    result = run(Sounds([bump(3.0), bump(3.0), bump(3.5), bump(2.0)]), middle_energy)
    assert result.metrics["accuracy"] == 0.5
    assert result.metrics["near"] == 0.75
    assert result.metrics["distance"] == (0 + 0 + 0.5 + 1.0) / 4
    assert result.per_sample["cosines"].argmax(axis=1).tolist() == [2, 2, 3, 0]
    assert result.metrics["+0 s/cosine"] == result.per_sample["cosines"][:, 2].mean()
    assert set(result.metrics) >= {"-1 s/cosine", "+1 s/cosine"}
    assert set(result.ci95) == set(result.metrics)
    assert TASK.recompute(result.per_sample, ["clip0", "clip2"], QUICK)["accuracy"] == 0.5


@pytest.mark.parametrize(("heard", "seen"), [(5, 1), (5, 5), (10, 4), (1, 4)])
def test_of_several_vectors_those_of_the_frame_are_compared(heard: int, seen: int) -> None:
    """Of a stretch around the frame the middle one of the sound's, and of the clip's pictures the judged one."""
    clips = cast(Clips, Sounds([bump(3.0)], frames=4))
    audio, visual = np.zeros((1, heard, 2)), np.zeros((1, seen, 2))
    audio[..., 1] = visual[..., 0] = 1
    audio[0, heard // 2] = [1, 0]
    if seen == 4:
        visual[0] = [0, 1]
        visual[0, 1] = [1, 0]
    features = Features(["clip0"], *alike(audio, visual) if 1 in (heard, seen) else (audio, visual))
    assert _cosines(features, clips, dataclasses.replace(INPUT, eval_frame=1)) == [1.0]


def test_a_model_that_does_not_hear_when_is_at_chance() -> None:
    result = run(Sounds([bump(3.0), bump(2.0)]), lambda sound: np.array([1.0, 1.0]))
    assert result.chance == {"accuracy": 1 / 5, "near": 3 / 5, "distance": 0.6}
    assert {name: result.metrics[name] for name in result.chance} == pytest.approx(result.chance)


def test_every_offset_is_sound_of_the_clip_and_as_long() -> None:
    sound = np.arange(6000, dtype=np.float32)
    clips = cast(Clips, Sounds([sound]))
    heard = [changed(clips, Moved(each, 1.0, dataclasses.replace(INPUT, eval_frame=1))) for each in (-1.0, 0.0, 0.5)]
    pieces = [each.waveform(0)[0] for each in heard]
    assert [(piece[0], len(piece)) for piece in pieces] == [(0, 4000), (1000, 4000), (1500, 4000)]
    assert all((np.diff(piece) == 1).all() for piece in pieces)
    assert heard[0].n_frames(0) == 1
    assert heard[0].frame(0, 0)[0, 0, 0] == 40  # the judged frame, whatever is asked for
    assert len({each.sha256 for each in heard} | {clips.sha256}) == 4
    assert pickle.loads(pickle.dumps(heard[0])).ids == clips.ids


def windows() -> InputConfig:
    """64 rows of 40 ms, of which a frame hears 32."""
    return dataclasses.replace(
        INPUT, frame_shift_ms=40.0, target_length=64, segment_length=32, eval_frame=-1, frame_length_ms=80.0
    )


def test_windows_around_frames_move_with_the_sound_and_offset_0_is_the_clip_itself() -> None:
    sound = np.random.default_rng(0).standard_normal(2700).astype(np.float32)
    clips, inputs = cast(Clips, Sounds([sound], frames=4)), windows()
    still = changed(clips, Moved(0.0, 0.4, inputs))
    np.testing.assert_array_equal(still.waveform(0)[0], sound)
    late = changed(clips, Moved(0.4, 0.4, inputs)).waveform(0)[0]
    np.testing.assert_array_equal(late[:2300], sound[400:])
    assert not late[2300:].any()
    early = changed(clips, Moved(-0.4, 0.4, inputs)).waveform(0)[0]
    np.testing.assert_array_equal(early[400:], sound[:2300])
    assert still.n_frames(0) == 4
    heard = AudioVisualDataset(still, inputs, mode="all_frames").batch([0])
    np.testing.assert_array_equal(heard.audio, AudioVisualDataset(clips, inputs, mode="all_frames").batch([0]).audio)


@pytest.mark.parametrize(("inputs", "range"), [(dataclasses.replace(INPUT, eval_frame=1), 2.8), (windows(), 2.5)])
def test_a_clip_that_is_too_short_is_refused_with_the_fix(inputs: InputConfig, range: float) -> None:
    with pytest.raises(InputError, match=r"clip 'clip0': found 6.00 s of sound, valid with task.range=2.*--set"):
        changed(cast(Clips, Sounds([bump(3.0)])), Moved(0.0, range, inputs)).waveform(0)


def test_short_clips_are_refused_before_they_are_decoded_and_others_are_not() -> None:
    inputs = dataclasses.replace(INPUT, eval_frame=1)
    long, short = bump(3.0), bump(1.0, seconds=2.0)
    clips = cast(Clips, Sounds([long, short, long]))
    with pytest.raises(InputError, match=r"clip 'clip1': found 2.00 s of sound.*\(1 of 3 clips\); --set task.range"):
        Moved(0.0, 1.0, inputs).check(clips)
    for reach, sounds in ((1.0, [long]), (0.7, [long, short])):
        others, still = cast(Clips, Sounds(sounds)), Moved(0.0, reach, inputs)
        still.check(others)
        assert all(len(changed(others, still).waveform(i)[0]) >= 500 for i in range(len(sounds)))


def test_ties_share_and_an_even_number_of_offsets_is_refused() -> None:
    found = judge(np.array([[0.0, 1.0, 1.0, 0.0, 0.0]]), QUICK.seconds())
    assert {name: values[0] for name, values in found.items()} == {"accuracy": 0.5, "near": 1.0, "distance": 0.25}
    narrow = OffsetConfig(range=0.01, offsets=201).seconds()
    assert len(curve(np.zeros((1, 201)), narrow)) == 201
    with pytest.raises(InputError, match=r"task.offsets: found 4, valid: an odd number"):
        OffsetConfig(offsets=4)
