"""CAV's loss has a weight, as the paper trains it with two of them (Table 3)."""

from __future__ import annotations

import pytest
import torch

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.cav import Cav, CavConfig
from avbench.methods.cavmae import CavMae, CavMaeConfig
from avbench.running.request import Request, resolve

INPUT = InputConfig(target_length=32, n_mels=16, image_size=32)
MODEL = ModelConfig(embed_dim=16, num_heads=2, modality_depth=1, patch_size=8, decoder_embed_dim=8, decoder_depth=1)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(6, 32, 16, generator=generator), torch.randn(6, 3, 32, 32, generator=generator)


def loss(weight: float) -> tuple[float, float, torch.Tensor]:
    """The loss, its part before the weight, and the gradient."""
    method = Cav(CavConfig(lambda_c=weight), MODEL, INPUT, seed=1)
    output = method(*batch(), method.draw_noise(6, torch.Generator().manual_seed(3)))
    output.loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])
    return output.loss.item(), output.parts["contrast"].item(), gradient


def test_the_weight_scales_loss_and_gradient() -> None:
    whole, part, gradient = loss(1.0)
    assert whole == part
    for weight in (0.1, 0.01):
        scaled, same, small = loss(weight)
        assert (scaled, same) == (pytest.approx(weight * whole), part)
        assert (small - weight * gradient).norm() <= 1e-6 * gradient.norm()


def test_it_is_cavmae_without_reconstruction() -> None:
    options = CavMaeConfig(lambda_r=0.0, lambda_c=0.1)
    both = CavMae(options, MODEL.__class__(**{**vars(MODEL), "decoder_num_heads": 2}), INPUT, seed=1)
    cav = Cav(CavConfig(lambda_c=0.1), MODEL, INPUT, seed=1)
    cav.load_state_dict({key: value for key, value in both.state_dict().items() if key in cav.state_dict()})
    found = [
        method(*batch(), method.draw_noise(6, torch.Generator().manual_seed(3))).loss.item() for method in (both, cav)
    ]
    assert found[0] == found[1]


def test_small_presets_train_it_unscaled_and_the_papers_with_its_weight() -> None:
    def weight(*presets: str) -> float:
        data = "soundshapes" if not presets or "soundshapes" in presets else "."
        config = resolve(Request(method="cav", data=data, presets=presets))
        found: float = config.to_dict()["method"]["lambda_c"]
        return found

    assert (weight(), weight("soundshapes"), weight("starter")) == (1.0, 1.0, 1.0)
    assert weight("pretrain-audioset-base") == weight("tiny") == 0.01
    assert weight("soundshapes", "pretrain-audioset-base") == 0.01
    with pytest.raises(InputError, match="lambda_c"):
        CavConfig(lambda_c=0.0)
