"""Shuffled pairs: two models on true pairs, the drop between them, and what a file of weights or no training means."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from label_rows import codes_of

from avbench.config import FinetuneConfig, TrainConfig
from avbench.data.corpus.clips import hash_ids
from avbench.errors import InputError
from avbench.running.request import Request, resolve
from avbench.store.extracted import Pooled
from avbench.store.features import Features
from avbench.tasks import classification, linear_probe
from avbench.tasks.base import TaskResult
from avbench.tasks.shuffled_pairs import CARD, SHUFFLED, TASK, ShuffledPairsConfig

QUICK = ShuffledPairsConfig(weight_decays=(0.01,), iterations=30, resamples=100)
NAMES = ("disk", "ring", "square")


class Labelled:
    """Clips with a label each, and nothing to see or hear."""

    class_names = NAMES

    def __init__(self, n: int, prefix: str) -> None:
        self.ids = [f"{prefix}{i:03d}" for i in range(n)]

    def __len__(self) -> int:
        return len(self.ids)

    def labels(self, i: int) -> tuple[str, ...]:
        return (NAMES[i % 3],)

    def label_codes(self) -> Any:
        return codes_of(self)


class Fake:
    """A subject whose vectors know the class and, with true pairs, what the other modality has."""

    progress = False
    device = "cpu"

    def __init__(self, tmp_path: Path, weights: str = "pretrained", pairing: str = "true") -> None:
        self.folder = tmp_path
        self.train, self.tune, self.evaluated = Labelled(90, "train"), None, Labelled(60, "test")
        self.modalities = ("audio", "visual")
        train = TrainConfig(batch_size=32, accumulate=4, pairing=pairing)
        self.config = SimpleNamespace(weights=weights, train=train, seed=0, method_name="cavmae")
        self.asked: list[dict[str, Any]] = []

    @property
    def _noise(self) -> float:
        return 1.0 if self.config.train.pairing == "true" else 4.0

    def _vectors(self, part: str) -> dict[str, Any]:
        clips = self.train if part == "train" else self.evaluated
        rng = np.random.default_rng(len(clips))
        truth = np.eye(8)[np.arange(len(clips)) % 3]
        common = rng.standard_normal((len(clips), 8))
        noise = rng.standard_normal((3, len(clips), 8)) * self._noise
        return {
            name: (common + 3 * truth + each).astype(np.float32)[:, None]
            for name, each in zip(("audio", "visual", "joint"), noise, strict=True)
        }

    def pooled(self, part: str) -> Pooled:
        clips = self.train if part == "train" else self.evaluated
        return Pooled(clips.ids, **self._vectors(part))

    def embeddings(self) -> Features:
        found = self._vectors("evaluated")
        return Features(self.evaluated.ids, found["audio"], found["visual"])

    def training_log(self) -> dict[str, Any] | None:
        if self.config.weights == "untrained":
            return None
        return {"last_row": {"loss": 1.0, "contrast": 0.5 * self._noise}}

    def variant(self, **sections: Any) -> Fake:
        self.asked.append(sections)
        return Fake(self.folder, self.config.weights, **sections["train"])


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> TaskResult:
    return TASK.run(Fake(tmp_path_factory.mktemp("run")), QUICK)  # type: ignore[arg-type]


def test_both_models_and_the_drop_are_reported(result: TaskResult) -> None:
    own = {key.removeprefix("true/") for key in result.metrics if key.startswith("true/")}
    assert {"joint/top1", "audio/mAP", "visual/mAUC", "a2v/R@10", "v2a/mean_rank", "contrast_loss"} <= own
    assert own == {key.removeprefix("shuffled/") for key in result.metrics if key.startswith("shuffled/")}
    for key in own - {"contrast_loss"}:
        metrics = result.metrics
        assert metrics[f"drop/{key}"] == metrics[f"true/{key}"] - metrics[f"shuffled/{key}"]
        assert result.chance[f"drop/{key}"] == 0
        assert result.chance[f"true/{key}"] == result.chance[f"shuffled/{key}"]
    assert "drop/contrast_loss" not in result.metrics
    assert result.metrics["drop/joint/top1"] > 0.1
    assert result.metrics["drop/a2v/R@10"] > 0.1


def test_drops_have_intervals_over_pairs_of_outputs(result: TaskResult) -> None:
    for key in ("joint/top1", "joint/mAP", "audio/mAUC", "a2v/R@10", "v2a/median_rank"):
        low, high = result.ci95[f"drop/{key}"]
        assert low <= result.metrics[f"drop/{key}"] <= high
        assert low < high
        single = [np.ptp(result.ci95[f"{model}/{key}"]) for model in ("true", "shuffled")]
        assert high - low <= sum(single)
    assert set(result.ci95) <= set(result.metrics)


def test_the_loss_stands_beside_that_of_guessing_in_a_forward_pass(result: TaskResult) -> None:
    assert result.metrics["true/contrast_loss"] == 0.5
    assert result.metrics["shuffled/contrast_loss"] == 2.0
    assert result.chance["shuffled/contrast_loss"] == pytest.approx(math.log(8))  # 32 clips in 4 passes


def test_metrics_are_those_of_the_tasks_themselves(result: TaskResult, tmp_path: Path) -> None:
    probe = linear_probe.TASK.run(Fake(tmp_path, pairing="shuffled"), QUICK)  # type: ignore[arg-type]
    for key, value in probe.metrics.items():
        assert result.metrics[f"shuffled/{key}"] == value
        assert result.ci95[f"shuffled/{key}"] == probe.ci95[key]
    assert result.ids_sha256 == probe.ids_sha256 == hash_ids(f"test{i:03d}" for i in range(60))


def test_metrics_can_be_computed_again_for_some_of_the_clips(result: TaskResult) -> None:
    ids = result.per_sample["id"].tolist()
    everything = TASK.recompute(result.per_sample, ids, QUICK)
    assert everything == {key: value for key, value in result.metrics.items() if not key.endswith("contrast_loss")}
    some = np.arange(60) % 2 == 0
    part = TASK.recompute(result.per_sample, ids[::2], QUICK)
    assert part["true/joint/top1"] == result.per_sample["true/joint/top1"][some].mean()
    assert part["true/a2v/mean_rank"] < result.metrics["true/a2v/mean_rank"]  # of 30 candidates
    assert part["drop/joint/mAP"] == part["true/joint/mAP"] - part["shuffled/joint/mAP"]


def test_untrained_weights_have_no_pairs_and_no_drop(tmp_path: Path) -> None:
    subject = Fake(tmp_path, weights="untrained")
    found = TASK.run(subject, QUICK)  # type: ignore[arg-type]
    assert subject.asked == []
    assert {value for key, value in found.metrics.items() if key.startswith("drop/")} == {0.0}
    assert {pair for key, pair in found.ci95.items() if key.startswith("drop/")} == {(0.0, 0.0)}
    assert not any("contrast" in key for key in found.metrics)


def test_the_variant_is_the_one_that_was_named(tmp_path: Path) -> None:
    subject = Fake(tmp_path)
    TASK.run(subject, QUICK)  # type: ignore[arg-type]
    assert subject.asked == [SHUFFLED]
    assert TASK.variants(QUICK) == (SHUFFLED,)
    assert CARD.modalities == ("audio", "visual")


def test_what_has_no_pairs_to_shuffle_is_refused_before_any_work(tmp_path: Path) -> None:
    def request(**changes: Any) -> Any:
        return dataclasses.replace(resolve(Request(method="cavmae", task="shuffled_pairs")), **changes)

    TASK.check(request())
    with pytest.raises(InputError, match="--checkpoint: found a file of weights"):
        TASK.check(request(weights="checkpoint"))
    with pytest.raises(InputError, match=r"train\.pairing: found shuffled, valid: true"):
        TASK.check(request(train=TrainConfig(pairing="shuffled")))
    with pytest.raises(InputError, match=r"task\.finetune\.weights"):
        TASK.check(request(task=dataclasses.replace(QUICK, finetune=FinetuneConfig(weights="some.safetensors"))))
    with pytest.raises(InputError, match="features alone"):
        TASK.evaluate(Fake(tmp_path).embeddings(), QUICK)


@pytest.mark.parametrize("measure", ["finetune", "both"])
def test_fine_tuning_judges_the_same_labels_under_keys_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measure: str
) -> None:
    seen: list[FinetuneConfig] = []

    def run(subject: Any, config: FinetuneConfig) -> TaskResult:
        seen.append(config)
        return linear_probe.TASK.run(subject, QUICK)

    monkeypatch.setattr(classification.TASK, "run", run)
    config = dataclasses.replace(QUICK, measure=measure, absent="reference", finetune=FinetuneConfig(epochs=2))
    found = TASK.run(Fake(tmp_path), config)  # type: ignore[arg-type]
    assert [(each.epochs, each.absent, each.resamples) for each in seen] == [(2, "reference", 100)] * 2
    assert found.metrics["drop/finetuned/joint/top1"] > 0.1
    assert ("true/joint/top1" in found.metrics) == (measure == "both")
    assert "drop/a2v/R@10" in found.metrics
    again = TASK.recompute(found.per_sample, found.per_sample["id"].tolist(), config)
    assert again == {key: value for key, value in found.metrics.items() if not key.endswith("contrast_loss")}
