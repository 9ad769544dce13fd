from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classifiers import classifier_of
from labelled_clips import INPUT, MODEL, LabelledClips

from avbench import registry
from avbench.config import DataConfig, FinetuneConfig, RunConfig, TrainConfig
from avbench.errors import InputError
from avbench.methods.classifier import Classifier
from avbench.running import finetuning, identity
from avbench.running.execution import Execution
from avbench.running.identity import Finetuning
from avbench.running.request import Request, resolve
from avbench.running.stages import settle
from avbench.tasks.base import FINETUNED
from avbench.tasks.classification import TASK, ensemble
from avbench.training import finetune, trained_on
from avbench.training.export import export_published


@dataclass
class MadeSubject:
    """A method with its first weights, and made-up clips."""

    folder: Path
    name: str = "cavmae"
    several: bool = False
    device: str = "cpu"
    progress: bool = False
    stages: dict[str, Finetuning] = field(default_factory=dict)

    def __post_init__(self) -> None:
        module = registry.find("method", self.name).load()
        self.modalities = module.METHOD.modalities
        self.train, self.evaluated = LabelledClips(20, several=self.several), LabelledClips(13, first=50)
        self.config = RunConfig(
            method_name=self.name,
            task_name="classification",
            data=DataConfig(),
            input=INPUT,
            model=MODEL,
            method=module.CONFIG(),
            train=TrainConfig(workers=0, tensorboard=False),
            task=FinetuneConfig(),
            seed=0,
            precision="fp32",
            weights="untrained",
        )

    def tune(self, options: FinetuneConfig) -> MadeSubject:
        """Makes the fine-tuned models that the task is to judge, as a run does before the task begins."""
        if FINETUNED not in TASK.spared(options):
            clips: Any = (self.train, self.evaluated)
            for mode in options.modes_for(tuple(self.modalities), self.name):
                stage = identity.finetuning(self.config, options, mode, clips, None, self.folder)
                settle(stage, Execution(results=self.folder, progress=False))
                self.stages[mode] = stage
        return self

    def classifier(self, mode: str) -> Classifier:
        return finetuning.read(self.stages[mode], self.device)


def recipe(**changes: Any) -> FinetuneConfig:
    values = {"steps": 2, "batch_size": 6, "freq_mask": 4, "time_mask": 8, "resamples": 20, **changes}
    return FinetuneConfig(**values)


def run(folder: Path, config: FinetuneConfig | None = None, **options: Any) -> Any:
    return TASK.run(MadeSubject(folder, **options).tune(config or recipe()), config or recipe())  # type: ignore[arg-type]


def test_all_modes_with_missing_modalities_and_the_ensemble(tmp_path: Path) -> None:
    result = run(tmp_path / "id", recipe(modes=("audioonly", "videoonly", "multimodal")))
    streams = {key.split("/")[0] for key in result.metrics}
    assert streams == {"audio", "visual", "joint", "missing_audio", "missing_visual", "ensemble"}
    assert {key.split("/")[1] for key in result.metrics} == {"top1", "mAP", "mAUC", "d_prime"}
    assert result.n == 13
    assert result.chance.keys() == result.metrics.keys() >= result.ci95.keys()
    scores = result.per_sample
    np.testing.assert_array_equal(scores["ensemble/scores"], (scores["audio/scores"] + scores["visual/scores"]) / 2)
    np.testing.assert_allclose(scores["joint/scores"].sum(axis=1), 1, atol=1e-5)  # one label a clip: a softmax
    assert scores["id"].tolist() == [f"clip{i:03d}" for i in range(50, 63)]
    assert TASK.recompute(scores, scores["id"].tolist(), recipe()) == result.metrics
    assert len(list((tmp_path / "id" / "stages" / "finetune").iterdir())) == 3


def test_fine_tuned_weights_know_the_clips_they_were_tuned_on(tmp_path: Path) -> None:
    subject = MadeSubject(tmp_path).tune(recipe(missing=False))
    known = trained_on.read(subject.stages["multimodal"].folder / "finetuned.safetensors")
    assert known.complete
    assert known.holds(trained_on.hash_clips(subject.train.ids)).all()
    assert not known.holds(trained_on.hash_clips(subject.evaluated.ids)).any()


def test_several_labels_a_clip_are_judged_by_map(tmp_path: Path) -> None:
    result = run(tmp_path, recipe(missing=False), several=True)
    assert {key.split("/")[1] for key in result.metrics} == {"mAP", "mAUC", "d_prime"}
    assert result.per_sample["target"].shape == (13, 3)
    assert result.per_sample["joint/scores"].sum(axis=1).std() > 0  # sigmoids


@pytest.mark.parametrize(
    ("name", "streams"),
    [
        ("audiomae", {"audio"}),
        ("visualmae", {"visual"}),
        ("vanilla_avmae", {"joint", "missing_audio", "missing_visual"}),
        ("cavmae_sync", {"joint", "missing_audio", "missing_visual"}),
    ],
)
def test_each_kind_of_method(tmp_path: Path, name: str, streams: set[str]) -> None:
    assert {key.split("/")[0] for key in run(tmp_path, name=name).metrics} == streams


