"""The linear probe on a subject made of arrays: streams, chance, intervals, recomputation, refusals."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from avbench import registry
from avbench.config import RunConfig
from avbench.data.corpus.clips import hash_ids
from avbench.errors import InputError
from avbench.tasks.classification import TASK as CLASSIFICATION
from avbench.tasks.linear_probe import CARD, CONFIG, TASK, LinearProbeConfig
from avbench.tasks.retrieval import TASK as RETRIEVAL
from avbench.tasks.subject import Part, Subject

from .array_subject import ArraySubject, LabelledClips

Array = npt.NDArray[Any]
QUICK = LinearProbeConfig(resamples=50, weight_decays=(1e-2, 1e-1), iterations=15)


def run(subject: ArraySubject, config: LinearProbeConfig = QUICK) -> Any:
    return TASK.run(cast(Subject, subject), config)


def test_each_stream_reads_what_it_holds() -> None:
    subject = ArraySubject()
    result = run(subject)
    names = ("top1", "mAP", "mAUC", "d_prime")
    assert set(result.metrics) == {f"{stream}/{name}" for stream in ("audio", "visual", "joint") for name in names}
    assert result.metrics["joint/top1"] > 0.75
    assert 0.35 < result.metrics["audio/top1"] < 0.65
    assert 0.35 < result.metrics["visual/top1"] < 0.65
    assert set(result.chance) == set(result.metrics) == set(result.ci95)
    target = result.per_sample["target"]
    assert result.chance["audio/top1"] == np.bincount(target).max() / 60
    assert result.chance["audio/mAUC"] == 0.5
    for name, (low, high) in result.ci95.items():
        assert low <= result.metrics[name] <= high
    assert (result.n, result.ids_sha256) == (60, hash_ids(subject.evaluated.ids))
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False)) == result.to_dict()


@pytest.mark.parametrize("config", [QUICK, LinearProbeConfig(optimizer="adam", epochs=3, resamples=20)])
def test_same_seed_same_numbers(config: LinearProbeConfig) -> None:
    first, again = run(ArraySubject(), config), run(ArraySubject(), config)
    assert first.to_dict() == again.to_dict()
    assert all(np.array_equal(values, again.per_sample[name]) for name, values in first.per_sample.items())


def test_evaluated_clips_play_no_part_in_training() -> None:
    one, other = ArraySubject(), ArraySubject()
    pooled = other.pooled("evaluated")
    other.change("evaluated", audio=np.concatenate([pooled.audio[:5], 9 * pooled.audio[5:][::-1]]))  # type: ignore[index]
    scores = (run(subject).per_sample["audio/scores"] for subject in (one, other))
    assert np.array_equal(*(values[:5] for values in scores))


def test_several_labels() -> None:
    result = run(ArraySubject(several=True))
    assert set(result.metrics) == {f"{s}/{m}" for s in ("audio", "visual", "joint") for m in ("mAP", "mAUC", "d_prime")}
    assert result.metrics["joint/mAP"] > result.chance["joint/mAP"] + 0.15
    assert result.per_sample["target"].shape == (60, 4)
    assert set(result.per_sample) == {"id", "target", "audio/scores", "visual/scores", "joint/scores"}
    forced = run(ArraySubject(), dataclasses.replace(QUICK, target="multi"))
    assert "joint/top1" not in forced.metrics


def test_a_part_of_the_label() -> None:
    animal = run(ArraySubject(), dataclasses.replace(QUICK, label="1"))
    assert animal.metrics["audio/top1"] > 0.8
    assert animal.metrics["visual/top1"] < 0.7
    assert animal.per_sample["audio/scores"].shape == (60, 2)


def test_streams_that_the_method_lacks_are_left_out() -> None:
    subject = ArraySubject()
    for part in ("train", "evaluated"):
        subject.change(part, visual=None, joint=None)
    assert {name.split("/")[0] for name in run(subject).metrics} == {"audio"}
    assert {name.split("/")[0] for name in run(subject, dataclasses.replace(QUICK, joint="concat")).metrics} == {
        "audio"
    }
    for part in ("train", "evaluated"):
        subject.change(part, audio=None)
    with pytest.raises(InputError, match="method mine: found no vector"):
        run(subject)


def test_joint_by_name_is_both_streams_end_to_end() -> None:
    subject = ArraySubject()
    for part in ("train", "evaluated"):
        joint = subject.pooled(cast(Part, part)).joint
        assert joint is not None
        subject.change(part, joint=np.zeros_like(joint))
    assert run(subject).metrics["joint/top1"] < 0.5
    assert run(subject, dataclasses.replace(QUICK, joint="concat")).metrics["joint/top1"] > 0.75


def test_several_frames() -> None:
    mean, concat = (run(ArraySubject(frames=3), dataclasses.replace(QUICK, frames=name)) for name in ("mean", "concat"))
    assert mean.metrics["joint/top1"] > 0.9
    assert concat.metrics["joint/top1"] > 0.9
    assert mean.metrics != concat.metrics


def test_recomputation_from_per_sample_outputs() -> None:
    for several in (False, True):
        result = run(ArraySubject(several=several))
        ids = result.per_sample["id"].tolist()
        assert TASK.recompute(result.per_sample, ids, QUICK) == result.metrics
        rows = np.arange(0, 60, 3)
        part = TASK.recompute(result.per_sample, ids[::3], QUICK)
        assert set(part) == set(result.metrics)
        if not several:
            assert part["audio/top1"] == pytest.approx(result.per_sample["audio/top1"][rows].mean())


def test_scores_of_large_sets_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avbench.tasks.linear_probe.KEPT_SCORES", 100)
    result = run(ArraySubject())
    assert set(result.per_sample) == {"id", "target", "audio/top1", "visual/top1", "joint/top1"}
    again = TASK.recompute(result.per_sample, result.per_sample["id"].tolist(), QUICK)
    assert again == {key: value for key, value in result.metrics.items() if key.endswith("top1")}


def broken(subject: ArraySubject) -> None:
    audio = subject.pooled("evaluated").audio
    assert audio is not None
    audio[4, 0, 2] = np.nan


def bare(subject: ArraySubject) -> None:
    subject.train = LabelledClips([()] * 120, "train")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (broken, r"audio vectors: found values that are not finite in 1 of 60 clips \(evaluated004\)"),
        (bare, "found none for any of the 120 training clips"),
    ],
)
def test_unusable_subjects_are_refused(damage: Callable[[ArraySubject], None], message: str) -> None:
    subject = ArraySubject()
    damage(subject)
    with pytest.raises(InputError, match=message):
        run(subject)


def test_an_empty_sweep_is_refused() -> None:
    for config in (LinearProbeConfig(weight_decays=()), LinearProbeConfig(optimizer="adam", learning_rates=())):
        with pytest.raises(InputError, match=r"task\.(weight_decays|learning_rates): found none"):
            run(ArraySubject(), config)
        with pytest.raises(InputError, match="found none"):
            TASK.check(cast(RunConfig, dataclasses.make_dataclass("Run", ["task"])(config)))


def test_the_registry_reads_the_card() -> None:
    assert registry.find("task", "linear_probe").card.items() <= dataclasses.asdict(CARD).items()
    assert CONFIG().optimizer == "lbfgs"


def test_needs_no_torch() -> None:
    code = "import sys, avbench.tasks.linear_probe; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_kept_scores_are_logarithms_of_the_probabilities() -> None:
    outputs = {"id": np.array(["x"]), "audio/scores": np.log(np.array([[0.25, 0.75]]))}
    assert TASK.probabilities(outputs, "audio") == pytest.approx(np.array([[0.25, 0.75]]))
    assert CLASSIFICATION.probabilities(outputs, "audio") is outputs["audio/scores"]
    with pytest.raises(InputError, match="no scores of 'visual'"):
        TASK.probabilities(outputs, "visual")
    with pytest.raises(InputError, match="no class probabilities"):
        RETRIEVAL.probabilities(outputs, "audio")
