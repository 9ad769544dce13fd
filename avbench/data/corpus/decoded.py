"""Windows of one video, decoded and in memory, as clips: what a model embeds without preparing a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avbench.config import MODALITIES
from avbench.data.corpus.clips import hash_ids
from avbench.data.media.decode import DecodedSpan, decode_windows
from avbench.data.media.prepare_settings import PrepareSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray


class DecodedClips:
    """Decoded windows; see :class:`avbench.data.corpus.clips.Clips`.

    Args:
        root: The video.
        windows: Its windows, in order of time.
    """

    class_names: tuple[str, ...] = ()

    def __init__(self, root: Path, windows: Sequence[DecodedSpan]) -> None:
        self.root = root
        self.windows = list(windows)
        self.ids: Sequence[str] = [f"{root.stem}@{window.start:.2f}" for window in windows]
        self.splits: Sequence[str] = [""] * len(self.windows)

    @classmethod
    def decode(cls, path: Path, settings: PrepareSettings) -> tuple[DecodedClips, list[str]]:
        """Decodes a video; returns its usable windows, and for the others when and why not."""
        windows: list[DecodedSpan] = []
        rejected: list[str] = []
        for found in decode_windows(path, settings):
            if isinstance(found, DecodedSpan):
                windows.append(found)
            else:
                rejected.append(f"{found[0]:.1f} s: {found[1]}")
        return cls(path, windows), rejected

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def sha256(self) -> str:
        """Identity by name and time only: nothing decoded here is kept."""
        return self.ids_sha256()

    def labels(self, i: int) -> tuple[str, ...]:
        """Returns no labels."""
        return ()

    def label_codes(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Returns no labels, of all windows."""
        return np.zeros(len(self) + 1, np.int64), np.zeros(0, np.int32)

    def duration(self, i: int) -> float:
        """Returns the length of window ``i`` in seconds."""
        return self.windows[i].duration

    def n_frames(self, i: int) -> int:
        """Returns how many frames window ``i`` has."""
        return len(self.windows[i].frames)

    def frame_times(self, i: int) -> list[float]:
        """Returns when each frame of window ``i`` was captured, seconds from its start."""
        return self.windows[i].frame_times

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the windows have."""
        heard = all(window.samples is not None for window in self.windows)
        seen = all(window.frames for window in self.windows)
        return tuple(name for name, there in zip(MODALITIES, (heard, seen), strict=True) if there)

    def waveform(self, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the mono waveform (samples,) in [-1, 1] and its sample rate; two channels are averaged."""
        found, rate = self.channels(i)
        return found if found.ndim == 1 else found.mean(axis=0), rate

    def channels(self, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the waveform as it was decoded, (samples,) or (2, samples), and its sample rate."""
        return self.windows[i].waveform.T, self.windows[i].sample_rate

    def frame(self, i: int, k: int) -> NDArray[np.uint8]:
        """Returns frame ``k`` as RGB (H, W, 3); beyond the last one, the last one."""
        return np.asarray(self.windows[i].frames[min(k, self.n_frames(i) - 1)])

    def select(self, indices: Sequence[int] | NDArray[np.integer]) -> DecodedClips:
        """Returns the windows at ``indices``, in that order."""
        return DecodedClips(self.root, [self.windows[int(i)] for i in indices])

    def ids_sha256(self) -> str:
        """Returns the hash of the sorted ids."""
        return hash_ids(self.ids)
