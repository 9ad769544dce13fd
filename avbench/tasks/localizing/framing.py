"""How a frame becomes the square that a model sees, and what that does to boxes of the whole frame.

Source: docs/protocol/cavmae_sync.md 5.2: LVS cuts the middle square out and leaves the boxes as they are, EZ-VSL
changes the aspect of the whole frame, which keeps the boxes right.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from avbench.errors import InputError
from avbench.files import read_json, write_json

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.tasks.localizing.options import LocalizationConfig
    from avbench.tasks.subject import Part, Subject, Tokens

Int64 = npt.NDArray[np.int64]
_DONE = "done.json"
_LOOKED_AT = 8  # frames that tell whether they are whole
log = logging.getLogger("avbench")


class Stretched:
    """Clips whose frames are brought to a square as a whole; all else is theirs (the protocol ``Clips``).

    Args:
        clips: The clips.
        size: Side of the square, pixels.
    """

    def __init__(self, clips: Clips, size: int) -> None:
        self._clips = clips
        self._size = size

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # also while a reader's process is sent one: it has no clips yet
            raise AttributeError(name)
        return getattr(self._clips, name)

    def __len__(self) -> int:
        return len(self._clips)

    def frame(self, i: int, k: int) -> npt.NDArray[np.uint8]:
        """Returns frame ``k``, RGB (size, size, 3), its aspect changed (bicubic, antialiased)."""
        frame = Image.fromarray(self._clips.frame(i, k))
        return np.asarray(frame.resize((self._size, self._size), Image.Resampling.BICUBIC))

    def select(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> Stretched:
        """Returns the clips at ``indices``, in that order."""
        return Stretched(self._clips.select(indices), self._size)


def seen(subject: Subject, config: LocalizationConfig, part: Part = "evaluated") -> Clips:
    """Returns the clips of a split with their frames as the model sees them, or before they are cropped.

    Args:
        subject: The model and its clips.
        config: The task's options.
        part: Which split.
    """
    clips = subject.evaluated if part == "evaluated" else subject.train
    if config.image == "crop":
        return clips
    return cast("Clips", Stretched(clips, subject.config.input.image_size))


def tokens_of(subject: Subject, config: LocalizationConfig, part: Part = "evaluated") -> Tokens:
    """Returns the tokens of a split; of stretched frames they are this evaluation's own, and not shared.

    Args:
        subject: The model and its clips.
        config: The task's options.
        part: Which split.

    Raises:
        RunError: A clip cannot be read.
    """
    if config.image == "crop":
        return subject.tokens(part)
    from avbench.running import extraction

    clips, run = seen(subject, config, part), subject.config
    folder = subject.folder / f"stretched_{part}"
    if not (folder / _DONE).exists():
        extraction.extract(
            "tokens", subject.method(), clips, run, folder, device=subject.device, progress=subject.progress
        )
        write_json(folder / _DONE, {"n": len(clips)})
    side = run.input.image_size // run.model.patch_size
    return extraction.tokens(folder, clips, (side, side))


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
