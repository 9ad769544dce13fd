from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from latents import latents
from torch import Tensor

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.cavmae import CARD, CavMae, CavMaeConfig
from avbench.methods.masking import MaskNoise

Small = Callable[..., CavMae]
Batch = tuple[Tensor, Tensor]


def draw(method: CavMae, batch: int = 3, seed: int = 0) -> MaskNoise:
    return method.draw_noise(batch, torch.Generator().manual_seed(seed))


def with_gradient(method: CavMae, batch: Batch) -> set[str]:
    method(*batch, draw(method)).loss.backward()
    return {key for key, p in method.named_parameters() if p.grad is not None}


def test_loss_is_the_weighted_sum_of_its_parts(small: Small, batch: Batch) -> None:
    method = small(lambda_r=0.7, lambda_c=0.2)
    output = method(*batch, draw(method))
    parts = output.parts
    wanted = 0.7 * (parts["reconstruction_audio"] + parts["reconstruction_visual"]) + 0.2 * parts["contrast"]
    assert torch.allclose(output.loss, wanted)


def test_batch_of_one_equals_row_of_batch(small: Small, batch: Batch) -> None:
    method = small()
    noise = draw(method)
    one, many = slice(0, 1), slice(0, 2)
    audio, visual = batch
    with torch.no_grad():
        first = method(audio[one], visual[one], noise.part(one))
        both = method(audio[many], visual[many], noise.part(many))
        embedded_one, embedded = method.embed(audio[one], visual[one]), method.embed(audio[many], visual[many])
    assert torch.allclose(first.prediction_audio, both.prediction_audio[one], atol=1e-6)
    assert torch.allclose(first.prediction_visual, both.prediction_visual[one], atol=1e-6)
    assert torch.equal(first.mask_audio, both.mask_audio[one])
    for x, y in zip(embedded_one, embedded, strict=True):
        assert torch.allclose(x, y[one], atol=1e-6)


def test_one_modality_never_reaches_the_other_stream(small: Small, batch: Batch) -> None:
    method = small()
    audio, visual = batch
    noise = draw(method)
    with torch.no_grad():
        before, other = latents(method, audio, visual, noise), latents(method, audio, visual + 1, noise)
        embedded, embedded_other = method.embed(audio, visual), method.embed(audio, visual + 1)
    assert torch.equal(before.audio, other.audio)
    assert not torch.allclose(before.visual, other.visual)
    assert not torch.allclose(before.joint, other.joint)
    assert torch.equal(embedded[0], embedded_other[0])


def test_loss_ignores_what_the_prediction_says_of_kept_patches(small: Small, batch: Batch) -> None:
    method = small(lambda_c=0.0, norm_pix_loss=False)
    output = method(*batch, draw(method))
    output.prediction_audio.retain_grad()
    output.loss.backward()
    gradient = output.prediction_audio.grad.abs().sum(-1)
    assert (gradient[output.mask_audio == 0] == 0).all()
    assert (gradient[output.mask_audio == 1] > 0).all()


def test_removed_patches_are_not_seen(small: Small, batch: Batch) -> None:
    method = small()
    noise = draw(method)
    audio, visual = batch
    with torch.no_grad():
        removed = method(audio, visual, noise).mask_audio.reshape(3, 4, 8)
        hidden = removed.repeat_interleave(4, 1).repeat_interleave(4, 2).transpose(1, 2)  # (3, 32, 16)
        before = latents(method, audio, visual, noise).joint
        after = latents(method, audio + hidden, visual, noise).joint
    assert torch.equal(before, after)


def test_gradients_reach_all_but_the_unused_norms(small: Small, batch: Batch) -> None:
    method = small()
    found = with_gradient(method, batch)
    trained = {key for key, p in method.named_parameters() if p.requires_grad}
    unused = {
        key
        for key in trained
        if key.startswith(("blocks_a.", "blocks_v.", "decoder_blocks."))
        and key.split(".")[2] in ("norm1_a", "norm1_v", "norm2_a", "norm2_v")
    }
    assert trained - found == unused
    assert len(unused) == 8 * (2 + 2 + 1)
    assert not dict(method.named_parameters())["pos_embed_a"].requires_grad


def test_gradients_with_contrast_alone(small: Small, batch: Batch) -> None:
    method = small(lambda_r=0.0)
    found = with_gradient(method, batch)
    assert not any("decoder" in key or key == "mask_token" for key in found)
    assert not any(
        key.startswith("norm.") or key in ("blocks_u.0.norm1.weight", "blocks_u.1.norm2.bias") for key in found
    )
    assert {"norm_a.weight", "blocks_u.1.norm2_v.bias", "blocks_u.0.norm1_a.weight"} <= found


def test_gradients_with_reconstruction_alone(small: Small, batch: Batch) -> None:
    method = small(lambda_c=0.0)
    found = with_gradient(method, batch)
    assert {"norm.weight", "blocks_u.0.norm1.weight", "mask_token"} <= found
    assert not any(key.startswith(("norm_a", "norm_v")) or "norm1_a" in key for key in found)


def test_zero_weights_leave_work_out(small: Small, batch: Batch) -> None:
    reconstruction = small(lambda_c=0.0)
    output = reconstruction(*batch, draw(reconstruction))
    assert set(output.parts) == {"reconstruction_audio", "reconstruction_visual"}
    contrast = small(lambda_r=0.0)
    output = contrast(*batch, draw(contrast))
    assert set(output.parts) == {"contrast", "contrast_accuracy"}
    assert output.prediction_audio is None


