"""Clips cut into seconds: each second of a clip is a clip of its own, with its sound and the pictures shown in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.data.corpus.clips import Clips, hash_ids
from avbench.files import canonical_json, sha256_text


class SecondClips:
    """The seconds of clips, in order; see :class:`avbench.data.corpus.clips.Clips`.

    Second ``s`` of clip ``ID`` is called ``ID@s``. Sound before a clip's start or after its end is silence.

    Args:
        clips: The clips.
        count: Seconds of each.
        context: Seconds of sound that are heard around the middle of each.
        rows: Which of them, counted through all clips; None: all.
    """

    def __init__(self, clips: Clips, count: int, context: float = 1.0, rows: NDArray[np.int64] | None = None) -> None:
        self.root: Path = clips.root
        self.class_names = clips.class_names
        self._clips, self._count, self._context = clips, count, context
        self._rows = np.arange(len(clips) * count) if rows is None else rows
        names, splits = clips.ids, clips.splits
        self.ids: Sequence[str] = [f"{names[row // count]}@{row % count}" for row in self._rows.tolist()]
        self.splits: Sequence[str] = [splits[row // count] for row in self._rows.tolist()]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def sha256(self) -> str:
        """Identity of the content: that of the clips, and how they are cut."""
        rows = "" if len(self) == len(self._clips) * self._count else self._rows.tolist()
        return sha256_text(canonical_json([self._clips.sha256, self._count, self._context, rows]))

    def _place(self, i: int) -> tuple[int, int]:
        """Returns which clip, and which second of it."""
        return divmod(int(self._rows[i]), self._count)

    def labels(self, i: int) -> tuple[str, ...]:
        """Returns the class names of the clip."""
        return self._clips.labels(self._place(i)[0])

    def label_codes(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Returns the labels of all seconds, those of their clips."""
        return self._clips.select(self._rows // self._count).label_codes()

    def duration(self, i: int) -> float:
        """Returns how much is heard, seconds."""
        return self._context

    def waveform(self, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the sound around the second's middle, mono (samples,), and its sample rate."""
        clip, second = self._place(i)
        sound, rate = self._clips.waveform(clip)
        return self._cut(sound, rate, second), rate

    def channels(self, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the same of each channel, (samples,) or (2, samples), and the sample rate."""
        clip, second = self._place(i)
        sound, rate = getattr(self._clips, "channels", self._clips.waveform)(clip)
        return self._cut(sound, rate, second), rate

    def _cut(self, sound: NDArray[np.float32], rate: int, second: int) -> NDArray[np.float32]:
        length = max(1, round(self._context * rate))
        start = round((second + 0.5) * rate) - length // 2
        kept = sound[..., max(0, start) : max(0, start + length)]
        before = min(length, max(0, -start))
        sides = [(0, 0)] * (sound.ndim - 1)
        return np.pad(kept, [*sides, (before, length - before - kept.shape[-1])])

    def _shown(self, i: int) -> list[int]:
        clip, second = self._place(i)
        return frames_in(frame_times(self._clips, clip), second)

    def n_frames(self, i: int) -> int:
        """Returns how many frames are shown in the second; at least the nearest one of those there are."""
        return len(self._shown(i))

    def middle(self, i: int) -> int:
        """Returns the frame in the middle of those."""
        return self.n_frames(i) // 2

    def frame_times(self, i: int) -> list[float]:
        """Returns when each frame was captured, seconds from the start of what is heard."""
        clip, second = self._place(i)
        times, start = frame_times(self._clips, clip), second + 0.5 - self._context / 2
        return [times[k] - start for k in self._shown(i)]

    def frame(self, i: int, k: int) -> NDArray[np.uint8]:
        """Returns frame ``k`` of those shown in the second, RGB (H, W, 3); beyond the last one, the last one."""
        shown = self._shown(i) or [0]
        return self._clips.frame(self._place(i)[0], shown[min(k, len(shown) - 1)])

    def select(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> SecondClips:
        """Returns the seconds at ``indices``, in that order."""
        return SecondClips(self._clips, self._count, self._context, self._rows[np.asarray(indices, np.int64)])

    def ids_sha256(self) -> str:
        """Returns the hash of the sorted ids."""
        return hash_ids(self.ids)


def frame_times(clips: Clips, i: int) -> list[float]:
    """Returns when the frames of a clip are shown, seconds; where it is not known, as if spread evenly."""
    stored = getattr(clips, "frame_times", None)
    times: list[float] = list(stored(i)) if stored is not None else []
    count = clips.n_frames(i)
    return times or [clips.duration(i) * (k + 0.5) / count for k in range(count)]


def frames_in(times: Sequence[float], second: int) -> list[int]:
    """Returns the frames shown in a second, counted from 0; where there is none, the one nearest to its middle."""
    found = [k for k, time in enumerate(times) if second <= time < second + 1]
    return found or sorted(range(len(times)), key=lambda k: abs(times[k] - (second + 0.5)))[:1]
