"""The corpus protocol: what every source of clips offers, whatever its files look like."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from avbench.config import MODALITIES
from avbench.files import sha256_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from avbench.data.media.frame_grid import FrameGrid
    from avbench.data.media.prepare_settings import PrepareSettings

MANIFEST = "manifest.parquet"


class Clips(Protocol):
    """Clips in a fixed order. Columns are cheap for millions of rows; waveforms and frames are read on demand.

    Attributes:
        root: The prepared folder, or the folder of the authors' manifest.
        class_names: All classes, in the order of their indices.
    """

    root: Path
    class_names: tuple[str, ...]

    def __len__(self) -> int: ...

    @property
    def sha256(self) -> str:
        """Identity of the content of these clips (of the selection, not of the whole source)."""
        ...

    @property
    def ids(self) -> Sequence[str]:
        """Each clip's id."""
        ...

    @property
    def splits(self) -> Sequence[str]:
        """Each clip's split; ``""`` where the source names none."""
        ...

    def labels(self, i: int) -> tuple[str, ...]:
        """Returns the class names of clip ``i``."""
        ...

    def label_codes(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Returns the labels of all clips at once, as indices of :attr:`class_names`.

        Returns:
            Offsets (n + 1,) and codes (labels in all,): clip ``i`` has ``codes[offsets[i] : offsets[i + 1]]``, in the
            order of :meth:`labels`.
        """
        ...

    def duration(self, i: int) -> float:
        """Returns the length of clip ``i`` in seconds; NaN where only decoding would tell."""
        ...

    def n_frames(self, i: int) -> int:
        """Returns how many frames clip ``i`` has; 0 where there are none, as of sound alone."""
        ...

    def waveform(self, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the mono waveform (samples,) in [-1, 1] and its sample rate.

        Raises:
            RunError: It cannot be read; the message names clip and path.
        """
        ...

    def frame(self, i: int, k: int) -> NDArray[np.uint8]:
        """Returns frame ``k`` as RGB (H, W, 3); beyond the last stored frame, the last one there is.

        Raises:
            RunError: It cannot be read; the message names clip and path.
        """
        ...

    def select(self, indices: Sequence[int] | NDArray[np.integer]) -> Clips:
        """Returns the clips at ``indices``, in that order."""
        ...

    def ids_sha256(self) -> str:
        """Returns the hash of the sorted ids: equal for equal sets of clips, whatever their order."""
        ...


class StoredClips(Clips, Protocol):
    """Clips on disk, whose frames have times."""

    def grid(self, i: int) -> FrameGrid:
        """Returns how many frames clip ``i`` has, and when."""
        ...

    def grids(self) -> Sequence[FrameGrid]:
        """Returns the different grids of all clips."""
        ...

    @property
    def prepared(self) -> PrepareSettings | None:
        """How the clips were prepared, where that was recorded."""
        ...

    def select(self, indices: Sequence[int] | NDArray[np.integer]) -> StoredClips:
        """Returns the clips at ``indices``, in that order."""
        ...


def modalities_of(clips: Clips) -> tuple[str, ...]:
    """Returns what every one of some clips has: ``audio``, ``visual``, or, where they do not say, both."""
    found: tuple[str, ...] = getattr(clips, "modalities", MODALITIES)
    return found


def hash_ids(ids: Iterable[str]) -> str:
    """Returns the SHA-256 of the sorted, newline-joined ids."""
    return sha256_text("\n".join(sorted(ids)))
