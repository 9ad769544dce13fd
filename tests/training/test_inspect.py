from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from avbench.training.inspect import describe


@pytest.fixture
def published(shared: Path) -> dict[str, dict[str, Tensor]]:
    shapes = json.loads((shared / "parity" / "state_dict_shapes.json").read_text())
    return {
        name: {key.removeprefix("module."): torch.empty(shape, device="meta") for key, shape in state.items()}
        for name, state in shapes.items()
    }


def test_published_pretraining_weights(published: dict[str, dict[str, Tensor]]) -> None:
    description = describe(published["cavmae_pretrain"])
    assert (description.kind, description.method) == ("pretraining", "cavmae")
    assert description.model == {
        "embed_dim": 768,
        "patch_size": 16,
        "modality_depth": 11,
        "joint_depth": 1,
        "mlp_ratio": 4.0,
        "num_heads": 12,
        "decoder_embed_dim": 512,
        "decoder_depth": 8,
        "decoder_num_heads": 16,
    }
    assert description.input == {"n_mels": 128, "target_length": 1024, "image_size": 224}
    assert (description.n_tensors, description.n_values) == (647, 191_036_160)
    assert description.dtypes == {"float32": 647}
    assert description.not_stated == ()
    assert description.position_tables["pos_embed_a"] == (1, 512, 768)


def test_published_fine_tuned_weights(published: dict[str, dict[str, Tensor]]) -> None:
    description = describe(published["cavmae_finetune_527"])
    assert (description.kind, description.n_classes, description.method) == ("fine-tuned", 527, "")
    assert description.model["num_heads"] == 12


def test_published_sync_weights(published: dict[str, dict[str, Tensor]]) -> None:
    description = describe(published["cavmae_sync_pretrain_released"])
    assert (description.kind, description.method) == ("pretraining", "cavmae_sync")
    assert (description.registers, description.global_tokens, description.contrastive_heads) == (8, True, False)
    assert description.input == {"n_mels": 128, "segment_length": 416, "image_size": 224}


def vit(**more: tuple[int, ...]) -> dict[str, Tensor]:
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, 768),
        "pos_embed": (1, 197, 768),
        "patch_embed.proj.weight": (768, 3, 16, 16),
        "blocks.0.attn.qkv.weight": (2304, 768),
        "blocks.11.attn.qkv.weight": (2304, 768),
        **more,
    }
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def test_image_transformers() -> None:
    assert describe(vit()).summary == "an image transformer: width 768, 12 blocks, 3 colours, patch 16, without decoder"
    assert "with decoder" in describe(vit(**{"decoder_embed.weight": (512, 768)})).summary
    assert describe(vit(**{"head.weight": (1000, 768)})).n_classes == 1000


def test_what_is_not_known_is_said_so() -> None:
    assert describe({"weight": torch.zeros(2)}).kind == "unknown"
    assert describe(vit(**{"patch_embed.proj.weight": (768, 3)})).kind == "unknown"
