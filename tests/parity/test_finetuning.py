"""Fine-tuning in the authors' format: weights files on disk, the recordings' logits, reproducible steps."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from classifiers import classifier_of
from labelled_clips import CLASSES, LabelledClips
from torch import Tensor, nn

from avbench.config import FinetuneConfig, InputConfig, ModelConfig, TrainConfig
from avbench.methods.cavmae import CavMae, CavMaeConfig
from avbench.methods.classifier import MODES, build_classifier
from avbench.methods.heads import KEYS
from avbench.tasks.labels import read_labels
from avbench.training.checkpoints import build_from_checkpoint
from avbench.training.classifier_weights import read_classifier
from avbench.training.export import export_published
from avbench.training.finetune import Work, finetune

LENGTH = 1024


def test_fine_tuned_file_gives_the_recorded_logits(
    cavmae: Mapping[str, np.ndarray],
    meta: dict[str, int],
    model_config: ModelConfig,
    input_config: InputConfig,
    fill: Callable[[nn.Module], None],
    inputs: Callable[[int, int, int], tuple[Tensor, Tensor]],
    close: Callable[..., None],
    tmp_path: Path,
) -> None:
    made = classifier_of(model_config, input_config, cavmae["finetune/multimodal"].shape[1])
    fill(made)
    export_published(tmp_path / "fine.pth", made)
    assert all(key.startswith("module.") for key in torch.load(tmp_path / "fine.pth", weights_only=True))
    read = read_classifier(tmp_path / "fine.pth", model_config, input_config)
    batch = inputs(meta["input_seed"], len(cavmae["finetune/multimodal"]), LENGTH)
    for mode in MODES:
        with torch.no_grad():
            close(read(*batch, mode), cavmae[f"finetune/{mode}"], mode)


def test_pretraining_file_becomes_the_model_of_the_recordings(
    cavmae: Mapping[str, np.ndarray],
    meta: dict[str, int],
    model_config: ModelConfig,
    input_config: InputConfig,
    fill: Callable[[nn.Module], None],
    inputs: Callable[[int, int, int], tuple[Tensor, Tensor]],
    close: Callable[..., None],
    tmp_path: Path,
) -> None:
    """The formula depends on key and shape alone, so the encoder of both files is the same."""
    pretrained = CavMae(CavMaeConfig(), model_config, input_config)
    fill(pretrained)
    export_published(tmp_path / "pretrained.pth", pretrained)
    heads = {"num_heads": model_config.num_heads, "decoder_num_heads": model_config.decoder_num_heads}
    method = build_from_checkpoint(tmp_path / "pretrained.pth", method="cavmae", model=heads)
    wanted = cavmae["finetune/multimodal"]
    classifier = build_classifier(method, wanted.shape[1], mode="multimodal")
    filled = classifier_of(model_config, input_config, wanted.shape[1])
    fill(filled)
    head = {key: value for key, value in filled.state_dict().items() if key.startswith(KEYS)}
    classifier.load_state_dict(head, strict=False)
    with torch.no_grad():
        batch = inputs(meta["input_seed"], len(wanted), LENGTH)
        for mode in MODES:
            close(classifier(*batch, mode), cavmae[f"finetune/{mode}"], mode)


@pytest.mark.parametrize("loss", ["bce", "ce"])
def test_five_steps_of_the_recipe_twice(
    model_config: ModelConfig, fill: Callable[[nn.Module], None], tmp_path: Path, loss: str
) -> None:
    """The released recipe as it stands but for the number of clips: mixing, masks, noise, smoothing, two rates."""
    clips, sizes = LabelledClips(12), InputConfig(sample_rate=1000, image_size=32, target_length=64)
    recipe = FinetuneConfig(steps=5, batch_size=4)
    found = []
    for name in ("one", "two"):
        pretrained = CavMae(CavMaeConfig(), model_config, sizes)
        fill(pretrained)
        classifier = build_classifier(pretrained, 3, mode="multimodal")
        work = Work(
            folder=tmp_path / name,
            stage="s",
            device="cpu",
            precision="fp32",
            seed=0,
            train=TrainConfig(workers=0, log_every=1, tensorboard=False),
            progress=False,
        )
        labels = read_labels(clips, {label: label for label in CLASSES})
        finetune(classifier, clips, labels, sizes, recipe, mode="multimodal", loss=loss, work=work)  # type: ignore[arg-type]
        with (tmp_path / name / "metrics.csv").open() as handle:
            found.append([row["loss"] for row in csv.DictReader(handle)])
    assert len(found[0]) == 5
    assert len(set(found[0])) == 5
    assert found[0] == found[1]
