"""Methods small enough to run in milliseconds, with two joint blocks and unequal depths."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from avbench import registry
from avbench.config import InputConfig, ModelConfig
from avbench.methods.base import Method
from avbench.methods.cavmae import CavMae


@pytest.fixture
def sizes() -> tuple[ModelConfig, InputConfig]:
    model = ModelConfig(
        embed_dim=16,
        num_heads=2,
        modality_depth=2,
        joint_depth=2,
        patch_size=4,
        decoder_embed_dim=8,
        decoder_depth=1,
        decoder_num_heads=2,
    )
    return model, InputConfig(n_mels=16, target_length=32, image_size=16)


@pytest.fixture
def make(sizes: tuple[ModelConfig, InputConfig]) -> Callable[..., Any]:
    """Returns a small method by name, with random LayerNorms, so that no two streams are alike by chance."""

    def build(name: str, seed: int = 0, **options: object) -> Method:
        module = registry.find("method", name).load()
        method: Method = module.METHOD(module.CONFIG(**options), *sizes, seed=seed)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for key, tensor in method.state_dict().items():
                if "norm" in key:
                    tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.3)
        return method

    return build


@pytest.fixture
def small(make: Callable[..., Any]) -> Callable[..., CavMae]:
    """Returns a small CAV-MAE with some options."""
    return partial(make, "cavmae")


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(3, 32, 16, generator=generator), torch.randn(3, 3, 16, 16, generator=generator)
