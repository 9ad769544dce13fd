"""From a frame to the model's image: the reference's transform (docs/protocol/cavmae.md 2.3).

Resize (short side, bicubic, antialiased) and CenterCrop as torchvision does them on a PIL image, then ToTensor and
Normalize. A stored frame of the right size passes straight to the last two.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from avbench.config import InputConfig


def resize_and_crop(frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Returns the centre of a frame at the model's size.

    Args:
        frame: RGB (H, W, 3).
        size: Side of the result, pixels.

    Returns:
        RGB (size, size, 3); ``frame`` itself where it has that size already.
    """
    height, width = frame.shape[:2]
    if (height, width) == (size, size):
        return frame
    # The long side is cut to a whole number, the offset of the crop rounded half to even, as torchvision does.
    short, long = min(height, width), max(height, width)
    longer = size * long // short
    new_width, new_height = (size, longer) if width <= height else (longer, size)
    image = Image.fromarray(frame)
    if (new_width, new_height) != (width, height):
        image = image.resize((new_width, new_height), Image.Resampling.BICUBIC)
    left, top = round((new_width - size) / 2), round((new_height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))


@functools.lru_cache(maxsize=8)
def _scale_and_shift(mean: tuple[float, ...], std: tuple[float, ...]) -> list[tuple[np.float32, np.float32]]:
    return [(np.float32(1 / (255 * d)), np.float32(-m / d)) for m, d in zip(mean, std, strict=True)]


def write_normalised(frame: NDArray[np.uint8], config: InputConfig, out: NDArray[np.float32]) -> None:
    """Writes a frame as the model takes it.

    Args:
        frame: RGB (H, W, 3).
        config: Means and standard deviations, for values in [0, 1].
        out: Where to, (3, H, W).
    """
    # One channel at a time stays in the cache through both passes.
    for c, (scale, shift) in enumerate(_scale_and_shift(config.image_mean, config.image_std)):
        np.multiply(frame[..., c], scale, out=out[c], dtype=np.float32)
        out[c] += shift


def normalise_bytes(frames: Tensor, config: InputConfig) -> Tensor:
    """Returns the same as :func:`write_normalised`, to the bit, of frames on any device.

    Args:
        frames: RGB, uint8 (..., H, W, 3).
        config: Means and standard deviations, for values in [0, 1].

    Returns:
        float32 (..., 3, H, W).
    """
    *batch, height, width, _ = frames.shape
    channels = _scale_and_shift(config.image_mean, config.image_std)
    out = torch.empty(*batch, len(channels), height, width, device=frames.device)
    for c, (scale, shift) in enumerate(channels):
        # Two kernels, as one that multiplies and adds would round once only.
        torch.mul(frames[..., c], float(scale), out=out[..., c, :, :]).add_(float(shift))
    return out


def to_tensor(frame: NDArray[np.uint8], config: InputConfig) -> Tensor:
    """Returns one frame, RGB (H, W, 3) of any size, as float32 (3, image_size, image_size)."""
    picture = resize_and_crop(frame, config.image_size)
    out = np.empty((3, *picture.shape[:2]), np.float32)
    write_normalised(picture, config, out)
    return torch.from_numpy(out)
