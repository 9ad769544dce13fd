"""CAV-MAE at full size against numbers of the authors' classes; weights from their formula.

Source: docs/protocol/cavmae.md 9.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from classifiers import classifier_of
from latents import latents
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.methods.cavmae import CavMae, CavMaeConfig
from avbench.methods.objectives import contrast

TOLERANCE = 1e-4  # absolute; docs/protocol/cavmae.md 9 gives six decimals


def u(name: str, n: int) -> np.ndarray:
    """Returns n deterministic values in [-0.5, 0.5) that depend on a name."""
    x = 43758.5453 * np.sin(12.9898 * np.arange(n) + sum(map(ord, name)))
    return np.asarray(x - np.floor(x) - 0.5)


def fill(model: nn.Module) -> None:
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if "pos_embed" in key:
                continue
            z = u(key, tensor.numel())
            norm = "norm" in key or key.startswith("mlp_head.0")
            weight = key.endswith(".weight")
            z = 1 + 0.2 * z if norm and weight else (0.08 if weight else 0.04) * z
            tensor.copy_(torch.from_numpy(z.astype(np.float32)).reshape(tensor.shape))


@pytest.fixture(scope="module")
def batch() -> tuple[Tensor, Tensor]:
    audio = (4 * u("audio", 4 * 1024 * 128)).astype(np.float32).reshape(4, 1024, 128)
    image = (4 * u("image", 4 * 3 * 224 * 224)).astype(np.float32).reshape(4, 3, 224, 224)
    assert audio.astype(np.float64).sum() == pytest.approx(-1464.78146, abs=1e-4)
    return torch.from_numpy(audio), torch.from_numpy(image)


@pytest.fixture(scope="module")
def base() -> CavMae:
    method = CavMae(CavMaeConfig(), ModelConfig(), InputConfig())
    fill(method)
    mask_token = method.get_parameter("mask_token").flatten()
    assert mask_token[:3].tolist() == pytest.approx([0.0084551, 0.0177764, 0.0159462], abs=1e-7)
    return method


def set_options(method: CavMae, **options: object) -> CavMae:
    """Changes losses and masks without building a model of 191 million weights again."""
    method.config = CavMaeConfig(**options)  # type: ignore[arg-type]
    method.plan = method.config.plan(method.encoder.grids)
    return method


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize(
    ("options", "total", "audio", "visual"),
    [
        ({}, 2.554278, 1.261137, 1.279182),
        ({"masking_ratio": 0.5}, 2.551544, 1.258560, 1.279088),
        ({"norm_pix_loss": False}, 3.221718, 1.596231, 1.611528),
        ({"norm_pix_loss": False, "lambda_c": 0.0}, 3.207759, 1.596231, 1.611528),
        ({"lambda_r": 0.0, "lambda_c": 0.1}, 0.139593, None, None),
    ],
)
def test_losses(
    base: CavMae,
    batch: tuple[Tensor, Tensor],
    options: dict[str, object],
    total: float,
    audio: float | None,
    visual: float | None,
) -> None:
    method = set_options(base, **options)
    output = method(*batch, method.draw_noise(4, torch.Generator().manual_seed(0)))
    assert output.loss.item() == pytest.approx(total, abs=TOLERANCE)
    if audio is not None:
        assert output.parts["reconstruction_audio"].item() == pytest.approx(audio, abs=TOLERANCE)
        assert output.parts["reconstruction_visual"].item() == pytest.approx(visual, abs=TOLERANCE)
    if method.config.lambda_c:
        assert output.parts["contrast_accuracy"].item() == 0.25


@pytest.mark.slow
@torch.no_grad()
def test_latents_and_predictions(base: CavMae, batch: tuple[Tensor, Tensor]) -> None:
    method = set_options(base)
    found = latents(method, *batch, method.draw_noise(4, torch.Generator().manual_seed(0)))
    assert found.masks.audio.kept[0, :6].tolist() == [83, 256, 94, 361, 460, 475]
    assert found.masks.visual.kept[0].sort()[0][:6].tolist() == [0, 2, 10, 18, 20, 24]
    assert found.joint.shape == (4, 177, 768)
    assert found.joint.abs().mean().item() == pytest.approx(0.7992645, abs=TOLERANCE)
    near = pytest.approx
    assert found.joint[0, 0, :4].tolist() == near([0.636738, -0.548428, -0.866344, -0.327559], abs=TOLERANCE)
    assert found.audio[0, 0, :3].tolist() == near([0.746340, -0.475047, -1.053281], abs=TOLERANCE)
    assert found.visual[0, 0, :3].tolist() == near([-0.790129, -2.104147, 0.736841], abs=TOLERANCE)
    pred_a, pred_v = method.decoder(found.joint, found.masks.audio, found.masks.visual)
    assert pred_a[0, 0, :3].tolist() == near([-0.596283, -1.369863, 1.438348], abs=TOLERANCE)
    assert pred_v[0, 0, :3].tolist() == near([-0.307338, -0.341356, 0.553347], abs=TOLERANCE)
    means = found.audio.mean(1), found.visual.mean(1)
    for direction, wanted in (("one_way", 1.395928), ("two_way", 1.410613)):
        loss, _ = contrast(*means, temperature=0.05, direction=direction)  # type: ignore[arg-type]
        assert loss.item() == near(wanted, abs=TOLERANCE)


@pytest.mark.slow
@torch.no_grad()
def test_features(base: CavMae, batch: tuple[Tensor, Tensor]) -> None:
    audio, visual = base.embed(*batch)
    wanted = [
        [0.025537, 0.025213, 0.028021, 0.021467],
        [0.021789, 0.021284, 0.024144, 0.018028],
        [0.022155, 0.021901, 0.024749, 0.018354],
        [0.024960, 0.024442, 0.026902, 0.020644],
    ]
    assert np.allclose((audio @ visual.T).numpy(), wanted, atol=1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_finetuning_logits(batch: tuple[Tensor, Tensor]) -> None:
    classifier = classifier_of(ModelConfig(), InputConfig(), 527)
    fill(classifier)
    wanted = {
        "multimodal": ([-0.029162, -0.203184, -0.005760, -0.481333], -0.003704, 0.647369),
        "audioonly": ([0.131141, -0.520125, 0.251236, -0.614768], -0.005149, 0.648177),
        "videoonly": ([-0.162660, 0.870973, -0.727057, 0.372077], 0.005504, 0.631895),
        "missingaudioonly": ([0.080592, -0.542968, 0.248358, -0.619648], -0.004901, 0.649194),
        "missingvideoonly": ([-0.151214, 0.946654, -0.738251, 0.372230], 0.004385, 0.629064),
    }
    for mode, (first, mean, std) in wanted.items():
        logits = classifier(*batch, mode)
        assert logits[0, :4].tolist() == pytest.approx(first, abs=TOLERANCE), mode
        assert logits.mean().item() == pytest.approx(mean, abs=TOLERANCE), mode
        assert logits.std().item() == pytest.approx(std, abs=TOLERANCE), mode


def test_counts_of_tensors_and_values() -> None:
    with torch.device("meta"):
        method = CavMae(CavMaeConfig(), ModelConfig(), InputConfig())
        classifier = classifier_of(ModelConfig(), InputConfig(), 527)
    assert len(method.state_dict()) == 647
    assert sum(p.numel() for p in method.parameters()) == 191_036_160
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == 190_129_920
    assert len(classifier.state_dict()) == 478
    assert sum(p.numel() for p in classifier.parameters()) == 164_907_023
    assert all(p.requires_grad for p in classifier.parameters())
    assert len(method.state_dict().keys() - classifier.state_dict().keys()) == 173


def test_keys_and_shapes_of_the_published_files(parity_dir: Path) -> None:
    file = parity_dir / "state_dict_shapes.json"
    if not file.is_file():
        pytest.skip(f"no {file.name} in {parity_dir}")
    published = json.loads(file.read_text())
    with torch.device("meta"):
        models = {
            "cavmae_pretrain": CavMae(CavMaeConfig(), ModelConfig(), InputConfig()),
            "cavmae_finetune_527": classifier_of(ModelConfig(), InputConfig(), 527),
        }
    for name, model in models.items():
        found = [(f"module.{key}", list(tensor.shape)) for key, tensor in model.state_dict().items()]
        assert found == list(published[name].items())  # the order, too


def test_position_tables() -> None:
    method = CavMae(CavMaeConfig(), ModelConfig(modality_depth=0, decoder_depth=1), InputConfig())
    sums = {
        "pos_embed_a": (171206.7415, 196608),
        "pos_embed_v": (69594.4938, 75264),
        "decoder_pos_embed_a": (113997.0248, 131072),
        "decoder_pos_embed_v": (46340.3331, 50176),
    }
    for key, (total, squares) in sums.items():
        table = method.get_parameter(key).double()
        assert table.sum().item() == pytest.approx(total, abs=0.01)
        assert table.square().sum().item() == pytest.approx(squares, abs=0.01)
    dims = [0, 1, 191, 192, 193, 383, 384, 385, 575, 576, 577, 767]
    last = [0.1673557, -0.3512803, 0.0066095, 0.9858966, -0.9362704, 0.9999782, 0.6569866, 0.3792151, 0.0007344]
    assert method.get_parameter("pos_embed_a")[0, 511, dims].tolist() == pytest.approx(
        [*last, 0.7539023, 0.9253085, 0.9999997], abs=1e-6
    )
    assert method.get_parameter("pos_embed_a")[0, 64, dims].tolist() == pytest.approx(
        [0, 0, 0, 1, 1, 1, 0.841471, 0.8152506, 0.0001049, 0.5403023, 0.5791082, 1], abs=1e-6
    )


def test_contrast() -> None:
    audio = (4 * u("ca", 3072)).reshape(4, 768)
    visual = (4 * u("cv", 3072)).reshape(4, 768) + 0.05 * audio
    a, v = torch.from_numpy(audio).float(), torch.from_numpy(visual).float()
    for first, second, direction, loss, accuracy in (
        (a, v, "one_way", 0.860580, 0.5),
        (v, a, "one_way", 0.849038, 1.0),
        (a, v, "two_way", 0.854809, 0.75),
    ):
        found = contrast(first, second, temperature=0.05, direction=direction)  # type: ignore[arg-type]
        assert found[0].item() == pytest.approx(loss, abs=1e-5)
        assert found[1].item() == accuracy
