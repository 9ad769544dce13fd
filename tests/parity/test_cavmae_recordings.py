"""CAV-MAE against recordings of the authors' code (parity/README.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from classifiers import classifier_of
from latents import latents
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.methods.cavmae import CavMae, CavMaeConfig
from avbench.methods.classifier import MODES
from avbench.methods.masking import Draws, MaskNoise, MaskPlan
from avbench.methods.positions import Grid, sincos_table
from avbench.methods.streams import single_stream

Recording = Mapping[str, np.ndarray]
Close = Callable[..., None]
Build = Callable[..., CavMae]
Inputs = Callable[[int, int, int], tuple[Tensor, Tensor]]
LENGTH = 1024


@pytest.fixture
def build(model_config: ModelConfig, input_config: InputConfig, fill: Callable[[nn.Module], None]) -> Build:
    """Returns CAV-MAE with some options, filled with the recordings' weights."""

    def make(**options: object) -> CavMae:
        method = CavMae(CavMaeConfig(**options), model_config, input_config)  # type: ignore[arg-type]
        fill(method)
        return method

    return make


def noise(audio: np.ndarray, visual: np.ndarray) -> MaskNoise:
    return MaskNoise(audio=Draws(torch.from_numpy(audio)), visual=Draws(torch.from_numpy(visual)))


@pytest.mark.parametrize("norm", [0, 1])
@pytest.mark.parametrize("ratio", [0.75, 0.5])
def test_pretraining(
    cavmae: Recording,
    meta: dict[str, int],
    build: Build,
    inputs: Inputs,
    close: Close,
    norm: int,
    ratio: float,
) -> None:
    group = {k.partition("/")[2]: v for k, v in cavmae.items() if k.startswith(f"pretrain_normpix{norm}_ratio{ratio}/")}
    method = build(norm_pix_loss=bool(norm), masking_ratio=ratio)
    audio, visual = inputs(meta["input_seed"], len(group["noise_a"]), LENGTH)
    draws = noise(group["noise_a"], group["noise_v"])
    with torch.no_grad():
        output = method(audio, visual, draws)
        streams = latents(method, audio, visual, draws)
    assert np.array_equal(output.mask_audio.numpy(), group["mask_a"])
    assert np.array_equal(output.mask_visual.numpy(), group["mask_v"])
    parts = output.parts
    mae = parts["reconstruction_audio"] + parts["reconstruction_visual"]
    found: dict[str, Tensor] = {
        "loss": output.loss,
        "loss_mae": mae,
        "loss_mae_a": parts["reconstruction_audio"],
        "loss_mae_v": parts["reconstruction_visual"],
        "loss_c_weighted": 0.01 * parts["contrast"],
        "c_acc": parts["contrast_accuracy"],
        "pred_a_head": output.prediction_audio[:, :16, :8],
        "pred_v_head": output.prediction_visual[:, :16, :8],
        "joint_mean": streams.joint.mean(1),
        "audio_mean": streams.audio.mean(1),
        "visual_mean": streams.visual.mean(1),
    }
    assert set(group) == set(found) | {"noise_a", "noise_v", "mask_a", "mask_v"}
    for name, value in found.items():
        close(value, group[name], name)


@pytest.mark.parametrize(("group", "decay"), [("train5", 5e-7), ("train5_decay", 5e-2)])
def test_five_training_steps(
    cavmae: Recording,
    meta: dict[str, int],
    build: Build,
    inputs: Inputs,
    close: Close,
    group: str,
    decay: float,
) -> None:
    method = build(lambda_c=0.1)
    trained = [p for p in method.parameters() if p.requires_grad]
    adam = torch.optim.Adam(trained, lr=1e-3, betas=(0.95, 0.999), weight_decay=decay)
    wanted = cavmae[f"{group}/losses"]
    for step, row in enumerate(wanted):
        noise_a, noise_v = cavmae[f"{group}/noise_a"][step], cavmae[f"{group}/noise_v"][step]
        audio, visual = inputs(meta["train_seed"] + step, len(noise_a), LENGTH)
        output = method(audio, visual, noise(noise_a, noise_v))
        adam.zero_grad()
        output.loss.backward()
        adam.step()
        parts = output.parts
        found = [output.loss, parts["reconstruction_audio"], parts["reconstruction_visual"], 0.1 * parts["contrast"]]
        close(torch.stack(found), row, f"{group} step {step}")


