"""How a frame becomes the square that a model sees, and what that does to boxes of the whole frame.

Source: docs/protocol/cavmae_sync.md 5.2: LVS cuts the middle square out and leaves the boxes as they are, EZ-VSL
changes the aspect of the whole frame, which keeps the boxes right.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from avbench.data.corpus.changed import Change, changed
from avbench.errors import InputError
from avbench.files import read_json, sha256_text

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.tasks.localizing.options import LocalizationConfig

Int64 = npt.NDArray[np.int64]
_LOOKED_AT = 8  # frames that tell whether they are whole
log = logging.getLogger("avbench")


@dataclass(frozen=True)
class Stretch(Change):
    """Frames are brought to a square as a whole.

    Attributes:
        size: Side of the square, pixels.
    """

    size: int

    def identity(self, sha256: str) -> str:
        """Returns the identity of the clips with these frames."""
        return sha256_text(f"{sha256} stretched to {self.size}")

    def frame(self, clips: Clips, i: int, k: int) -> npt.NDArray[np.uint8]:
        """Returns frame ``k``, RGB (size, size, 3), its aspect changed (bicubic, antialiased).

        Args:
            clips: The clips.
            i: Which clip.
            k: Which of its frames.
        """
        frame = Image.fromarray(clips.frame(i, k))
        return np.asarray(frame.resize((self.size, self.size), Image.Resampling.BICUBIC))


def framed(clips: Clips, config: LocalizationConfig, size: int) -> Clips:
    """Returns clips with their frames as the model sees them, or before they are cropped.

    Args:
        clips: The clips.
        config: The options.
        size: Side of the model's square, pixels.
    """
    return changed(clips, Stretch(size)) if config.image == "stretch" else clips


def check_frames(clips: Clips, rows: Sequence[int], frames: Int64, config: LocalizationConfig) -> None:
    """Refuses to stretch frames that are squares already, and mentions boxes that do not fit the frames.

    Args:
        clips: As they are stored.
        rows: Clip of each judged sample.
        frames: Its judged frame.
        config: The options.

    Raises:
        InputError: Every frame is a square.
    """
    if config.image == "stretch":
        if not any(_whole(clips, row, frame) for row, frame in zip(rows, frames.tolist(), strict=True)):
            raise InputError("task.image: found stretch, but all stored frames are square; prepare with --crop none.")
    elif config.box_mapping == "stretch":
        looked_at = list(zip(rows, frames.tolist(), strict=True))[:_LOOKED_AT]
        if any(_whole(clips, row, frame) for row, frame in looked_at):
            log.warning("%s; task.image=stretch or task.box_mapping=crop puts them right", _MISPLACED)
        elif _cropped(clips.root):
            log.warning(
                "%s; frames prepared with --crop none and task.image=stretch or task.box_mapping=crop put them right",
                _MISPLACED,
            )


_MISPLACED = "boxes are drawn as fractions of the whole frame, but the model sees its middle square (as LVS)"


def _whole(clips: Clips, row: int, frame: int) -> bool:
    height, width = clips.frame(row, frame).shape[:2]
    return bool(height != width)


def _cropped(root: Path) -> bool:
    """Tells whether a prepared folder says that its frames were cropped."""
    try:
        settings = read_json(root / "prepare.json")["settings"]
        return bool(settings["crop"] == "centre")
    except (InputError, KeyError, TypeError):
        return False


def aspects(clips: Clips, rows: Sequence[int], frames: Int64) -> npt.NDArray[np.float64]:
    """Returns width over height of the judged frames, (n,).

    Args:
        clips: The clips.
        rows: (n,) which of them are judged.
        frames: (n,) which frame of each.

    Raises:
        InputError: Every frame is a square.
    """
    shapes = np.array([clips.frame(r, k).shape[:2] for r, k in zip(rows, frames.tolist(), strict=True)], np.float64)
    found = shapes[:, 1] / shapes[:, 0]
    if (found == 1).all():
        raise InputError(
            "task.box_mapping: found crop, but all stored frames are square already; prepare them with --crop none."
        )
    return np.asarray(found)
