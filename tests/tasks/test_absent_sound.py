"""Sound that is not there: a model that hears, one that looks only; the threshold, strata, other classes, refusals."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from labelled_clips import LabelledClips

from avbench.data.annotations.vggsounder import COLUMNS
from avbench.data.corpus.changed import Change, changed
from avbench.data.corpus.clips import Clips
from avbench.data.corpus.silenced import Noise, Silence
from avbench.errors import InputError
from avbench.tasks.absent_sound import ABSENT, TASK, AbsentSoundConfig, other_class
from avbench.tasks.localizing import inputs
from avbench.tasks.localizing.strata import AREAS

from .localization_subject import FakeSubject, planted, subject

Array = npt.NDArray[Any]
N, GRID = 12, (8, 8)
SIZES = (2, 3, 6)  # patches a side of the boxes: 6, 14 and 56 % of the picture


class Hearing(FakeSubject):
    """A subject whose other clips are silence (a vector of its own) or noise (another)."""

    deaf = False

    def on(self, change: Change) -> Any:
        kind = 0 if isinstance(change, Silence) else 1
        rng = np.random.default_rng([7, kind])
        absent = np.broadcast_to(rng.normal(size=self.made.audio.shape[-1]), self.made.audio.shape)
        audio = self.made.audio if self.deaf else absent.astype(np.float32)
        return dataclasses.replace(self, made=dataclasses.replace(self.made, audio=audio))


def model(tmp_path: Path, *, deaf: bool = False) -> tuple[Hearing, AbsentSoundConfig]:
    masks = np.zeros((N, 1, *GRID))
    boxes = []
    for i in range(N):
        side = SIZES[i % 3]
        masks[i, 0, :side, :side] = 1
        boxes.append({"file": f"clip{i}", "class": "dog", "bbox": [[0.0, 0.0, side / 8, side / 8]]})
    path = tmp_path / "vggss.json"
    path.write_text(json.dumps(boxes))
    visual, sound = planted(masks, width=64)
    made = subject(tmp_path, [f"clip{i}" for i in range(N)], visual, sound, grid=GRID)
    found = Hearing(**{field.name: getattr(made, field.name) for field in dataclasses.fields(made)})
    found.deaf = deaf
    return found, AbsentSoundConfig(annotations=str(path), resamples=30, pictures=0)


def run(made: Hearing, config: AbsentSoundConfig) -> Any:
    return TASK.run(cast(Any, made), config)


def test_a_model_that_hears_marks_the_object_and_nothing_without_its_sound(tmp_path: Path) -> None:
    result = run(*model(tmp_path))
    assert result.metrics["cIoU_one@0.5"] > 0.9
    assert result.metrics["cIoU@0.5"] < result.metrics["cIoU_one@0.5"]  # half of the picture is too much of most
    assert result.metrics["quiet"] == 0.0
    for kind in ABSENT:
        assert result.metrics[f"{kind}/quiet"] >= 0.75
        assert result.metrics[f"{kind}/marked"] < 0.05
        assert result.metrics[f"{kind}/below"] == 1.0
        assert result.chance[f"{kind}/below"] == 0.5
    areas = np.array([side * side / 64 for side in SIZES] * (N // 3))
    assert result.per_sample["area"] == pytest.approx(areas, abs=0.02)
    for size in AREAS:
        assert f"{size}/cIoU_one@0.5" in result.metrics
    assert set(result.ci95) == set(result.metrics) - {"threshold"}
    assert TASK.recompute(result.per_sample, [f"clip{i}" for i in range(N)], AbsentSoundConfig()) == result.metrics
    small = TASK.recompute(result.per_sample, ["clip0", "clip3"], AbsentSoundConfig())
    assert small["cIoU_one@0.5"] == small["small/cIoU_one@0.5"]
    assert "large/cIoU_one@0.5" not in small


def test_sounds_that_are_heard_and_seen_have_scores_of_their_own(tmp_path: Path) -> None:
    made, config = model(tmp_path)
    boxes = json.loads((tmp_path / "vggss.json").read_text())
    (tmp_path / "vggss.json").write_text(json.dumps([{**each, "class": "dog barking"} for each in boxes]))
    rows = [f"clip{i},dog barking,{'AV' if i % 2 else 'A'},False,False,False" for i in range(N - 1)]
    (tmp_path / "vggsounder.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    result = run(made, dataclasses.replace(config, visibility=str(tmp_path / "vggsounder.csv")))
    assert result.per_sample["visible"].tolist() == [i % 2 for i in range(N - 1)] + [-1]
    for name, chosen in (("audible_visible", 1), ("not_audible_visible", 0)):
        hits = result.per_sample["cIoU_one"][result.per_sample["visible"] == chosen] >= 0.5
        assert result.metrics[f"{name}/cIoU_one@0.5"] == pytest.approx(hits.mean())


def test_a_model_that_does_not_hear_marks_the_same_with_silence(tmp_path: Path) -> None:
    result = run(*model(tmp_path, deaf=True))
    for kind in ("silence", "noise"):
        assert result.metrics[f"{kind}/below"] == 0.5  # the very same map
        assert result.metrics[f"{kind}/marked"] == result.metrics["marked"]
        assert result.metrics[f"{kind}/quiet"] == result.metrics["quiet"]


def test_the_threshold_is_the_largest_quantile_of_the_peaks_of_absent_sounds(tmp_path: Path) -> None:
    made, config = model(tmp_path)
    for quantile in (0.5, 0.75):
        result = run(made, dataclasses.replace(config, quantile=quantile))
        peaks = [result.per_sample[f"{kind}/peak"] for kind in ABSENT]
        assert result.metrics["threshold"] == max(np.quantile(each, quantile) for each in peaks)
        for kind, each in zip(ABSENT, peaks, strict=True):
            assert result.metrics[f"{kind}/quiet"] == (each <= result.metrics["threshold"]).mean()


def test_the_other_sound_is_of_another_class_or_without_labels_another_clip(tmp_path: Path) -> None:
    made, config = model(tmp_path)
    judged = inputs.judged_samples(cast(Any, made), config)
    found = other_class(judged, made.evaluated, 0)
    assert found is not None
    assert ((found - judged.sounds) % 2 == 1).all()  # classes alternate
    assert (other_class(judged, made.evaluated, 0) == found).all()
    made.evaluated.class_names = ("a", "a")
    same = other_class(judged, made.evaluated, 0)
    assert same is not None
    assert (same != judged.sounds).all()


def test_silence_is_as_long_and_noise_as_loud_as_the_sound() -> None:
    clips = cast(Clips, LabelledClips(3))
    own, rate = clips.waveform(1)
    silent, noisy = (changed(clips, change).waveform(1) for change in (Silence(), Noise(0)))
    assert not silent[0].any()
    assert (len(silent[0]), silent[1]) == (len(noisy[0]), noisy[1]) == (len(own), rate)
    assert np.sqrt((noisy[0] ** 2).mean()) == pytest.approx(np.sqrt((own**2).mean()), rel=0.15)
    np.testing.assert_array_equal(noisy[0], changed(clips, Noise(0)).waveform(1)[0])
    assert (noisy[0] != changed(clips, Noise(1)).waveform(1)[0]).any()


def test_what_it_cannot_judge_is_refused(tmp_path: Path) -> None:
    made, config = model(tmp_path)
    (tmp_path / "negatives.csv").write_text("video,audio,label\nclip0,clip1,non-sounding\n")
    with pytest.raises(InputError, match="found ade20k or negatives, valid: boxes or masks"):
        run(made, dataclasses.replace(config, negatives=str(tmp_path / "negatives.csv")))
    with pytest.raises(InputError, match="--heatmaps: not used by task 'absent_sound'"):
        TASK.evaluate_heatmaps(Path("x"), Path("y"), config)
