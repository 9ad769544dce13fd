"""Every method of the family on sound alone and on pictures alone: what it gives is what it gives beside the other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avbench import registry
from avbench.config import InputConfig, ModelConfig
from avbench.methods.classifier import build_classifier
from avbench.tasks.inpaint.inpainter import draws, mask_plans

MODEL = ModelConfig(
    embed_dim=16, num_heads=2, modality_depth=1, decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2
)
INPUT = InputConfig(target_length=64, n_mels=32, image_size=32)
PAIRS = [
    (name, modality)
    for name, entry in registry.entries("method").items()
    for modality in entry.card["modalities"]
    if entry.origin == registry.OWN
]


def given(alone: str | None = None) -> dict[str, Tensor | None]:
    """Returns three sounds and frames, or those of one modality."""
    draw = torch.Generator().manual_seed(0)
    both = {
        "audio": torch.randn(3, INPUT.target_length, INPUT.n_mels, generator=draw),
        "visual": torch.randn(3, 3, INPUT.image_size, INPUT.image_size, generator=draw),
    }
    return {name: batch if alone in (None, name) else None for name, batch in both.items()}


def method_of(name: str) -> torch.nn.Module:
    module = registry.find("method", name).load()
    made: torch.nn.Module = module.METHOD(module.CONFIG(), MODEL, INPUT, seed=0).eval()
    return made


@pytest.mark.parametrize(("name", "modality"), PAIRS)
@torch.inference_mode()
def test_vectors_of_one_are_those_beside_the_other(name: str, modality: str) -> None:
    method = method_of(name)
    alone, beside = method.vectors(**given(modality)), method.vectors(**given())  # type: ignore[operator]
    assert list(alone) == [modality]
    torch.testing.assert_close(alone[modality], beside[modality])
    framed = {
        key: None if batch is None else batch[:, None].expand(-1, 2, *batch.shape[1:])
        for key, batch in given(modality).items()
    }
    several = method.vectors(**framed)[modality]  # type: ignore[operator]
    torch.testing.assert_close(several, alone[modality][:, None].expand(-1, 2, -1))


@pytest.mark.parametrize(("name", "modality"), PAIRS)
def test_a_classifier_of_one_needs_nothing_of_the_other(name: str, modality: str) -> None:
    mode = {"audio": "audioonly", "visual": "videoonly"}[modality]
    model = build_classifier(method_of(name), 4, mode=mode, head="linear", streams="MM", seed=0)  # type: ignore[arg-type]
    logits = model(**given(modality), mode=mode)
    assert logits.shape == (3, 4)
    logits.sum().backward()


@pytest.mark.parametrize(
    ("name", "modality"),
    [pair for pair in PAIRS if "reconstruction" in registry.find("method", pair[0]).card["abilities"]],
)
@torch.inference_mode()
def test_the_decoder_predicts_one_from_the_tokens_of_that_one(name: str, modality: str) -> None:
    method, inputs = method_of(name), given(modality)
    grid = {modality: method.grids[modality]}  # type: ignore[index]
    plan = mask_plans(grid, "uniform", 0.5, "exact")[modality]
    mask = plan.mask(draws(["a", "b", "c"], grid, 0)[modality])
    (found,) = method.predict(inputs["audio"], inputs["visual"], mask)  # type: ignore[operator]
    assert found.shape[:2] == (3, grid[modality].size)
    changed = dict(inputs)
    changed[modality] = -inputs[modality]  # type: ignore[operator]
    (other,) = method.predict(changed["audio"], changed["visual"], mask)  # type: ignore[operator]
    assert not torch.allclose(found, other)
    assert list(method.images(**inputs)) == [modality]  # type: ignore[operator]
