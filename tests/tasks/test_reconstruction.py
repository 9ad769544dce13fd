"""Reconstruction: errors are the objective's, whatever the batch; trivial errors; pictures paste what was removed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from avbench import registry
from avbench.config import InputConfig, ModelConfig, TrainConfig
from avbench.data.corpus.frames import eval_frame
from avbench.data.feed.dataset import AudioVisualDataset
from avbench.errors import InputError
from avbench.methods.masking import MaskNoise
from avbench.methods.objectives import patchify
from avbench.methods.positions import Grid
from avbench.rng import numpy_stream
from avbench.tasks import reconstruction
from avbench.tasks.inpaint.inpainter import Inpainter, clip_errors, draws, mask_plans, normalise, statistics
from avbench.tasks.inpaint.panels import inpaint
from avbench.tasks.reconstruction import TASK, ReconstructionTaskConfig, measure, summarise

SIZES = ModelConfig(
    embed_dim=16,
    num_heads=2,
    modality_depth=1,
    joint_depth=1,
    patch_size=4,
    decoder_embed_dim=8,
    decoder_depth=1,
    decoder_num_heads=2,
)
INPUT = InputConfig(n_mels=16, target_length=32, image_size=16, audio_mean=-4.0, audio_std=3.0)
RECONSTRUCT = ("audiomae", "avmae", "cavmae", "cavmae_sync", "vanilla_avmae", "visualmae")
FEW = ReconstructionTaskConfig(ratios=(0.5, 0.75), strategies=("uniform", "time"), resamples=20, pictures=0)


class Noise:
    """Clips of noise, functions of their ids."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = list(ids)

    def __len__(self) -> int:
        return len(self.ids)

    def n_frames(self, i: int) -> int:
        return 6

    def waveform(self, i: int) -> tuple[Any, int]:
        return numpy_stream(0, "sound", *self.ids[i].encode()).standard_normal(6000).astype(np.float32) * 0.1, 16000

    def frame(self, i: int, k: int) -> Any:
        return numpy_stream(0, "frame", k, *self.ids[i].encode()).integers(0, 256, (16, 16, 3), dtype=np.uint8)

    def select(self, indices: Sequence[int]) -> Noise:
        return Noise([self.ids[i] for i in indices])


class Fake:
    """A subject of an untrained small method."""

    progress = False
    device = "cpu"

    def __init__(self, name: str, folder: Path, ids: Sequence[str] | None = None, **options: object) -> None:
        module = registry.find("method", name).load()
        self.folder = folder
        self.evaluated = Noise(ids if ids is not None else [f"clip {i}" for i in range(7)])
        self.config = SimpleNamespace(
            method_name=name,
            method=module.CONFIG(**options),
            model=SIZES,
            input=dataclasses.replace(INPUT, segment_length=16) if name == "cavmae_sync" else INPUT,
            precision="fp32",
            train=TrainConfig(workers=0),
        )
        self._module = module

    def method(self) -> Any:
        config = self.config
        return self._module.METHOD(config.method, config.model, config.input, seed=3).eval()


@pytest.fixture
def fake(tmp_path: Path) -> Any:
    return lambda name="cavmae", **options: Fake(name, tmp_path, **options)


@pytest.mark.parametrize("name", RECONSTRUCT)
def test_every_method_with_a_decoder_gives_all_its_metrics(fake: Any, name: str) -> None:
    result = TASK.run(fake(name), FEW)
    modalities = registry.find("method", name).card["modalities"]
    expected = {f"{m}/uniform@{r}/mse" for m in modalities for r in (0.5, 0.75)}
    expected |= {f"audio/time@{r}/mse" for r in (0.5, 0.75) if "audio" in modalities}
    assert set(result.metrics) == set(result.chance) == set(result.ci95) == expected
    assert result.n == 7
    for key, value in result.metrics.items():
        errors = result.per_sample[key]
        assert errors.shape == (7,)
        assert value == errors.mean() > 0
        assert result.ci95[key][0] <= value <= result.ci95[key][1]
    assert summarise({key: result.per_sample[key] for key in expected}) == result.metrics
    assert TASK.recompute(result.per_sample, [f"clip {i}" for i in range(7)], FEW) == result.metrics
    some = TASK.recompute(result.per_sample, ["clip 4", "clip 1"], FEW)
    assert some == {key: pytest.approx(result.per_sample[key][[1, 4]].mean()) for key in expected}


