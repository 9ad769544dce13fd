"""The FLOPs by formula are those that torch counts while a step runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from avbench import registry
from avbench.bench.flops import PATCHES, blueprint, step_flops
from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.base import Method
from avbench.rng import torch_stream

SEVEN = ("audiomae", "avmae", "cav", "cavmae", "cavmae_sync", "vanilla_avmae", "visualmae")
TINY = ModelConfig(
    embed_dim=16,
    num_heads=2,
    modality_depth=2,
    joint_depth=1,
    patch_size=4,
    decoder_embed_dim=8,
    decoder_depth=1,
    decoder_num_heads=2,
)
TINY_INPUT = InputConfig(n_mels=16, target_length=32, image_size=24)
MID = ModelConfig(
    embed_dim=192, num_heads=3, modality_depth=3, decoder_embed_dim=96, decoder_depth=2, decoder_num_heads=4
)
MID_INPUT = InputConfig(target_length=256, image_size=96)
BATCH = 3


def options(name: str, values: dict[str, Any]) -> Any:
    return registry.find("method", name).load().CONFIG(**values)


def counted(method: Method) -> tuple[float, float]:
    """What torch counts for a clip, in the forward pass and in both; attention as products, which nothing hides."""
    inputs = method.input_config
    rows = inputs.segment_length or inputs.target_length
    device = next(method.parameters()).device
    audio = torch.zeros(BATCH, rows, inputs.n_mels, device=device)
    visual = torch.zeros(BATCH, 3, inputs.image_size, inputs.image_size, device=device)
    noise = method.draw_noise(BATCH, torch_stream(0, "mask")).to(device)
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        loss = method(audio, visual, noise).loss
        forward = counter.get_total_flops()
        loss.backward()
    return forward / BATCH, counter.get_total_flops() / BATCH


def check(method: Method) -> None:
    flops = step_flops(method, BATCH)
    forward, step = counted(method)
    assert flops.forward == pytest.approx(forward, rel=1e-9)
    assert flops.step == pytest.approx(step, rel=1e-9)


@pytest.mark.parametrize("name", SEVEN)
@pytest.mark.parametrize(("model", "inputs"), [(TINY, TINY_INPUT), (MID, MID_INPUT)], ids=["tiny", "mid"])
def test_formula_equals_the_count_of_a_step_that_runs(name: str, model: ModelConfig, inputs: InputConfig) -> None:
    module = registry.find("method", name).load()
    check(module.METHOD(module.CONFIG(), model, inputs))


@pytest.mark.parametrize("name", ["cavmae_sync", "vanilla_avmae"])
def test_formula_equals_the_count_at_base_size(name: str) -> None:
    check(blueprint(name, options(name, {}), ModelConfig(), InputConfig(segment_length=416 * (name == "cavmae_sync"))))


@pytest.mark.parametrize(
    ("name", "values", "sizes"),
    [
        ("cavmae", {}, {"joint_depth": 3, "modality_depth": 0}),
        ("cavmae", {"masking_ratio_audio": 0.9, "masking_ratio_visual": 0.5}, {"mlp_ratio": 2.5}),
        ("cavmae", {"masking_strategy": "time_frequency"}, {}),
        ("cavmae", {"masking_strategy": "time_frequency", "masking_form": "reference"}, {}),
        ("cavmae", {"lambda_c": 0.0}, {"joint_depth": 2}),
        ("cavmae", {"lambda_r": 0.0}, {"joint_depth": 2}),
        ("cavmae", {"contrast": "two_way", "norm_pix_loss": False, "modality_norms": False}, {}),
        ("cav", {"masking_ratio": 0.0}, {"num_heads": 4}),
        ("avmae", {"masking_ratio": 0.25}, {"joint_depth": 2, "decoder_depth": 3}),
        ("vanilla_avmae", {"masking_ratio": 0.4}, {"joint_depth": 4}),
        ("audiomae", {"masking_strategy": "time"}, {"decoder_num_heads": 1}),
        ("visualmae", {"masking_ratio": 0.6}, {"patch_size": 8}),
        ("cavmae_sync", {"registers": 0}, {}),
        ("cavmae_sync", {"registers": 3, "global_token": False}, {"joint_depth": 2}),
        ("cavmae_sync", {"keep_registers": True, "global_local": True}, {"joint_depth": 2}),
        ("cavmae_sync", {"head_depth": 2, "keep_registers": True}, {"joint_depth": 2, "modality_depth": 1}),
        ("cavmae_sync", {"head_depth": 2, "lambda_c": 0.0}, {}),
        ("cavmae_sync", {"lambda_r": 0.0, "masking_ratio": 0.0}, {}),
    ],
)
def test_formula_equals_the_count_in_ablations(name: str, values: dict[str, Any], sizes: dict[str, Any]) -> None:
    model = ModelConfig(**{**{key: getattr(TINY, key) for key in TINY.__dataclass_fields__}, **sizes})
    module = registry.find("method", name).load()
    check(module.METHOD(module.CONFIG(**values), model, TINY_INPUT))


@pytest.mark.parametrize("drawn", [(0.75, 0.75), (0.65, 0.85)])
def test_a_drawn_ratio_counts_as_the_middle_of_its_range(drawn: tuple[float, float]) -> None:
    fixed, ranged = (
        step_flops(blueprint("cavmae_sync", options("cavmae_sync", values), TINY, TINY_INPUT), BATCH)
        for values in ({"masking_ratio": 0.75}, {"masking_ratio_range": drawn})
    )
    assert ranged == fixed


def test_more_of_the_same_costs_more() -> None:
    def of(**values: Any) -> float:
        return step_flops(blueprint("cavmae", options("cavmae", values), MID, MID_INPUT), BATCH).step

    assert of(masking_ratio=0.5) > of(masking_ratio=0.75) > of(masking_ratio=0.75, lambda_c=0.0)


def test_backward_spares_the_gradient_of_pixels() -> None:
    flops = step_flops(blueprint("cav", options("cav", {}), TINY, TINY_INPUT), BATCH)
    assert flops.backward == 2 * flops.forward - flops.parts[PATCHES]
    assert flops.step == flops.forward + flops.backward


def test_another_packages_method_has_no_formula() -> None:
    class Other(torch.nn.Module):
        pass

    with pytest.raises(InputError, match="Other: found no formula"):
        step_flops(Other(), BATCH)  # type: ignore[arg-type]
