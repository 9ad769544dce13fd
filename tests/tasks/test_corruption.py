"""The corruption task: what it measures, drops and their intervals, options; at severity 0 through a whole run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from labelled_clips import CLASSES, LabelledClips

from avbench.data.corpus.changed import Change, changed
from avbench.data.corpus.corrupted import Corruption
from avbench.data.media.corrupt import PICTURES, SOUNDS
from avbench.errors import InputError
from avbench.running.execution import Execution
from avbench.running.request import Request
from avbench.running.runner import Runner
from avbench.running.stages import make_ready
from avbench.running.subject import ReadySubject
from avbench.store.extracted import Pooled
from avbench.store.features import Features
from avbench.tasks.corruption import TASK, CorruptionConfig
from avbench.tasks.retrieval import TASK as RETRIEVAL
from avbench.tasks.retrieval import RetrievalConfig
from avbench.tasks.subject import Subject

QUICK = CorruptionConfig(resamples=40, severities=(1, 5), corruptions=("sound_noise", "clipping", "blur"))


class Model:
    """Embeds loudness and colour, so that it can be seen what each clip was like."""

    device, progress, folder = "cpu", False, Path("unused")
    config = dataclasses.make_dataclass("Run", [("seed", int, 0), ("method_name", str, "mine")])()

    def __init__(self, n: int = 30, clips: Any = None) -> None:
        self.train = LabelledClips(30, first=100)
        self.evaluated = LabelledClips(n) if clips is None else clips

    def on(self, change: Change) -> Model:
        return Model(clips=changed(self.evaluated, change))  # type: ignore[arg-type]

    def _vectors(self, clips: Any) -> tuple[Any, Any]:
        sounds = [np.abs(np.fft.rfft(clips.waveform(i)[0], 512)[::8]) for i in range(len(clips))]
        pictures = [np.resize(clips.frame(i, 0).mean(axis=0), 33) for i in range(len(clips))]
        return np.array(sounds, np.float32)[:, None], np.array(pictures, np.float32)[:, None]

    def embeddings(self) -> Features:
        return Features(list(self.evaluated.ids), *self._vectors(self.evaluated))

    def pooled(self, part: str) -> Pooled:
        clips = self.train if part == "train" else self.evaluated
        return Pooled(list(clips.ids), *self._vectors(clips), None)


def run(model: Model, config: CorruptionConfig = QUICK) -> Any:
    return TASK.run(cast(Subject, model), config)


def test_every_corruption_is_measured_as_retrieval_measures_it() -> None:
    model = Model()
    result = run(model)
    plain = RETRIEVAL.evaluate(model.embeddings(), RetrievalConfig(resamples=0))
    assert {key: result.metrics[f"clean/{key}"] for key in plain.metrics} == plain.metrics
    damaged = model.on(Corruption("blur", 5))
    again = RETRIEVAL.evaluate(damaged.embeddings(), RetrievalConfig(resamples=0))
    assert {key: result.metrics[f"blur@5/{key}"] for key in again.metrics} == again.metrics
    places = {key.rpartition("/")[0] for key in result.metrics}
    names = ("clean", *(f"{kind}@{k}" for kind in QUICK.corruptions for k in (1, 5)), "drop/sound", "drop/picture")
    assert places == {f"{name}/{side}" for name in names for side in ("a2v", "v2a")}
    sounds = [result.metrics[f"{kind}@{k}/a2v/R@10"] for kind in ("sound_noise", "clipping") for k in (1, 5)]
    assert result.metrics["drop/sound/a2v/R@10"] == pytest.approx(result.metrics["clean/a2v/R@10"] - np.mean(sounds))
    assert result.chance["blur@1/a2v/R@10"] == pytest.approx(1 / 3)
    assert set(result.ci95) == set(result.metrics)
    low, high = result.ci95["drop/sound/v2a/mean_rank"]
    assert low <= result.metrics["drop/sound/v2a/mean_rank"] <= high
    assert TASK.recompute(result.per_sample, list(model.evaluated.ids), QUICK) == result.metrics
    with pytest.raises(InputError, match="found no embeddings of damaged clips"):
        TASK.recompute(result.per_sample, list(model.evaluated.ids)[:9], QUICK)


def test_neighbours_of_damaged_clips_are_clean_training_clips_and_fewer_clips_can_be_judged() -> None:
    config = dataclasses.replace(QUICK, measure="knn", corruptions=("sound_noise", "darkness"))
    result = run(Model(), config)
    assert result.metrics["clean/audio/top1"] > 0.8
    assert result.metrics["sound_noise@5/visual/top1"] == result.metrics["clean/visual/top1"]
    assert result.metrics["drop/picture/audio/top1"] == 0.0
    assert result.metrics["drop/sound/audio/top1"] > 0.1
    assert result.chance["clean/audio/top1"] == pytest.approx(1 / len(CLASSES))
    part = TASK.recompute(result.per_sample, result.per_sample["id"].tolist()[:12], config)
    hits = result.per_sample["sound_noise@5/audio/top1"][:12].mean()
    assert part["sound_noise@5/audio/top1"] == pytest.approx(hits)


def test_without_a_choice_all_are_measured() -> None:
    config = CorruptionConfig(severities=(3,), resamples=0)
    places = {key.split("/")[0] for key in run(Model(9), config).metrics}
    assert places == {"clean", "drop", *(f"{kind}@3" for kind in (*SOUNDS, *PICTURES))}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"corruptions": ("fog",)}, "task.corruptions: found fog, valid: one or more of sound_noise"),
        ({"severities": ()}, "task.severities: found none"),
        ({"severities": (6,)}, "severities: found 6"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        CorruptionConfig(**options)


def test_unchanged_clips_give_the_very_arrays_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of changed clips through extraction: to the last bit what the run's own stage holds."""
    small = ("data.train_clips=8", "data.test_clips=8", "train.batch_size=4", "train.steps=1")
    words = (*small, "task.severities=[5]", "task.corruptions=[blur, muffling]", "task.resamples=20")
    none, damage = (Change(), Corruption("blur", 0), Corruption("muffling", 0)), Corruption("blur", 5)
    monkeypatch.setattr(TASK, "changes", lambda config: (*none, damage))
    for method in ("cavmae", "cavmae_sync"):
        execution = Execution(results=tmp_path, progress=False)
        runner = Runner(execution)
        (config,) = runner.resolve_all([Request(method=method, task="corruption", data="soundshapes", sets=words)])
        plan = runner.plans(config)[0]
        make_ready(plan, execution)
        subject = ReadySubject(plan, execution)
        for change in none:
            same = subject.on(change)
            assert same.evaluated.ids == subject.evaluated.ids
            for side in ("audio", "visual"):
                np.testing.assert_array_equal(getattr(same.embeddings(), side), getattr(subject.embeddings(), side))
        damaged = subject.on(damage)
        np.testing.assert_array_equal(damaged.embeddings().audio, subject.embeddings().audio)
        assert (damaged.embeddings().visual != subject.embeddings().visual).any()
        with pytest.raises(InputError, match=r"asks for clips with jpeg@1, valid: .*blur@5"):
            subject.on(Corruption("jpeg", 1)).embeddings()
