from __future__ import annotations

import pytest
import torch
from classifiers import classifier_of
from torch import Tensor

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.classifier import MODES

Sizes = tuple[ModelConfig, InputConfig]


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_gives_logits(sizes: Sizes, batch: tuple[Tensor, Tensor], mode: str) -> None:
    assert classifier_of(*sizes, 5)(*batch, mode).shape == (3, 5)


@pytest.mark.parametrize("mode", ["audioonly", "missingaudioonly"])
def test_audio_modes_need_no_frames(sizes: Sizes, batch: tuple[Tensor, Tensor], mode: str) -> None:
    classifier = classifier_of(*sizes, 5)
    assert torch.equal(classifier(batch[0], None, mode), classifier(*batch, mode))
    with pytest.raises(InputError, match="audio: found None"):
        classifier(None, batch[1], mode)


def test_unknown_mode_is_refused(sizes: Sizes, batch: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(InputError, match="unknown mode 'audio'"):
        classifier_of(*sizes, 5)(*batch, "audio")


@pytest.mark.parametrize(
    ("mode", "without"),
    [
        ("multimodal", {"norm_a", "norm_v"}),
        ("audioonly", {"norm", "norm_v", "blocks_v", "patch_embed_v", "pos_embed_v", "modality_v"}),
        ("videoonly", {"norm", "norm_a", "blocks_a", "patch_embed_a", "pos_embed_a", "modality_a"}),
    ],
)
def test_gradients_reach_what_the_mode_uses(
    sizes: Sizes, batch: tuple[Tensor, Tensor], mode: str, without: set[str]
) -> None:
    classifier = classifier_of(*sizes, 5)
    classifier(*batch, mode).square().sum().backward()
    parameters = dict(classifier.named_parameters())
    tops = {key.partition(".")[0] for key, p in parameters.items() if p.grad is not None}
    assert {key.partition(".")[0] for key in parameters} - tops == without
    suffix = {"multimodal": "norm1.", "audioonly": "norm1_a.", "videoonly": "norm1_v."}[mode]
    used = {key for key, p in parameters.items() if key.startswith("blocks_u.0.norm1") and p.grad is not None}
    assert used == {f"blocks_u.0.{suffix}weight", f"blocks_u.0.{suffix}bias"}