@pytest.mark.parametrize(
    ("group", "weights"),
    [("contrastive_only", {"lambda_r": 0.0, "lambda_c": 1.0}), ("mae_only", {"lambda_r": 1.0, "lambda_c": 0.0})],
)
def test_one_loss_alone(
    cavmae: Recording,
    meta: dict[str, int],
    build: Build,
    inputs: Inputs,
    close: Close,
    group: str,
    weights: dict[str, float],
) -> None:
    method = build(norm_pix_loss=False, **weights)
    draws = noise(cavmae[f"{group}/noise_a"], cavmae[f"{group}/noise_v"])
    output = method(*inputs(meta["input_seed"], len(cavmae[f"{group}/noise_a"]), LENGTH), draws)
    close(output.loss, cavmae[f"{group}/loss"], "loss")
    zero = torch.zeros(())
    close(weights["lambda_c"] * output.parts.get("contrast", zero), cavmae[f"{group}/loss_c"], "loss_c")
    close(output.parts.get("contrast_accuracy", zero), cavmae[f"{group}/c_acc"], "c_acc")


def test_features(cavmae: Recording, meta: dict[str, int], build: Build, inputs: Inputs, close: Close) -> None:
    method = build()
    audio, visual = inputs(meta["input_seed"], len(cavmae["features/audio_mean"]), LENGTH)
    with torch.no_grad():
        audio_tokens, visual_tokens = (
            single_stream(method.encoder, "audio", audio),
            single_stream(method.encoder, "visual", visual),
        )
        embedded = method.embed(audio, visual)
    close(audio_tokens[:, ::64], cavmae["features/audio_tokens"], "audio tokens")
    close(visual_tokens[:, ::28], cavmae["features/visual_tokens"], "visual tokens")
    for name, tokens, vector in zip(("audio", "visual"), (audio_tokens, visual_tokens), embedded, strict=True):
        mean = cavmae[f"features/{name}_mean"]
        close(tokens.mean(1), mean, f"{name} mean")
        close(vector, mean / np.linalg.norm(mean, axis=1, keepdims=True), f"{name} embedding")


@pytest.mark.parametrize("form", ["exact", "reference"])
@pytest.mark.parametrize(
    ("group", "strategy"), [("mask_time", "time"), ("mask_freq", "frequency"), ("mask_tf", "time_frequency")]
)
def test_structured_masks(cavmae: Recording, group: str, strategy: str, form: str) -> None:
    recorded = cavmae[f"{group}/mask"]
    plan = MaskPlan(Grid(8, 64), 0.75, strategy, form)  # type: ignore[arg-type]
    mask = plan.mask(plan.draw(len(recorded), torch.Generator().manual_seed(0))).removed.numpy()
    assert (recorded.sum(1) == 384).all()
    assert (mask.sum(1) == 384).all()
    cells = mask.reshape(-1, 8, 64)
    rows, columns = cells.sum(2), cells.sum(1)
    if strategy != "time_frequency":  # time and frequency masks hold whole lines only, as many as recorded
        assert np.array_equal(np.sort(columns, 1), np.sort(cavmae[f"{group}/cols_masked"], 1))
        assert np.array_equal(np.sort(rows, 1), np.sort(cavmae[f"{group}/rows_masked"], 1))


@pytest.mark.parametrize("mode", MODES)
def test_finetuning_model(
    cavmae: Recording,
    meta: dict[str, int],
    model_config: ModelConfig,
    input_config: InputConfig,
    fill: Callable[[nn.Module], None],
    inputs: Inputs,
    close: Close,
    mode: str,
) -> None:
    wanted = cavmae[f"finetune/{mode}"]
    classifier = classifier_of(model_config, input_config, wanted.shape[1])
    fill(classifier)
    with torch.no_grad():
        close(classifier(*inputs(meta["input_seed"], len(wanted), LENGTH), mode), wanted)


def test_position_tables(cavmae: Recording, close: Close) -> None:
    for name, grid in (("audio", Grid(8, 64)), ("visual", Grid(14, 14))):
        table = cavmae[f"posembed/{name}"]
        close(sincos_table(table.shape[1], grid)[0], table, name)