def test_run_again_reads_what_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(tmp_path)
    monkeypatch.setattr(finetune, "train", None)
    assert run(tmp_path).metrics == first.metrics
    again = run(tmp_path, recipe(resamples=0, frames="middle", missing=False))  # how they are judged trains nothing
    assert again.metrics.keys() < first.metrics.keys()
    with pytest.raises(TypeError):  # the recipe does
        run(tmp_path, recipe(mixup=0.1))


def test_a_fine_tuning_that_was_stopped_before_its_last_word_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = MadeSubject(tmp_path).tune(recipe())
    folder = subject.stages["multimodal"].folder
    (folder / "done.json").unlink()
    monkeypatch.setattr(finetune, "train", None)
    before = (folder / "finetuned.safetensors").read_bytes()
    subject.tune(recipe())
    assert (folder / "done.json").is_file()
    assert (folder / "finetuned.safetensors").read_bytes() == before


def test_part_of_the_name_as_label_is_refused_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"task.label: found 'pitch'"):
        run(tmp_path, recipe(label="pitch"))


def test_fine_tuned_weights_are_evaluated_as_they_are(tmp_path: Path) -> None:
    classifier = classifier_of(MODEL, INPUT, 3, seed=7).eval()
    export_published(tmp_path / "fine.pth", classifier)
    config = recipe(weights=str(tmp_path / "fine.pth"), modes=("multimodal", "audioonly"), frames="middle")
    result = run(tmp_path / "x", config)
    clips = LabelledClips(13, first=50)
    from avbench.data.feed.dataset import AudioVisualDataset

    batch = AudioVisualDataset(clips, INPUT, mode="eval").batch(range(13))
    for mode, stream in (
        ("multimodal", "joint"),
        ("audioonly", "audio"),
        ("missingaudioonly", "missing_visual"),
        ("missingvideoonly", "missing_audio"),
    ):
        with torch.no_grad():
            wanted = classifier(batch.audio, batch.visual, mode).softmax(dim=1).numpy()
        np.testing.assert_allclose(result.per_sample[f"{stream}/scores"], wanted, atol=1e-6)
    assert not (tmp_path / "x").exists()
    assert TASK.files(config).keys() == {"weights"}


def test_weights_are_read_for_the_streams_that_are_asked_for(tmp_path: Path) -> None:
    export_published(tmp_path / "fine.pth", classifier_of(MODEL, INPUT, 3, streams="SM"))
    found = run(tmp_path / "x", recipe(weights=str(tmp_path / "fine.pth"), streams="SM"))
    assert not any(key.startswith("missing") for key in found.metrics)
    with pytest.raises(InputError, match=r"a head that reads \d+ values, valid: \d+, those of task\.streams=MM"):
        run(tmp_path / "x", recipe(weights=str(tmp_path / "fine.pth")))


def test_weights_of_other_classes_are_refused(tmp_path: Path) -> None:
    export_published(tmp_path / "fine.pth", classifier_of(MODEL, INPUT, 4))
    with pytest.raises(InputError, match="found 4 classes, valid: 3"):
        run(tmp_path / "x", recipe(weights=str(tmp_path / "fine.pth")))
    with pytest.raises(InputError, match="no such file"):
        TASK.files(recipe(weights="nowhere.pth"))


def test_modes_follow_the_modalities() -> None:
    both = ("audio", "visual")
    assert FinetuneConfig().modes_for(both, "m") == ("multimodal",)
    assert FinetuneConfig().modes_for(("audio",), "m") == ("audioonly",)
    assert FinetuneConfig(modes=("videoonly", "videoonly")).modes_for(both, "m") == ("videoonly",)
    assert FinetuneConfig(modes=("all",)).modes_for(both, "m") == ("multimodal", "audioonly", "videoonly")
    assert FinetuneConfig(modes=("all",)).modes_for(("visual",), "m") == ("videoonly",)
    with pytest.raises(InputError, match=r"task.modes: found multimodal, valid: audioonly, all, for method 'm'"):
        FinetuneConfig(modes=("multimodal",)).modes_for(("audio",), "m")
    with pytest.raises(InputError, match=r"task.modes: found videoonly, valid: audioonly, all, for method 'audiomae'"):
        TASK.check(resolve(Request(method="audiomae", task="classification", sets=("task.modes=[videoonly]",))))


def test_ensemble_of_two_runs_needs_the_same_clips() -> None:
    np.testing.assert_array_equal(ensemble(np.zeros((2, 3)), np.ones((2, 3))), np.full((2, 3), 0.5))
    with pytest.raises(InputError, match="ensemble: found scores of shapes"):
        ensemble(np.zeros((2, 3)), np.ones((3, 3)))
