"""Which frames of a prepared set a run sees: those at the times it asks for, or none.

A grid is a number of frames and a rule for their times (``data.n_frames``, ``data.sampling``). Where the grid asked for
is a part of the one that is stored, its frames are taken from it; anything else is refused before a run begins, as it
would be the number of other frames than those named.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.config import InputConfig
from avbench.data.corpus.clips import Clips, StoredClips, modalities_of
from avbench.data.media.frame_grid import FrameGrid
from avbench.data.media.prepare_settings import PrepareSettings
from avbench.errors import InputError
from avbench.files import canonical_json, sha256_text

_MOST = 512  # frames that a clip can be prepared with


def to_store(wanted: FrameGrid, inputs: InputConfig) -> FrameGrid:
    """Returns the grid to prepare videos with: the one asked for, and with it the frame that evaluation looks at.

    An odd number of even frames has none in the middle of the clip; twice as many have the same and that one.
    """
    middle = inputs.eval_frame < 0 and not inputs.segment_length
    double = middle and wanted.sampling == "even" and wanted.count % 2 == 1 and 2 * wanted.count <= _MOST
    return FrameGrid(2 * wanted.count, "even") if double else wanted


def eval_frame(clips: Clips, i: int, inputs: InputConfig) -> int:
    """Returns which frame of clip ``i`` is judged where one is (``input.eval_frame``).

    Args:
        clips: The clips.
        i: Which of them.
        inputs: Says which frame is judged.
    """
    count = moments(clips, i)
    if inputs.eval_frame >= 0:
        return min(inputs.eval_frame, count - 1)
    middle: Callable[[int], int] | None = getattr(clips, "middle", None)
    return count // 2 if middle is None or inputs.segment_length else middle(i)


def moments(clips: Clips, i: int) -> int:
    """Returns how often clip ``i`` is looked at, and listened to where a sound is heard around each frame; at least 1.

    Sound alone is heard around the times at which frames would be.
    """
    found: Callable[[int], int] | None = getattr(clips, "moments", None)
    return max(1, clips.n_frames(i) if found is None else found(i))


def framed(clips: StoredClips, wanted: FrameGrid, source: Path, *, nearest: bool = False) -> Clips:
    """Returns the clips with the frames asked for, and no others.

    Args:
        clips: The clips.
        wanted: The frames.
        source: What to call the clips in an error.
        nearest: Take those nearest to the times asked for, where they do not have these.

    Raises:
        InputError: Some clips do not have these frames.
    """
    grids = [grid for grid in clips.grids() if grid.count]  # a clip without any is named when it is read
    places = {grid: grid.places(wanted, nearest=nearest) for grid in grids}
    lacking = next((grid for grid, found in places.items() if found is None), None)
    if lacking is not None:
        rule = f" data.sampling={lacking.sampling}" if lacking.sampling else ""
        raise InputError(
            f"{source}: holds {lacking}, found data.n_frames={wanted.count} data.sampling={wanted.sampling}, that is"
            f" {wanted}, which are not among them; give --set data.n_frames={lacking.count}{rule}, or prepare the"
            f" videos with avbench data prepare --n-frames {wanted.count} --sampling {wanted.sampling}."
        )
    if grids and all(grid.still or grid.count == wanted.count for grid in grids):
        return clips
    return FramedClips(clips, wanted, nearest=nearest)


class FramedClips:
    """Clips seen at some of their frames only; see :class:`avbench.data.corpus.clips.Clips`.

    Frame ``k`` is the one at the ``k``-th time asked for. Where the middle of the clip is none of these times but
    stored, it is there as one frame more, which :meth:`middle` names and :meth:`n_frames` does not count.

    Args:
        clips: The clips as stored; the frames asked for are among theirs.
        wanted: The frames asked for.
        nearest: As for :func:`framed`.
    """

    def __init__(self, clips: StoredClips, wanted: FrameGrid, *, nearest: bool = False) -> None:
        self.root = clips.root
        self.class_names = clips.class_names
        self.ids: Sequence[str] = clips.ids
        self.splits: Sequence[str] = clips.splits
        self._clips = clips
        self._wanted = wanted
        self._nearest = nearest
        self._places: dict[FrameGrid, list[int]] = {}
        for grid in clips.grids():
            found = grid.places(wanted, nearest=nearest)
            if found is not None:
                kept = found.tolist()
                self._places[grid] = kept + [grid.middle(wanted)] * (grid.middle(wanted) not in kept)

    def __len__(self) -> int:
        return len(self._clips)

    @functools.cached_property
    def sha256(self) -> str:
        """Identity of the content: that of the clips, and which of their frames are seen."""
        places = sorted([str(grid), kept] for grid, kept in self._places.items())
        return sha256_text(canonical_json([self._clips.sha256, self._wanted.count, places]))

    @property
    def stored(self) -> StoredClips:
        """The clips with all their frames."""
        return self._clips

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the clips have."""
        return modalities_of(self._clips)

    @property
    def prepared(self) -> PrepareSettings | None:
        """How the clips were prepared."""
        return self._clips.prepared

    def labels(self, i: int) -> tuple[str, ...]:
        """Returns the class names of clip ``i``."""
        return self._clips.labels(i)

    def label_codes(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Returns the labels of all clips as offsets and indices of :attr:`class_names`."""
        return self._clips.label_codes()

    def duration(self, i: int) -> float:
        """Returns the length of clip ``i`` in seconds."""
        return self._clips.duration(i)

    def n_frames(self, i: int) -> int:
        """Returns how many frames are seen; 0 of sound alone."""
        return self._wanted.count if "visual" in self.modalities else 0

    def moments(self, i: int) -> int:
        """See :func:`moments`."""
        return self._wanted.count

    def middle(self, i: int) -> int:
        """Returns the frame of clip ``i`` nearest to its middle."""
        grid = self._clips.grid(i)
        kept = self._places.get(grid, [0])
        return kept.index(grid.middle(self._wanted)) if grid.count else 0

    def frame_times(self, i: int) -> list[float]:
        """Returns when each frame was captured, seconds from the clip's start; empty where it is not known."""
        stored: Any = getattr(self._clips, "frame_times", None)
        times: list[float] = stored(i) if stored is not None else []
        return [times[min(k, len(times) - 1)] for k in self._of(i)] if times else []

    def _of(self, i: int) -> list[int]:
        return self._places.get(self._clips.grid(i), [0])

    def waveform(self, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the mono waveform (samples,) in [-1, 1] and its sample rate."""
        return self._clips.waveform(i)

    def channels(self, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the waveform as it is stored, (samples,) or (2, samples), and its sample rate."""
        stored: Any = getattr(self._clips, "channels", self._clips.waveform)
        found: tuple[NDArray[np.float32], int] = stored(i)
        return found

    def frame(self, i: int, k: int) -> NDArray[np.uint8]:
        """Returns frame ``k`` as RGB (H, W, 3); beyond the last one, the last one there is."""
        kept = self._of(i)
        return self._clips.frame(i, kept[k] if k < len(kept) else kept[self._wanted.count - 1])

    def select(self, indices: Sequence[int] | NDArray[np.integer]) -> FramedClips:
        """Returns the clips at ``indices``, in that order."""
        return FramedClips(self._clips.select(indices), self._wanted, nearest=self._nearest)

    def ids_sha256(self) -> str:
        """Returns the hash of the sorted ids."""
        return self._clips.ids_sha256()
