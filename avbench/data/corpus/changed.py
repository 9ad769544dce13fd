"""Clips whose sounds or pictures are changed as they are read: what they would be with another sound, or damaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from avbench.data.corpus.clips import Clips, modalities_of
from avbench.data.corpus.frames import moments
from avbench.files import canonical_json, sha256_text


@dataclass(frozen=True)
class Change:
    """What becomes of a clip; here nothing. A frozen dataclass of its settings, which are its identity."""

    def __str__(self) -> str:
        return type(self).__name__.lower()

    def check(self, clips: Clips) -> None:
        """Refuses clips that cannot be changed so; here none.

        Raises:
            InputError: There are such clips.
        """
        return

    def identity(self, sha256: str) -> str:
        """Returns the identity of clips that are changed, from their own."""
        return sha256_text(canonical_json([sha256, repr(self)]))

    def modalities(self, clips: Clips) -> tuple[str, ...]:
        """Returns what the clips then have."""
        return modalities_of(clips)

    def waveform(self, clips: Clips, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the sound of clip ``i``, (samples,), and its sample rate."""
        return clips.waveform(i)

    def n_frames(self, clips: Clips, i: int) -> int:
        """Returns how many frames clip ``i`` has."""
        return clips.n_frames(i)

    def frame(self, clips: Clips, i: int, k: int) -> NDArray[np.uint8]:
        """Returns frame ``k`` of clip ``i``, (H, W, 3).

        Args:
            clips: The clips.
            i: Which clip.
            k: Which of its frames.
        """
        return clips.frame(i, k)


class DelegatedClips:
    """Clips of which something is another; all else is their own."""

    def __init__(self, clips: Clips) -> None:
        self._clips = clips

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of an object that is being copied to another process, and has nothing yet
            raise AttributeError(name)
        return getattr(self._clips, name)


class _Side(DelegatedClips):
    """Clips of which one channel is the sound."""

    def __init__(self, clips: Clips, side: int) -> None:
        super().__init__(clips)
        self._side = side

    def waveform(self, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the channel (samples,), or the sound where it has but one, and its sample rate."""
        sound, rate = self._clips.channels(i)  # type: ignore[attr-defined]  # of clips that have it
        return sound if sound.ndim == 1 else sound[self._side], rate


class _ChangedClips(DelegatedClips):
    """See :func:`changed`."""

    def __init__(self, clips: Clips, change: Change) -> None:
        super().__init__(clips)
        self._change = change

    def __len__(self) -> int:
        return len(self._clips)

    @property
    def sha256(self) -> str:
        """Identity of the content: that of the clips, and how they are changed."""
        return self._change.identity(self._clips.sha256)

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the clips have."""
        return self._change.modalities(self._clips)

    def waveform(self, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the mono waveform (samples,) and its sample rate."""
        return self._change.waveform(self._clips, i)

    def channels(self, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the sound, (samples,) or (2, samples), each channel changed, and its sample rate."""
        stored = getattr(self._clips, "channels", None)
        if stored is None or stored(i)[0].ndim == 1:
            return self.waveform(i)
        sides = [self._change.waveform(cast(Clips, _Side(self._clips, side)), i) for side in range(2)]
        return np.stack([sound for sound, _ in sides]), sides[0][1]

    def n_frames(self, i: int) -> int:
        """Returns how many frames clip ``i`` has."""
        return self._change.n_frames(self._clips, i)

    def moments(self, i: int) -> int:
        """Returns how often clip ``i`` is looked at, or listened to; see :mod:`avbench.data.corpus.frames`."""
        return moments(self._clips, i)

    def frame(self, i: int, k: int) -> NDArray[np.uint8]:
        """Returns frame ``k`` as RGB (H, W, 3)."""
        return self._change.frame(self._clips, i, k)

    def select(self, indices: Sequence[int] | NDArray[np.integer]) -> Clips:
        """Returns the clips at ``indices``, in that order."""
        return changed(self._clips.select(indices), self._change)


def changed(clips: Clips, change: Change) -> Clips:
    """Returns clips as a change leaves them; see :class:`avbench.data.corpus.clips.Clips`."""
    return cast(Clips, _ChangedClips(clips, change))
