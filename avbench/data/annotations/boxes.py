"""Boxes to masks, as the reference evaluators draw them (docs/protocol/cavmae_sync.md 5.2-5.3)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError, unknown
from avbench.settings import finite, shown

Rule = Literal["ez", "lvs"]
Box = Sequence[float]  # left, top, right, bottom

RULES: tuple[Rule, ...] = get_args(Rule)


def to_pixels(boxes: npt.NDArray[np.float64], size: int, rule: Rule = "ez") -> npt.NDArray[np.int64]:
    """Returns boxes as whole pixels of a map.

    Args:
        boxes: (k, 4) left, top, right, bottom as fractions of the map. Some of VGG-SS are negative or above 1.
        size: Side of the map, pixels.
        rule: ``ez`` (EZ-VSL): cut to [0, 1], times the size, rounded down. ``lvs``: negative ones to 0, times the size,
            rounded down; the map ends where it ends. Both draw the same maps.

    Raises:
        InputError: An unknown rule.
    """
    if rule == "ez":
        return np.asarray((np.clip(boxes, 0, 1) * size).astype(np.int64))
    if rule == "lvs":
        # Beyond the map nothing is drawn; the cut keeps absurd coordinates within what a whole number can hold.
        return np.asarray(np.minimum(np.maximum(boxes, 0) * size, 2**31).astype(np.int64))
    raise unknown("rule", rule, RULES)


def cropped(boxes: npt.NDArray[np.float64], aspect: float) -> npt.NDArray[np.float64]:
    """Returns boxes, fractions of a whole picture, as fractions of the square in its middle.

    Args:
        boxes: (k, 4).
        aspect: Width over height of the picture.
    """
    wide, high = max(aspect, 1.0), max(1 / aspect, 1.0)  # sides of the picture over that of the square
    scale, offset = np.array([wide, high, wide, high]), np.array([wide - 1, high - 1, wide - 1, high - 1]) / 2
    return np.asarray(np.clip(boxes * scale - offset, 0, 1))


def rasterise(
    boxes: Sequence[Box],
    size: int,
    aspect: float = 1.0,
    *,
    scale: float = 1.0,
    rule: Rule = "ez",
    consensus: bool = False,
) -> npt.NDArray[np.float32]:
    """Draws the ground truth of boxes.

    Args:
        boxes: Left, top, right, bottom each, ``scale`` being the right and lower end of the picture. Degenerate ones
            (no height or width after rounding) draw nothing.
        size: Side of the map, pixels.
        aspect: Width over height of the picture, where the map shows the square in its middle.
        scale: Size of the coordinates: 1 for fractions, 256 for Flickr-SoundNet, 224 for IS3.
        rule: See :func:`to_pixels`.
        consensus: False: the union. True: half the number of boxes over a pixel, at most 1 (Flickr-SoundNet).

    Returns:
        float32 (size, size) in [0, 1].
    """
    found = np.zeros((size, size), np.float32)
    if len(boxes) == 0:
        return found
    # Pixel coordinates are whole numbers: 224 * v / 256 in that order, so that no product falls below its value.
    edges = np.asarray(boxes, dtype=np.float64)
    if aspect != 1.0:
        pixels = to_pixels(cropped(edges / scale, aspect), size, rule)
    elif scale == 1.0:
        pixels = to_pixels(edges, size, rule)
    else:
        pixels = np.asarray((np.clip(edges, 0, scale) * size / scale).astype(np.int64))
    for left, top, right, bottom in pixels.tolist():
        found[top:bottom, left:right] += 1
    return np.minimum(found / 2, 1) if consensus else np.minimum(found, 1)


class Boxes:
    """The ground truth of one sample's boxes; see :func:`rasterise`."""

    def __init__(self, boxes: Sequence[Box], *, scale: float = 1.0, rule: Rule = "ez", consensus: bool = False) -> None:
        self.boxes = [tuple(float(edge) for edge in box) for box in boxes]
        self._draw = functools.partial(rasterise, self.boxes, scale=scale, rule=rule, consensus=consensus)

    def __call__(self, size: int, aspect: float) -> npt.NDArray[np.float32]:
        """Draws them; see :data:`avbench.data.annotations.sample.Truth`."""
        return self._draw(size, aspect)


def read_boxes(where: str, boxes: object) -> list[list[float]]:
    """Checks that a value from a file is a list of boxes, or one box.

    Args:
        where: What to call it in an error.
        boxes: The value.

    Raises:
        InputError: It is not.
    """
    if isinstance(boxes, list) and len(boxes) == 4 and not any(isinstance(edge, list) for edge in boxes):
        boxes = [boxes]
    if isinstance(boxes, list) and all(isinstance(box, list) and len(box) == 4 for box in boxes):
        edges = [[None if isinstance(edge, str) else finite(edge) for edge in box] for box in boxes]
        found = [[edge for edge in box if edge is not None] for box in edges]
        if all(len(box) == 4 for box in found):
            return found
    raise InputError(f"{where}: found {shown(boxes)}, valid: boxes of four numbers, left, top, right, bottom.")
