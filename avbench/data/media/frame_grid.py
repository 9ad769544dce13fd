"""How many frames a clip has, and when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avbench.config import Sampling

_RULES: dict[Sampling, str] = {"even": "i*D/{n}", "centre": "(i+.5)*D/{n}", "ends": "i*D/{last}"}
_SAME = 1e-6  # times, as shares of the clip, that differ by less are equal


def fractions(count: int, sampling: Sampling) -> NDArray[np.float64]:
    """Returns when the frames of a clip are, as shares of its duration, (count,)."""
    index = np.arange(count, dtype=np.float64)
    if sampling == "ends":
        return index / max(count - 1, 1)
    return (index + (0.5 if sampling == "centre" else 0.0)) / max(count, 1)


@dataclass(frozen=True)
class FrameGrid:
    """A number of frames and their times.

    Attributes:
        count: Frames a clip.
        sampling: The rule; None where nothing tells it, which is then taken to be the one asked for.
    """

    count: int
    sampling: Sampling | None

    def __str__(self) -> str:
        frames = f"{self.count} frame{'s' * (self.count != 1)} a clip"
        if self.sampling is None:
            return f"{frames} at times that it does not tell"
        rule = _RULES[self.sampling].format(n=self.count, last=max(self.count - 1, 1))
        return f"{frames} at {self.sampling} times ({rule})"

    @property
    def still(self) -> bool:
        """Whether it is one picture without a time, which stands for every time."""
        return self.count == 1 and self.sampling is None

    def places(self, wanted: FrameGrid, *, nearest: bool = False) -> NDArray[np.int64] | None:
        """Returns which of these frames are those of another grid, (wanted.count,); None: they are not among them.

        Args:
            wanted: The other grid.
            nearest: Take those nearest to its times, where they are not among them.
        """
        if self.still:
            return np.zeros(wanted.count, np.int64)
        if not self.count or wanted.sampling is None:
            return None
        stored = fractions(self.count, self.sampling or wanted.sampling)
        distance = np.abs(fractions(wanted.count, wanted.sampling)[:, None] - stored)  # (wanted, stored)
        found = distance.argmin(axis=1)
        return found if nearest or distance.min(axis=1).max() < _SAME else None

    def middle(self, wanted: FrameGrid) -> int:
        """Returns which of these frames is nearest to the middle of the clip; of two, the later one."""
        distance = np.abs(fractions(self.count, self.sampling or wanted.sampling or "even") - 0.5)
        return int(np.flatnonzero(distance < distance.min() + _SAME)[-1]) if self.count else 0
