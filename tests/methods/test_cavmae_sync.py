from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from latents import latents
from torch import Tensor

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.cavmae_sync import CavMaeSync, CavMaeSyncConfig
from avbench.methods.masking import MaskNoise
from avbench.methods.objectives import contrastive
from avbench.methods.streams import single_stream

Batch = tuple[Tensor, Tensor]
Make = Callable[..., CavMaeSync]


@pytest.fixture
def sync(make: Callable[..., CavMaeSync]) -> Make:
    """Returns a small CAV-MAE Sync with some options, and three registers of each modality."""
    return lambda **options: make("cavmae_sync", **{"registers": 3, **options})


def draw(method: CavMaeSync, batch: int = 3, seed: int = 0) -> MaskNoise:
    return method.draw_noise(batch, torch.Generator().manual_seed(seed))


def without_gradient(method: CavMaeSync, batch: Batch) -> set[str]:
    method(*batch, draw(method)).loss.backward()
    return {key for key, p in method.named_parameters() if p.requires_grad and p.grad is None}


@pytest.mark.parametrize("keep", [False, True])
def test_order_of_registers_changes_nothing(sync: Make, batch: Batch, keep: bool) -> None:
    method = sync(keep_registers=keep)
    noise = draw(method)
    with torch.no_grad():
        before, embedded = method(*batch, noise), method.embed(*batch)
        order = torch.tensor([2, 0, 1, 4, 5, 3])  # each modality's own rows
        method.encoder.registers.copy_(method.encoder.registers[order])
        after, again = method(*batch, noise), method.embed(*batch)
        method.encoder.registers.copy_(method.encoder.registers[torch.tensor([3, 4, 5, 0, 1, 2])])
        swapped = method.embed(*batch)
    assert torch.allclose(before.loss, after.loss, rtol=1e-5)
    assert all(torch.allclose(x, y, atol=1e-6) for x, y in zip(embedded, again, strict=True))
    assert not torch.allclose(embedded[0], swapped[0], atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"keep_registers": True}, {"global_token": False}, {"registers": 0}])
def test_streams_hold_the_global_token_and_the_patches(sync: Make, batch: Batch, options: dict[str, object]) -> None:
    method = sync(**options)
    extra = int(method.config.global_token)
    noise = draw(method)
    with torch.no_grad():
        found = latents(method, *batch, noise)
        assert found.joint.shape[1] == 8 + 4  # kept patches alone
        assert found.audio.shape[1] == extra + 8
        assert found.visual.shape[1] == extra + 4
        assert single_stream(method.encoder, "audio", batch[0]).shape[1] == extra + 32
        assert single_stream(method.encoder, "visual", batch[1]).shape[1] == extra + 16


def test_kept_registers_reach_the_joint_encoder(sync: Make, batch: Batch) -> None:
    kept, dropped = sync(keep_registers=True), sync()
    noise = draw(kept)
    with torch.no_grad():
        assert not torch.allclose(latents(kept, *batch, noise).joint, latents(dropped, *batch, noise).joint, atol=1e-4)


def test_the_frame_never_changes_the_audio_stream(sync: Make, batch: Batch) -> None:
    method = sync(head_depth=2)
    noise = draw(method)
    with torch.no_grad():
        before, after = latents(method, *batch, noise), latents(method, batch[0], batch[1] + 1, noise)
    assert torch.equal(before.audio, after.audio)
    assert not torch.allclose(before.visual, after.visual)


def test_contrast_alone_trains_global_tokens_and_registers(sync: Make, batch: Batch) -> None:
    found = without_gradient(sync(lambda_r=0.0), batch)
    assert not found & {"cls_token_a", "cls_token_v", "register_tokens"}
    assert {"mask_token", "decoder_embed.weight", "norm.weight"} <= found


def test_patches_get_no_contrast_after_the_last_block(sync: Make, batch: Batch) -> None:
    """The contrast reads global tokens alone, the reconstruction patches alone (docs/protocol/cavmae_sync.md 1.4)."""
    method = sync(head_depth=1)
    found = latents(method, *batch, draw(method))
    found.audio.retain_grad()
    pair = method.encoder.pool(found.audio), method.encoder.pool(found.visual)
    contrastive([pair], found.masks, method.config).loss.backward()
    moved = found.audio.grad.abs().sum((0, 2))
    assert moved[0] > 0
    assert (moved[1:] == 0).all()


def test_all_but_the_unused_norms_are_trained(sync: Make, batch: Batch) -> None:
    method = sync(head_depth=1)
    stacks = ("blocks_a", "blocks_v", "decoder_blocks", "constrative_head_audio", "constrative_head_visual")
    norms = ("norm1_a", "norm1_v", "norm2_a", "norm2_v")
    keys = [key.split(".") for key, _ in method.named_parameters()]
    unused = {".".join(key) for key in keys if key[0] in stacks and key[2] in norms}
    assert without_gradient(method, batch) == unused


