"""CAV-MAE Sync against recordings of the authors' code, and its published file (parity/README.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.methods.cavmae_sync import CavMaeSync, CavMaeSyncConfig
from avbench.methods.masking import Draws, MaskNoise
from avbench.methods.streams import single_stream
from avbench.training.checkpoints import build_from_checkpoint, read_checkpoint
from avbench.training.export import export_published
from avbench.training.inspect import describe

Recording = Mapping[str, np.ndarray]
Close = Callable[..., None]
LENGTH = 416
VARIANTS: dict[str, dict[str, object]] = {
    "released": {},
    "heads": {"registers": 4, "head_depth": 2},
    "nocls": {"registers": 4, "global_token": False},
    "global_local": {"global_local": True},
    "noreg": {"registers": 0},
}


@pytest.fixture(scope="module")
def sync(parity_dir: Path) -> Recording:
    if not (parity_dir / "cavmae_sync.npz").is_file():
        pytest.skip(f"no cavmae_sync.npz in {parity_dir}")
    with np.load(parity_dir / "cavmae_sync.npz") as file:
        return {key: file[key] for key in file.files}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variant(
    sync: Recording,
    meta: dict[str, int],
    model_config: ModelConfig,
    fill: Callable[[nn.Module], None],
    inputs: Callable[[int, int, int], tuple[Tensor, Tensor]],
    close: Close,
    variant: str,
) -> None:
    group = {key.partition("/")[2]: value for key, value in sync.items() if key.startswith(f"{variant}/")}
    options = {"norm_pix_loss": False, **VARIANTS[variant]}
    method = CavMaeSync(CavMaeSyncConfig(**options), model_config, InputConfig(segment_length=LENGTH))  # type: ignore[arg-type]
    fill(method)
    audio, visual = inputs(meta["input_seed"], len(group["noise_a"]), LENGTH)
    noise = MaskNoise(Draws(torch.from_numpy(group["noise_a"])), Draws(torch.from_numpy(group["noise_v"])))
    with torch.no_grad():
        output = method(audio, visual, noise)
        audio_tokens, visual_tokens = (
            single_stream(method.encoder, "audio", audio),
            single_stream(method.encoder, "visual", visual),
        )
        embedded = method.embed(audio, visual)
    assert np.array_equal(output.mask_audio.numpy(), group["mask_a"])
    assert np.array_equal(output.mask_visual.numpy(), group["mask_v"])
    parts = output.parts
    audio_patches, visual_patches = method.encoder.patches(audio_tokens), method.encoder.patches(visual_tokens)
    found: dict[str, Tensor] = {
        "loss": output.loss,
        "loss_mae": parts["reconstruction_audio"] + parts["reconstruction_visual"],
        "loss_mae_a": parts["reconstruction_audio"],
        "loss_mae_v": parts["reconstruction_visual"],
        "loss_c_weighted": 0.01 * parts["contrast"],
        "c_acc": parts["contrast_accuracy"],
        "feat_audio_mean": audio_patches.mean(1),
        "feat_visual_mean": visual_patches.mean(1),
        "feat_visual_tokens": visual_patches[:, ::28],
    }
    if variant != "nocls":
        found |= {"feat_audio_global": audio_tokens[:, 0], "feat_visual_global": visual_tokens[:, 0]}
    assert set(group) == set(found) | {"noise_a", "noise_v", "mask_a", "mask_v"}
    for name, value in found.items():
        close(value, group[name], name)
    pooled = "mean" if variant == "nocls" else "global"
    for name, vector in zip(("audio", "visual"), embedded, strict=True):
        wanted = group[f"feat_{name}_{pooled}"]
        close(vector, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), f"{name} embedding")


def full_size(**options: object) -> CavMaeSync:
    with torch.device("meta"):
        return CavMaeSync(CavMaeSyncConfig(**options), ModelConfig(), InputConfig(segment_length=LENGTH))  # type: ignore[arg-type]


def test_keys_and_shapes_of_the_published_file(parity_dir: Path) -> None:
    file = parity_dir / "state_dict_shapes.json"
    if not file.is_file():
        pytest.skip(f"no {file.name} in {parity_dir}")
    published = json.loads(file.read_text())["cavmae_sync_pretrain_released"]
    found = [(f"module.{key}", list(tensor.shape)) for key, tensor in full_size().state_dict().items()]
    assert found == list(published.items())  # the order, too


@pytest.mark.parametrize(
    ("options", "tensors", "values"),
    [({}, 650, 190_660_864), ({"registers": 4}, 650, 190_654_720), ({"head_depth": 2}, 730, 219_036_928)],
)
def test_counts_of_tensors_and_values(options: dict[str, object], tensors: int, values: int) -> None:
    method = full_size(**options)
    assert len(method.state_dict()) == tensors
    assert sum(p.numel() for p in method.parameters()) == values


def test_what_is_trained() -> None:
    assert sum(p.numel() for p in full_size().parameters() if p.requires_grad) == 190_143_744


@pytest.mark.parametrize("prefixed", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_published_file_builds_its_method(tmp_path: Path, variant: str, prefixed: bool) -> None:
    model = ModelConfig(
        embed_dim=64, num_heads=1, modality_depth=1, decoder_embed_dim=32, decoder_depth=1, decoder_num_heads=1
    )
    config = CavMaeSyncConfig(**VARIANTS[variant])  # type: ignore[arg-type]
    method = CavMaeSync(config, model, InputConfig(segment_length=48, image_size=32), seed=3)
    path = tmp_path / "audio_model.25.pth"
    export_published(path, method) if prefixed else torch.save(method.state_dict(), path)
    assert read_checkpoint(path).prefixed == prefixed
    description = describe(read_checkpoint(path).state)
    assert description.method == "cavmae_sync"
    assert description.registers == config.registers
    assert description.global_tokens == config.global_token
    assert description.contrastive_heads == (config.head_depth > 0)
    built = build_from_checkpoint(path)
    assert isinstance(built, CavMaeSync)
    assert (built.config.registers, built.config.global_token) == (config.registers, config.global_token)
    assert built.config.head_depth == config.head_depth
    assert built.model_config == model
    assert all(
        torch.equal(x, y) for x, y in zip(built.state_dict().values(), method.state_dict().values(), strict=True)
    )
