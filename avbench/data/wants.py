"""What an encoder wants to hear and see of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from avbench.data.media.frame_grid import FrameGrid

_STORED = 224  # short side of pictures that are wanted as they are, pixels

_SMALLEST = 16  # that is stored


@dataclass(frozen=True, kw_only=True)
class Wants:
    """Sound and pictures as an encoder takes them.

    Attributes:
        modalities: ``audio``, ``visual`` or both.
        sample_rate: Samples per second.
        channels: 1 or 2.
        seconds: The longest sound; None: all of it.
        frames: Pictures a clip.
        image: Height and width of a picture; None: as stored.
    """

    modalities: tuple[str, ...]
    sample_rate: int
    channels: int
    seconds: float | None
    frames: int
    image: tuple[int, int] | None

    @property
    def grid(self) -> FrameGrid:
        """The pictures' times: in the middle of as many equal parts of the clip."""
        return FrameGrid(self.frames, "centre")

    def preparation(self, stored: int) -> dict[str, Any]:
        """Returns how videos are prepared for it: nothing is lost that it would hear or see.

        Args:
            stored: Frames of a clip to store, where these are more than it sees.
        """
        return {
            "n_frames": max(self.frames, stored),
            "sampling": "centre",
            "size": max(_SMALLEST, *(self.image or (_STORED,))),
            "crop": "none",
            "sample_rate": self.sample_rate,
            "channels": "mix" if self.channels == 1 else "stereo",
        }