def test_joint_blocks_are_chained(small: Small, batch: Batch) -> None:
    """Every block counts in single streams; in the authors' code only the last (docs/protocol/cavmae.md 1.8)."""
    method = small()
    noise = draw(method)
    with torch.no_grad():
        before = latents(method, *batch, noise).audio
        method.encoder.joint.blocks[0].mlp.fc2.bias[0].add_(1)
        assert not torch.allclose(before, latents(method, *batch, noise).audio)


def test_windows_and_frames_are_embedded_one_by_one(small: Small, batch: Batch) -> None:
    method = small()
    audio, visual = batch
    with torch.no_grad():
        single_a, single_v = method.embed(audio, visual)
        several_a, several_v = method.embed(audio[None], visual[None])
        mixed_a, mixed_v = method.embed(audio[:1], visual[None])
    assert several_a.shape == several_v.shape == (1, 3, 16)
    assert mixed_a.shape == (1, 16)
    assert mixed_v.shape == (1, 3, 16)
    assert torch.allclose(several_a[0], single_a, atol=1e-6)
    assert torch.allclose(single_v.norm(dim=1), torch.ones(3))


def test_masking_ratio_of_each_modality(small: Small, batch: Batch) -> None:
    method = small(masking_ratio=0.5, masking_ratio_visual=0.25)
    output = method(*batch, draw(method))
    assert (output.mask_audio.sum(1) == 16).all()
    assert (output.mask_visual.sum(1) == 4).all()


@pytest.mark.parametrize("form", ["exact", "reference"])
@pytest.mark.parametrize("strategy", ["time", "frequency", "time_frequency"])
def test_structured_masking_trains(small: Small, batch: Batch, strategy: str, form: str) -> None:
    method = small(masking_strategy=strategy, masking_form=form)
    assert torch.isfinite(method(*batch, draw(method)).loss)


def test_without_modality_norms_all_streams_share_one_pair(small: Small, batch: Batch) -> None:
    method = small(modality_norms=False)
    assert not any("norm1_a" in key for key in method.state_dict())
    assert torch.isfinite(method(*batch, draw(method)).loss)


def test_same_seed_same_weights_whatever_else_was_drawn(sizes: tuple[ModelConfig, InputConfig]) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = CavMae(CavMaeConfig(), *sizes, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    again, other = CavMae(CavMaeConfig(), *sizes, seed=3), CavMae(CavMaeConfig(), *sizes, seed=4)
    assert all(torch.equal(x, y) for x, y in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.get_parameter("modality_a"), other.get_parameter("modality_a"))


def test_first_weights_follow_the_reference(sizes: tuple[ModelConfig, InputConfig]) -> None:
    method = CavMae(CavMaeConfig(), *sizes)
    for key, value in method.named_parameters():
        assert torch.isfinite(value).all(), key
    linear = method.encoder.audio.blocks[0].attn.qkv
    assert linear.weight.abs().max() <= (6 / (16 + 48)) ** 0.5
    assert (linear.bias == 0).all()
    assert (method.get_parameter("norm.weight") == 1).all()
    assert 0 < method.get_parameter("patch_embed_a.proj.bias").abs().max() <= 0.25
    assert 0 < method.get_parameter("mask_token").abs().max() < 0.1


@pytest.mark.parametrize(
    ("audio", "visual", "words"),
    [
        ((2, 30, 16), (2, 3, 16, 16), "audio: found shape (2, 30, 16), valid: (batch, 32, 16)"),
        ((2, 32, 16), (2, 1, 16, 16), "visual: found shape (2, 1, 16, 16), valid: (batch, 3, 16, 16)"),
        ((2, 1, 32, 16), (2, 3, 16, 16), "audio: found shape (2, 1, 32, 16)"),
    ],
)
def test_wrong_shapes_are_named(small: Small, audio: tuple[int, ...], visual: tuple[int, ...], words: str) -> None:
    method = small()
    with pytest.raises(InputError) as error:
        method(torch.zeros(audio), torch.zeros(visual), draw(method, 2))
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("model", "input", "options", "words"),
    [
        ({"num_heads": 5}, {}, {}, "attention heads: found 5"),
        ({"embed_dim": 18, "num_heads": 2}, {}, {}, "a multiple of 4"),
        ({}, {"target_length": 1000}, {}, "input.target_length: found 1000"),
        ({}, {"n_mels": 100}, {}, "input.n_mels: found 100"),
        ({}, {"image_size": 225}, {}, "input.image_size: found 225"),
        ({}, {}, {"lambda_c": 0.0, "lambda_r": 0.0}, "at least one above 0"),
        ({}, {}, {"masking_ratio": 0.0}, "removes none"),
        ({}, {}, {"masking_ratio": 0.999}, "keeps none"),
        ({}, {}, {"masking_ratio": 0.95, "masking_strategy": "frequency"}, "keeps none"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(
    model: dict[str, int], input: dict[str, int], options: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError) as error, torch.device("meta"):
        CavMae(CavMaeConfig(**options), ModelConfig(**model), InputConfig(**input))  # type: ignore[arg-type]
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_card_and_class_agree() -> None:
    assert CARD.modalities == CavMae.modalities
    assert CavMae.__module__.rpartition(".")[2] == CavMae.name
