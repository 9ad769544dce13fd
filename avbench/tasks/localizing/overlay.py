"""Pictures of heat maps: the frame with its ground truth, the map over it, and the map of another clip's sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from avbench.files import atomic_path

_TILE, _GAP, _TITLE, _HEAD = 208, 6, 38, 62  # pixels
_COLUMNS = 2  # samples side by side
_DPI, _LETTER = 100, 7  # pixels of an inch, and of a letter of the small lines
_BACK, _INK, _DIM = "#fafaf8", "#19191e", "#696973"
_OUTLINE = np.array((64, 255, 96), dtype=np.uint8)
_OPACITY = 0.62
# Perceptual steps from dark violet over red to pale yellow: brighter is more, also in grey.
_COLOURS = np.array(
    [[13, 8, 55], [84, 15, 109], [158, 41, 100], [221, 81, 58], [250, 151, 7], [252, 255, 164]], dtype=np.float64
)


@dataclass(frozen=True)
class Tile:
    """One sample of a picture.

    Attributes:
        frame: RGB (H, W, 3), the square that the model sees.
        truth: (S, S) ground truth, above zero where it sounds.
        maps: What each map is called, and the map, (S, S).
        title: First line over it, such as its class.
        note: Second line, such as its scores.
    """

    frame: npt.NDArray[np.uint8]
    truth: npt.NDArray[Any]
    maps: Sequence[tuple[str, npt.NDArray[Any]]]
    title: str
    note: str


def write_sheet(path: Path, tiles: Sequence[Tile], heading: str, legend: str) -> None:
    """Writes a sheet of samples as PNG, atomically: each its frame, then its maps, all with the ground truth outlined.

    Args:
        path: The PNG.
        tiles: The samples, as many maps each; at least one.
        heading: Title of the sheet.
        legend: A line below it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(tiles))
    wide = (1 + len(tiles[0].maps)) * (_TILE + _GAP) + 2 * _GAP
    width = columns * wide + _GAP
    height = _HEAD + -(-len(tiles) // columns) * (_TITLE + _TILE + 2 * _GAP)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=_BACK)
    figure.set_layout_engine("none")
    FigureCanvasAgg(figure)

    def write(left: int, top: int, text: str, size: int, colour: str, **options: Any) -> None:
        look = {"va": "top", "parse_math": False, "color": colour, "fontsize": size * 72 / _DPI, **options}
        figure.text(left / width, 1 - top / height, text, **look)

    write(2 * _GAP, 9, heading, 17, _INK)
    write(2 * _GAP, 36, legend, 12, _DIM)
    room = (wide - 3 * _GAP) // _LETTER
    for number, tile in enumerate(tiles):
        left = 2 * _GAP + number % columns * wide
        top = _HEAD + number // columns * (_TITLE + _TILE + 2 * _GAP)
        write(left, top, shorten(tile.title, room, placeholder="..."), 12, _INK)
        write(left, top + 17, shorten(tile.note, room, placeholder="..."), 12, _DIM)
        edge = outline(_enlarged(tile.truth > 0, nearest=True) > 0)
        frame = np.asarray(Image.fromarray(tile.frame).resize((_TILE, _TILE), Image.Resampling.BICUBIC))
        shown = [("", frame), *((name, blended(frame, _enlarged(values))) for name, values in tile.maps)]
        for place, (name, panel) in enumerate(shown):
            x, y = left + place * (_TILE + _GAP), top + _TITLE
            figure.figimage(np.where(edge[..., None], _OUTLINE, panel), x, height - y - _TILE, origin="upper")
            if name:
                box = {"facecolor": "#141418", "edgecolor": "none", "pad": 2}
                write(x + 6, y + _TILE - 6, name, 12, "white", va="bottom", bbox=box)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI, metadata={"Software": None})


def blended(frame: npt.NDArray[np.uint8], values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Returns a map over a frame: its colour by its place between smallest and largest, more opaque where it is large.

    Args:
        frame: RGB (H, W, 3).
        values: (H, W).

    Returns:
        RGB (H, W, 3); a constant map counts as all zero.
    """
    span = float(values.max() - values.min())
    level = (values - values.min()) / span if span > 0 else np.zeros(values.shape)
    steps = np.linspace(0, 1, len(_COLOURS))
    colour = np.stack([np.interp(level, steps, channel) for channel in _COLOURS.T], axis=-1)  # (H, W, 3)
    # Grey below the map, so that its colours are not taken for the picture's.
    grey = (frame @ np.array([0.299, 0.587, 0.114]))[..., None]
    opacity = _OPACITY * (0.55 + 0.45 * level[..., None])
    mixed = (1 - opacity) * (0.35 * frame + 0.65 * grey) + opacity * colour
    return np.asarray(np.clip(mixed + 0.5, 0, 255), dtype=np.uint8)


def outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Returns the border of an area, two pixels wide and inside it, (H, W)."""
    inner = mask
    for _ in range(2):
        padded = np.pad(inner, 1)
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inner)


def _enlarged(values: npt.NDArray[Any], *, nearest: bool = False) -> npt.NDArray[np.float32]:
    image = Image.fromarray(np.asarray(values, dtype=np.float32))
    return np.asarray(image.resize((_TILE, _TILE), Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR))
