from __future__ import annotations

import torch

from avbench.methods.objectives import contrast, masked_reconstruction, patchify, unpatchify
from avbench.methods.positions import Grid


def test_patches_are_flattened_channel_fastest() -> None:
    """The numbers of docs/protocol/cavmae.md 1.6."""
    audio = torch.arange(128 * 1024.0).reshape(1, 1, 128, 1024)
    patches = patchify(audio, 16)
    assert patches.shape == (1, 512, 256)
    assert patches[0, 1, 0] == 16
    assert patches[0, 64, 0] == 16384
    assert patches[0, 0, 16] == 1024
    image = torch.arange(3 * 224 * 224.0).reshape(1, 3, 224, 224)
    patches = patchify(image, 16)
    assert patches[0, 0, :5].tolist() == [0, 50176, 100352, 1, 50177]
    assert patches[0, 1, 0] == 16
    assert patches[0, 14, 0] == 3584


def test_unpatchify_is_the_inverse() -> None:
    image = torch.randn(2, 3, 8, 20)
    assert torch.equal(unpatchify(patchify(image, 4), Grid(2, 5), 4), image)


def test_reconstruction_counts_removed_patches_of_the_whole_batch() -> None:
    prediction, target = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    target[0, 0] = 3.0
    removed = torch.tensor([[1.0, 0, 0], [0, 1, 1]])
    assert masked_reconstruction(prediction, target, removed, norm_pix_loss=False) == (9 + 1 + 1) / 3
    target[:, :2][removed[:, :2] == 0] = 100.0  # kept patches
    assert masked_reconstruction(prediction, target, removed, norm_pix_loss=False) == (9 + 1 + 1) / 3


def test_normalised_targets_ignore_brightness_and_contrast() -> None:
    prediction, target = torch.randn(2, 3, 16), torch.randn(2, 3, 16)
    removed = torch.ones(2, 3)
    plain = masked_reconstruction(prediction, target, removed, norm_pix_loss=True)
    changed = masked_reconstruction(prediction, 5 * target + 2, removed, norm_pix_loss=True)
    assert torch.allclose(plain, changed, atol=1e-4)


def test_losses_are_float32_under_low_precision() -> None:
    features = torch.randn(4, 8, dtype=torch.bfloat16)
    loss, accuracy = contrast(features, features, temperature=0.05, direction="one_way")
    assert loss.dtype == accuracy.dtype == torch.float32
    assert accuracy == 1


def test_one_way_contrast_looks_for_the_sound_of_each_frame() -> None:
    audio, visual = torch.randn(5, 8), torch.randn(5, 8)
    one, _ = contrast(audio, visual, temperature=0.1, direction="one_way")
    back, _ = contrast(visual, audio, temperature=0.1, direction="one_way")
    both, _ = contrast(audio, visual, temperature=0.1, direction="two_way")
    assert not torch.allclose(one, back)
    assert torch.allclose(both, (one + back) / 2)
    logits = torch.nn.functional.normalize(audio, dim=1) @ torch.nn.functional.normalize(visual, dim=1).T / 0.1
    assert torch.allclose(one, -logits.log_softmax(0).diagonal().mean(), atol=1e-5)
