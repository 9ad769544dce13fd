"""Masks of the embedded set: where the sounding object is, at every frame of the video (docs/data.md)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avbench.data.annotations.sample import Annotations, Sample
from avbench.errors import InputError
from avbench.store.npz import Npz

_TIMES = "times"
_VALID = "masks.npz of avbench data make soundshapes"


class MaskFile:
    """The file ``masks.npz`` of the embedded set, read a clip at a time.

    Args:
        path: The file.

    Raises:
        InputError: It is missing or something else.
    """

    def __init__(self, path: Path) -> None:
        self._arrays = Npz(path, [_TIMES], _VALID)
        self.times: npt.NDArray[np.float64] = self._arrays.read(_TIMES)  # (frames,) s
        if self.times.ndim != 1 or self.times.dtype.kind not in "fiu" or not len(self.times):
            raise InputError(f"{path}: {_TIMES}: found shape {self.times.shape}, valid: (frames,) seconds; {_VALID}.")
        self.path = path
        self._known = set(self._arrays.names) - {_TIMES}

    def __contains__(self, clip: str) -> bool:
        return clip in self._known

    @property
    def clips(self) -> list[str]:
        """Ids of the clips it has masks of, sorted."""
        return sorted(self._known)

    def mask(self, clip: str, time: float) -> npt.NDArray[np.float32]:
        """Returns the mask of the frame nearest to ``time`` (seconds), (H, W), 0 or 1.

        Raises:
            InputError: There is none of this clip, or none as they are made.
        """
        if clip not in self._known:
            raise InputError(f"{self.path}: no mask of clip '{clip}'; evaluate the clips that were made with it.")
        frame = int(np.abs(self.times - time).argmin())
        masks = self._arrays.read(clip)
        if masks.ndim != 3 or masks.dtype != np.uint8 or len(masks) != len(self.times) or 0 in masks.shape:
            raise InputError(f"{self.path}: {clip}: found shape {masks.shape} of type {masks.dtype}, valid: {_VALID}.")
        return np.asarray(np.unpackbits(masks[frame], axis=-1), dtype=np.float32)


class ClipMask:
    """The ground truth of one clip at one time."""

    def __init__(self, file: MaskFile, clip: str, time: float) -> None:
        self.file, self.clip, self.time = file, clip, time

    def __call__(self, size: int, aspect: float) -> npt.NDArray[np.float32]:
        """Draws it; see :data:`avbench.data.annotations.sample.Truth`."""
        return resampled(self.file.mask(self.clip, self.time), size)


def resampled(mask: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """Returns a mask at another size by nearest neighbour."""
    rows, columns = ((np.arange(size) * 2 + 1) * side // (2 * size) for side in mask.shape)
    return np.asarray(mask[rows[:, None], columns[None, :]])


def read_soundshapes(
    source: Path | MaskFile, ids: Sequence[str] | None = None, times: Sequence[float] | None = None
) -> Annotations:
    """Reads the masks of clips at the times of the frames that are judged.

    Args:
        source: ``masks.npz``, or the file opened.
        ids: The clips; those without a mask are left out. None: all.
        times: When each clip's judged frame is shown, seconds; None: in the middle of the video.

    Raises:
        InputError: The file is missing or something else, or has none of the clips.
    """
    file = source if isinstance(source, MaskFile) else MaskFile(source)
    chosen = file.clips if ids is None else list(ids)
    middle = float(file.times.mean())
    samples = [
        Sample(id=clip, truth=ClipMask(file, clip, time), time=time)
        for clip, time in zip(chosen, [middle] * len(chosen) if times is None else times, strict=True)
        if clip in file
    ]
    if not samples:
        raise InputError(f"{file.path}: none of {len(chosen)} clips has a mask; it belongs to another set.")
    return Annotations("soundshapes", samples, len(file.mask(samples[0].id, 0.0)))