@pytest.mark.parametrize("norm_pix_loss", [True, False])
@pytest.mark.parametrize("name", ["avmae", "cavmae", "cavmae_sync"])
def test_the_mean_error_is_the_loss_of_pretraining_on_the_same_masks(fake: Any, name: str, norm_pix_loss: bool) -> None:
    subject = fake(name, norm_pix_loss=norm_pix_loss, masking_ratio=0.6)
    model = Inpainter.of(subject)
    batch = AudioVisualDataset(subject.evaluated, subject.config.input, mode="eval").batch(range(7))
    noise = draws(subject.evaluated.ids, model.grids, 0)
    with torch.no_grad():
        parts = subject.method()(batch.audio, batch.visual, MaskNoise(noise["audio"], noise["visual"])).parts
    config = dataclasses.replace(FEW, ratios=(0.6,), strategies=("uniform",))
    result = TASK.run(subject, config)
    for modality in ("audio", "visual"):
        expected = float(parts[f"reconstruction_{modality}"])
        assert result.metrics[f"{modality}/uniform@0.6/mse"] == pytest.approx(expected, rel=1e-5)


def test_a_joint_encoder_sees_the_kept_tokens_of_both_modalities(fake: Any) -> None:
    subject = fake("vanilla_avmae")
    model = Inpainter.of(subject)
    batch = AudioVisualDataset(subject.evaluated, INPUT, mode="eval").batch(range(7))
    noise = draws(subject.evaluated.ids, model.grids, 0)
    masks = {name: plan.mask(noise[name]) for name, plan in mask_plans(model.grids, "time", 0.5, "exact").items()}
    before = model.predict(batch.audio, batch.visual, masks)
    hidden = masks["visual"].removed.reshape(7, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    unseen = model.predict(batch.audio, batch.visual + 5 * hidden, masks)
    seen = model.predict(batch.audio, batch.visual + 5 * (1 - hidden), masks)
    for modality in ("audio", "visual"):
        torch.testing.assert_close(unseen[modality], before[modality])
        assert not torch.allclose(seen[modality], before[modality])


def test_clips_are_masked_by_their_ids_whatever_their_order_and_company(fake: Any) -> None:
    ids = [f"clip {i}" for i in range(40)]  # more than a pass holds
    forward, _ = measure(Inpainter.of(fake()), fake(ids=ids), FEW)
    backward, _ = measure(Inpainter.of(fake()), fake(ids=ids[::-1]), FEW)
    alone, _ = measure(Inpainter.of(fake()), fake(ids=ids[5:6]), FEW)
    for key, errors in forward.items():
        np.testing.assert_allclose(errors, backward[key][::-1], rtol=1e-4)
        np.testing.assert_allclose(errors[5:6], alone[key], rtol=1e-4)


def test_masks_are_nested_and_shared_by_methods(fake: Any) -> None:
    model, alone = Inpainter.of(fake("cavmae")), Inpainter.of(fake("audiomae"))
    ids = ["a", "b", "c"]
    removed = [
        mask_plans(model.grids, "uniform", ratio, "reference")["audio"]
        .mask(draws(ids, model.grids, 0)["audio"])
        .removed
        for ratio in (0.5, 0.75)
    ]
    assert (removed[0] <= removed[1]).all()
    torch.testing.assert_close(draws(ids, model.grids, 0)["audio"].tokens, draws(ids, alone.grids, 0)["audio"].tokens)
    assert not torch.equal(draws(ids, model.grids, 0)["audio"].tokens, draws(ids, model.grids, 1)["audio"].tokens)


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_chance_is_the_error_of_each_positions_mean_patch(fake: Any, norm_pix_loss: bool) -> None:
    subject = fake("cavmae", norm_pix_loss=norm_pix_loss)
    model = Inpainter.of(subject)
    _, chance = measure(model, subject, FEW)
    batch = AudioVisualDataset(subject.evaluated, INPUT, mode="eval").batch(range(7))
    targets = model.targets(batch.audio, batch.visual)
    noise = draws(subject.evaluated.ids, model.grids, 0)
    plans = mask_plans(model.grids, "time", 0.75, FEW.form)
    removed = plans["audio"].mask(noise["audio"]).removed
    mean = targets["audio"].mean(dim=0, keepdim=True).expand_as(targets["audio"])
    expected = float(clip_errors(mean, targets["audio"], removed).mean())
    assert chance["audio/time@0.75/mse"] == pytest.approx(expected, rel=1e-5)


def test_a_perfect_prediction_has_no_error_and_normalised_patches_are_normal() -> None:
    patches = torch.randn(3, 8, 48, generator=torch.Generator().manual_seed(0)) * 4 + 2
    removed = (torch.arange(8) % 2).float().expand(3, 8)
    assert clip_errors(patches, patches, removed).tolist() == [0, 0, 0]
    wrong = torch.where(removed[..., None] > 0, patches, patches + 100)  # kept patches are not judged
    assert clip_errors(wrong, patches, removed).tolist() == [0, 0, 0]
    normal = normalise(patches, *statistics(patches))
    torch.testing.assert_close(normal.mean(dim=-1), torch.zeros(3, 8), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.var(dim=-1), torch.ones(3, 8), atol=1e-4, rtol=0)


class Nothing(torch.nn.Module):
    """A method outside the family: sound alone, of which it predicts zeros."""

    grids: ClassVar[dict[str, Grid]] = {"audio": Grid(4, 8)}

    def images(self, audio: torch.Tensor, visual: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"audio": audio.mT[:, None]}

    def predict(self, audio: torch.Tensor, visual: torch.Tensor, *masks: Any) -> tuple[torch.Tensor, ...]:
        return (torch.zeros(len(audio), 32, 16),)


def test_a_method_outside_the_family_is_judged(fake: Any) -> None:
    subject = fake("cavmae", norm_pix_loss=False)
    subject.method = Nothing
    result = TASK.run(subject, dataclasses.replace(FEW, strategies=("uniform",), ratios=(0.5,)))
    batch = AudioVisualDataset(subject.evaluated, INPUT, mode="eval").batch(range(7))
    patches = patchify(batch.audio.mT[:, None], 4)
    removed = mask_plans(Nothing.grids, "uniform", 0.5, FEW.form)["audio"]
    noise = draws(subject.evaluated.ids, Nothing.grids, FEW.mask_seed)
    expected = clip_errors(torch.zeros_like(patches), patches, removed.mask(noise["audio"]).removed)
    assert result.per_sample["audio/uniform@0.5/mse"] == pytest.approx(expected.numpy(), rel=1e-5)


def test_what_cannot_be_judged_is_refused(fake: Any) -> None:
    other = fake("cavmae")
    other.method = lambda: torch.nn.Identity()
    with pytest.raises(InputError, match="found the ability 'reconstruction' without grids, images and predict"):
        TASK.run(other, FEW)
    with pytest.raises(InputError, match=r"method\.lambda_r: found 0"):
        TASK.run(fake("cavmae", lambda_r=0.0, lambda_c=1.0), FEW)
    with pytest.raises(InputError, match=r"task\.ratios: found 0\.98, which keeps none of 16 tokens"):
        TASK.run(fake("visualmae"), dataclasses.replace(FEW, ratios=(0.98,)))
    with pytest.raises(InputError, match=r"task\.ratios: found 0\.01, which removes none"):
        TASK.run(fake("cavmae"), dataclasses.replace(FEW, ratios=(0.01,), form="exact", strategies=("time",)))
    with pytest.raises(InputError, match="each once"):
        ReconstructionTaskConfig(ratios=(0.5, 0.5))
    with pytest.raises(InputError, match="one or more"):
        ReconstructionTaskConfig(strategies=())


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_inpainting_keeps_what_was_kept_in_true_units(fake: Any, norm_pix_loss: bool) -> None:
    subject = fake("cavmae", norm_pix_loss=norm_pix_loss)
    model, clips = Inpainter.of(subject), subject.evaluated
    options: dict[str, Any] = {"strategies": ("uniform", "frequency"), "ratio": 0.5, "form": "exact", "seed": 0}
    errors, _ = measure(model, subject, dataclasses.replace(FEW, strategies=("uniform", "frequency"), form="exact"))
    found = list(inpaint(model, clips, **options))
    assert len(found) == 7
    for i, panels in enumerate(found):
        assert [(panel.modality, panel.strategy) for panel in panels] == [
            ("visual", "uniform"),
            ("audio", "uniform"),
            ("audio", "frequency"),
        ]
        judged = clips.frame(i, eval_frame(clips, i, model.input)) / 255
        np.testing.assert_allclose(panels[0].original, judged, atol=1e-5)
        for panel in panels:
            kept = ~panel.removed
            np.testing.assert_array_equal(panel.inpainted[kept], panel.original[kept])
            assert (panel.inpainted[panel.removed] != panel.original[panel.removed]).mean() > 0.5
            assert panel.removed.mean() == 0.5
            assert panel.error == pytest.approx(errors[f"{panel.modality}/{panel.strategy}@0.5/mse"][i], rel=1e-4)
        assert (panels[2].removed.all(axis=1) | (~panels[2].removed).all(axis=1)).all()  # whole mel bins


def test_normalised_patches_are_drawn_with_their_true_mean_and_deviation(fake: Any) -> None:
    subject = fake("audiomae")
    model, clips = Inpainter.of(subject), subject.evaluated
    panels = next(inpaint(model, clips, strategies=("time",), ratio=0.5, form="exact", seed=0))
    batch = AudioVisualDataset(clips, INPUT, mode="eval").batch([0])
    mask = mask_plans(model.grids, "time", 0.5, "exact")["audio"].mask(draws(clips.ids[:1], model.grids, 0)["audio"])
    predicted = model.predict(batch.audio, batch.visual, {"audio": mask})["audio"]
    drawn = torch.from_numpy((panels[0].inpainted - INPUT.audio_mean) / INPUT.audio_std)
    true = model.patches(batch.audio, batch.visual)["audio"]
    again = normalise(patchify(drawn[None, None], SIZES.patch_size), *statistics(true))
    removed = mask.removed > 0
    torch.testing.assert_close(again[removed], predicted[removed], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["cavmae", "visualmae"])
def test_pictures_are_files_named_by_clip_and_change_no_number(fake: Any, tmp_path: Path, name: str) -> None:
    ids = ["a/b c", "ünï", "third"]
    result = TASK.run(fake(name, ids=ids), dataclasses.replace(FEW, pictures=2))
    assert result.to_dict() == TASK.run(fake(name, ids=ids), FEW).to_dict()
    found = sorted((tmp_path / "pictures").iterdir())
    assert [path.name for path in found] == ["000-a_b_c.png", "001-ünï.png"]
    for path in found:
        with Image.open(path) as picture:
            assert picture.width == 1000
            assert np.asarray(picture.convert("RGB")).std() > 20


def test_the_module_needs_no_torch_to_be_imported() -> None:
    import subprocess
    import sys

    code = "import sys, avbench.tasks.reconstruction; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert reconstruction.CARD.needs == ("weights",)
