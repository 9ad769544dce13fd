"""Mask files: read, and brought to the square that the model sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from avbench.errors import InputError


def read_picture(path: Path, size: int) -> npt.NDArray[np.uint8]:
    """Returns a label picture: short side to ``size`` by nearest neighbour, and the square in its middle.

    These are sizes and offsets of :func:`avbench.data.media.images.resize_and_crop`, so that it matches the frame.

    Args:
        path: A PNG.
        size: Side of the result, pixels.

    Returns:
        (size, size) or (size, size, channels); colours of a palette are resolved.

    Raises:
        InputError: It is missing or cannot be read.
    """
    try:
        with Image.open(path) as image:
            image.load()
            found = image.convert("RGB") if image.mode in ("P", "RGBA", "CMYK") else image.copy()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; the annotations name it.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a picture ({str(error).splitlines()[0]}).") from None
    width, height = found.size
    short, long = min(width, height), max(width, height)
    longer = size * long // short
    target = (size, longer) if width <= height else (longer, size)
    found = found.resize(target, Image.Resampling.NEAREST)
    left, top = round((target[0] - size) / 2), round((target[1] - size) / 2)
    return np.asarray(found.crop((left, top, left + size, top + size)))


class MaskPicture:
    """The ground truth of a mask file: where any channel is above zero."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, size: int, aspect: float) -> npt.NDArray[np.float32]:
        """Draws it; see :data:`avbench.data.annotations.sample.Truth`. The file has its own shape."""
        picture = read_picture(self.path, size) > 0
        return np.asarray(picture if picture.ndim == 2 else picture.any(axis=2), dtype=np.float32)
