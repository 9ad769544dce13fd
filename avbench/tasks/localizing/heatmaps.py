"""Heat maps from patch tokens and sound vectors, brought to the size at which they are judged; or from a file.

Source: docs/protocol/cavmae_sync.md 5.1-5.2; centring and sign: docs/protocol/embedded_set.md 3 and 6.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError, unknown
from avbench.store.npz import NAMED, check_unique, opened

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Similarity = Literal["cosine", "dot"]
Upsampling = Literal["bilinear", "bilinear_corners", "bicubic_corners"]

UPSAMPLINGS: tuple[Upsampling, ...] = get_args(Upsampling)
_BLOCK = 64  # clips whose tokens are held at a time
_CUBIC = -0.75  # of the convolution kernel, as torch and OpenCV have it
_ARRAYS = ("id", "map")


def similarity_map(visual: npt.NDArray[Any], sound: npt.NDArray[Any], kind: Similarity) -> Float32:
    """Returns how similar each patch of a picture is to a sound.

    Args:
        visual: (B, P, D) patch tokens.
        sound: (B, D).
        kind: ``cosine``, or the ``dot`` product; a patch or sound without length has cosine 0.

    Returns:
        float32 (B, P).
    """
    found = np.einsum("bpd,bd->bp", visual, sound, dtype=np.float64)
    if kind == "cosine":
        lengths = np.sqrt(np.einsum("bpd,bpd->bp", visual, visual, dtype=np.float64))
        lengths *= np.sqrt(np.einsum("bd,bd->b", sound, sound, dtype=np.float64))[:, None]
        found = np.divide(found, lengths, out=np.zeros_like(found), where=lengths > 0)
    return np.asarray(found, dtype=np.float32)


@dataclass(frozen=True)
class MapMaker:
    """Makes maps of pictures and sounds, any picture with any sound.

    Attributes:
        visual: (n, P, D) patch tokens of the judged frames, row by row of the grid.
        sound: (m, D) sound vectors.
        grid: Rows and columns of the patches.
        similarity: See :func:`similarity_map`.
        negative: Whether the map's sign is turned.
        visual_mean: (D,) what is taken from every patch token first; None: nothing.
        sound_mean: (D,) likewise, from every sound.
    """

    visual: npt.NDArray[Any]
    sound: npt.NDArray[Any]
    grid: tuple[int, int]
    similarity: Similarity = "cosine"
    negative: bool = False
    visual_mean: Float64 | None = None
    sound_mean: Float64 | None = None

    def __post_init__(self) -> None:
        """Checks the shapes.

        Raises:
            InputError: They do not fit each other.
        """
        patches = self.grid[0] * self.grid[1]
        if self.visual.ndim != 3 or self.visual.shape[1] != patches or self.sound.ndim != 2:
            raise InputError(
                f"tokens: found shapes {self.visual.shape} and {self.sound.shape}, valid: (n, {patches}, D) and (m, D)."
            )
        if self.visual.shape[2] != self.sound.shape[1]:
            raise InputError(f"tokens: found widths {self.visual.shape[2]} and {self.sound.shape[1]}, valid: the same.")

    def maps(self, pictures: npt.NDArray[np.int64], sounds: npt.NDArray[np.int64] | None) -> Float32:
        """Returns the maps of pairs.

        Args:
            pictures: (k,) rows of ``visual``.
            sounds: (k,) rows of ``sound``; None: the mean of all sounds' directions, for each picture.

        Returns:
            float32 (k, rows, columns).
        """
        found = np.empty((len(pictures), self.visual.shape[1]), np.float32)
        typical = None if sounds is not None else mean_direction(self._shifted(self.sound, self.sound_mean))
        for first in range(0, len(pictures), _BLOCK):
            block = slice(first, first + _BLOCK)
            patches = self._shifted(self.visual[pictures[block]], self.visual_mean)
            if sounds is None:
                vectors: npt.NDArray[Any] = np.broadcast_to(np.asarray(typical), (len(patches), self.sound.shape[1]))
            else:
                vectors = self._shifted(self.sound[sounds[block]], self.sound_mean)
            found[block] = similarity_map(patches, vectors, self.similarity)
        if self.negative:
            found = -found
        return found.reshape(-1, *self.grid)

    @staticmethod
    def _shifted(tokens: npt.NDArray[Any], mean: Float64 | None) -> npt.NDArray[Any]:
        return tokens if mean is None else tokens - mean


def mean_direction(vectors: npt.NDArray[Any]) -> Float64:
    """Returns the mean of vectors that are first brought to unit length, (D,) from (m, D)."""
    lengths = np.sqrt(np.einsum("md,md->m", vectors, vectors, dtype=np.float64))[:, None]
    return np.asarray(np.divide(vectors, lengths, out=np.zeros(vectors.shape), where=lengths > 0).mean(axis=0))


def token_mean(tokens: npt.NDArray[Any]) -> Float64:
    """Returns the mean of all tokens, (D,) from (n, ..., D), a block of clips at a time."""
    total = np.zeros(tokens.shape[-1])
    for first in range(0, len(tokens), _BLOCK):
        block = tokens[first : first + _BLOCK]
        total += block.reshape(-1, block.shape[-1]).sum(axis=0, dtype=np.float64)
    return total / max(1, int(np.prod(tokens.shape[:-1])))


def upsample(maps: npt.NDArray[Any], size: int, kind: Upsampling) -> Float32:
    """Brings maps to another size.

    Args:
        maps: (n, h, w).
        size: Side of the result, pixels.
        kind: ``bilinear``: pixels are squares, as OpenCV and torch have it by default (LVS, DenseAV).
            ``bilinear_corners``: the centres of the corner pixels stay in place (torch ``align_corners``; EZ-VSL).
            ``bicubic_corners``: the same, cubic (SLAVC).

    Returns:
        float32 (n, size, size); maps of that size already as they are.
    """
    if maps.shape[1:] == (size, size):
        return np.asarray(maps, dtype=np.float32)
    rows, columns = weights(maps.shape[1], size, kind), weights(maps.shape[2], size, kind)
    tall = rows @ maps.astype(np.float64)  # (n, size, w)
    wide = tall.reshape(-1, maps.shape[2]) @ columns.T
    return np.asarray(wide, dtype=np.float32).reshape(len(maps), size, size)


@functools.lru_cache(maxsize=16)
def weights(before: int, after: int, kind: Upsampling) -> Float64:
    """Returns how much of each of ``before`` pixels in a line goes into each of ``after``: (after, before).

    Args:
        before: Pixels there are.
        after: Pixels wanted.
        kind: How they are interpolated.

    Raises:
        InputError: An unknown kind.
    """
    if kind not in UPSAMPLINGS:
        raise unknown("upsampling", kind, UPSAMPLINGS)
    place = np.arange(after, dtype=np.float64)
    if kind == "bilinear":
        place = np.maximum((place + 0.5) * before / after - 0.5, 0)
    else:
        place = place * ((before - 1) / max(after - 1, 1))
    left = np.floor(place).astype(np.int64)
    part = place - left
    if kind == "bicubic_corners":
        taps = [(-1, _far(part + 1)), (0, _near(part)), (1, _near(1 - part)), (2, _far(2 - part))]
    else:
        taps = [(0, 1 - part), (1, part)]
    found = np.zeros((after, before))
    for offset, weight in taps:
        np.add.at(found, (np.arange(after), np.clip(left + offset, 0, before - 1)), weight)
    return found


def _near(x: Float64) -> Float64:
    return ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1


def _far(x: Float64) -> Float64:
    return ((_CUBIC * x - 5 * _CUBIC) * x + 8 * _CUBIC) * x - 4 * _CUBIC


@dataclass(frozen=True)
class HeatMaps:
    """Maps that anyone made.

    Attributes:
        ids: (n,) sample ids, each once.
        maps: (n, h, w), larger where something sounds.
        wrong: (n, h, w) of the same pictures with the sound of another clip; None where there are none.
    """

    ids: list[str]
    maps: npt.NDArray[Any]
    wrong: npt.NDArray[Any] | None = None


def read_heatmaps(path: Path) -> HeatMaps:
    """Reads an .npz with ``id`` (n,) and ``map`` (n, h, w), and perhaps ``wrong_audio`` (n, h, w).

    Raises:
        InputError: It is missing, no .npz, or its arrays do not fit each other.
    """
    valid = "an .npz with id (n,) and map (n, h, w)"
    with opened(path, valid, _ARRAYS) as arrays:
        names = arrays.text()
        check_unique(names)
        found = {name: arrays.read(name) for name in ("map", "wrong_audio") if name in arrays.names}
        for name, array in found.items():
            if array.ndim != 3 or array.dtype.kind not in "fiu" or len(array) != len(names) or 0 in array.shape:
                shape = f"found shape {array.shape} of type {array.dtype}"
                raise InputError(f"{name}: {shape}, valid: ({len(names)}, h, w) numbers.")
            bad = [names[row] for row in range(len(array)) if not np.isfinite(array[row]).all()]
            if bad:
                raise InputError(
                    f"{name}: found values that are not finite in {len(bad)} maps ({', '.join(bad[:NAMED])}), valid:"
                    " finite numbers."
                )
    return HeatMaps(names, found["map"], found.get("wrong_audio"))