def test_zero_weights_work_with_every_contrast(sync: Make, batch: Batch) -> None:
    for options in ({"lambda_r": 0.0}, {"lambda_c": 0.0}, {"lambda_c": 0.0, "global_local": True}):
        method = sync(**options)
        assert torch.isfinite(method(*batch, draw(method)).loss)


def test_both_contrasts_are_averaged(sync: Make, batch: Batch) -> None:
    noise = draw(sync())

    def contrast(**options: object) -> Tensor:
        return sync(**options)(*batch, noise).parts["contrast"]

    both = sync(global_local=True)
    with torch.no_grad():
        found = latents(both, *batch, noise)
        audio, visual = (both.encoder.patches(tokens).mean(dim=1) for tokens in (found.audio, found.visual))
    logits = torch.nn.functional.normalize(visual) @ torch.nn.functional.normalize(audio).T / 0.05
    local = torch.nn.functional.cross_entropy(logits, torch.arange(3))
    assert torch.allclose(contrast(global_local=True), (contrast() + local) / 2, rtol=1e-5)


def test_joint_blocks_are_chained(sync: Make, batch: Batch) -> None:
    method = sync()
    noise = draw(method)
    with torch.no_grad():
        before = latents(method, *batch, noise).audio
        method.encoder.joint.blocks[0].mlp.fc2.bias[0].add_(1)
        assert not torch.allclose(before, latents(method, *batch, noise).audio)


def test_each_batch_draws_its_ratios(sync: Make, batch: Batch) -> None:
    method = sync(masking_ratio_range=(0.3, 0.9))
    removed = [(method(*batch, draw(method, seed=seed)).mask_audio.sum(1)) for seed in range(6)]
    assert all((counts == counts[0]).all() for counts in removed)  # the same for all clips of a batch
    assert all(32 - int(32 * 0.7) <= counts[0] <= 32 - int(32 * 0.1) for counts in removed)
    assert len({counts[0].item() for counts in removed}) > 2
    noise = draw(method, seed=4)
    assert noise.audio.ratio != noise.visual.ratio
    half = method(batch[0][:1], batch[1][:1], noise.part(slice(0, 1)))
    assert half.mask_audio.sum() == removed[4][0]


def test_windows_that_equal_the_one_before_are_encoded_once(sync: Make, batch: Batch) -> None:
    method = sync()
    rows = torch.randn(2, 40, 16)
    starts = [0, 0, 4, 8, 8]
    windows = torch.stack([rows[:, start : start + 32] for start in starts], dim=1)  # (2, 5, 32, 16)
    frames = torch.randn(2, 5, 3, 16, 16)
    encoded: list[int] = []
    method.encoder.audio.patches.register_forward_hook(lambda module, inputs, output: encoded.append(len(output)))
    with torch.no_grad():
        audio, visual = method.embed(windows, frames)
        single = [method.embed(windows[:, f], frames[:, f]) for f in range(5)]
    assert encoded[0] == 2 * 3
    assert audio.shape == visual.shape == (2, 5, 16)
    assert torch.allclose(audio, torch.stack([vectors[0] for vectors in single], 1), atol=1e-6)
    assert torch.allclose(visual, torch.stack([vectors[1] for vectors in single], 1), atol=1e-6)


def test_windows_of_the_input_config_are_its_spectrograms(sizes: tuple[ModelConfig, InputConfig]) -> None:
    model, input = sizes
    whole = CavMaeSync(CavMaeSyncConfig(), model, input)
    windows = CavMaeSync(CavMaeSyncConfig(), model, InputConfig(**{**vars(input), "segment_length": 12}))
    assert whole.get_parameter("pos_embed_a").shape[1] == 32
    assert windows.get_parameter("pos_embed_a").shape[1] == 4 * 3
    with pytest.raises(InputError, match="audio: found shape"):
        windows.embed(torch.zeros(1, 32, 16), torch.zeros(1, 3, 16, 16))


def test_registers_begin_with_unit_variance(sync: Make) -> None:
    method = sync(registers=64)
    assert 0.9 < method.encoder.registers.std() < 1.1
    assert method.get_parameter("cls_token_a").abs().max() < 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"global_local": True, "global_token": False}, "method.global_local"),
        ({"lambda_c": 0.0, "lambda_r": 0.0}, "at least one above 0"),
        ({"masking_ratio_range": (0.5, 0.999)}, "keeps none"),
        ({"masking_ratio_range": (0.0, 0.5)}, "removes none"),
        ({"masking_ratio_range": (0.9, 0.6)}, "masking_ratio_range"),
    ],
)
def test_options_that_do_not_fit_are_refused(sync: Make, options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as error:
        sync(**options)
    assert words in str(error.value)
