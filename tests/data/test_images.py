from __future__ import annotations

import clip_files
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from avbench.config import InputConfig
from avbench.data.media.images import resize_and_crop, to_tensor


def reference(image: Image.Image, config: InputConfig) -> torch.Tensor:
    size = config.image_size
    steps = [
        transforms.Resize(size, interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(size),
        transforms.ToTensor(),
        transforms.Normalize(config.image_mean, config.image_std),
    ]
    result: torch.Tensor = transforms.Compose(steps)(image)
    return result


@pytest.mark.parametrize(
    "size", [(224, 224), (240, 320), (320, 240), (225, 224), (100, 401), (719, 1281), (50, 50), (1, 3)]
)
@pytest.mark.parametrize("side", [224, 97])
def test_equals_the_reference_transform(size: tuple[int, int], side: int) -> None:
    config = InputConfig(image_size=side)
    pixels = clip_files.picture(0, size)
    torch.testing.assert_close(to_tensor(pixels, config), reference(Image.fromarray(pixels), config), atol=1e-4, rtol=0)


def test_recorded_numbers() -> None:
    # docs/protocol/cavmae.md 9
    y, x = np.mgrid[:240, :320]
    pixels = np.stack([x * 255 // 319, y * 255 // 239, (x + y) * 7 % 256], axis=-1).astype(np.uint8)
    image = to_tensor(pixels, InputConfig())
    assert image.mean() == pytest.approx(0.221633, abs=1e-4)
    for at, expected in (
        ((0, 0), [-1.587037, -2.035714, -1.421002]),
        ((112, 112), [0.056940, 0.205182, 1.123660]),
        ((223, 223), [1.700916, 2.428571, -1.037560]),
    ):
        torch.testing.assert_close(image[:, *at], torch.tensor(expected), atol=1e-4, rtol=0)


def test_a_frame_of_the_right_size_is_not_touched() -> None:
    pixels = clip_files.picture(0, (64, 64))
    assert resize_and_crop(pixels, 64) is pixels
