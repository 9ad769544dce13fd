"""What a task is given: a model with weights, and the clips it is judged on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from avbench.data.corpus.clips import Clips
    from avbench.methods.base import Method
    from avbench.running.request import RunConfig
    from avbench.store.features import Features

Part = Literal["train", "evaluated"]


@dataclass(frozen=True)
class Pooled:
    """One vector for each stream, clip and frame, after the stream's final LayerNorm, not normalised; memory-mapped.

    A stream is None where the method has none. F is 1 but for methods that look at all frames (Sync).
    """

    ids: list[str]
    audio: npt.NDArray[np.float32] | None  # (n, F, D): mean token of the sound alone; Sync: its global token
    visual: npt.NDArray[np.float32] | None  # (n, F, D): the same of the frame alone
    joint: npt.NDArray[np.float32] | None  # (n, F, D): mean token of both together

    def stream(self, name: str) -> npt.NDArray[np.float32] | None:
        """Returns the vectors of ``audio``, ``visual`` or ``joint``, (n, F, D)."""
        vectors: npt.NDArray[np.float32] | None = getattr(self, name)
        return vectors


@dataclass(frozen=True)
class Tokens:
    """Patch tokens of the frames, and vectors of the sounds, after the streams' final LayerNorms; memory-mapped."""

    ids: list[str]
    visual: npt.NDArray[np.float32]  # (n, F, rows * columns, D) patches, row by row
    audio: npt.NDArray[np.float32]  # (n, F, D) mean patch of the sound
    visual_global: npt.NDArray[np.float32] | None  # (n, F, D) global token, where the method has one
    audio_global: npt.NDArray[np.float32] | None  # (n, F, D)
    grid: tuple[int, int]  # rows and columns of the patches


class Subject(Protocol):
    """A model with weights, and the clips it is judged on; everything is computed when first asked for.

    Attributes:
        config: The resolved configuration of the run.
        folder: This evaluation's own folder, for work that is long enough to be resumed.
        device: Where to compute.
        progress: Whether to show bars.
    """

    config: RunConfig
    folder: Path
    device: str
    progress: bool

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities the method takes."""
        ...

    @property
    def train(self) -> Clips:
        """The clips of the training split.

        Raises:
            InputError: The data has none.
        """
        ...

    @property
    def tune(self) -> Clips | None:
        """The data's own tuning split, where it has one."""
        ...

    @property
    def evaluated(self) -> Clips:
        """The clips that are judged."""
        ...

    def method(self) -> Method:
        """Returns the method with its weights, a new object, in evaluation mode on :attr:`device`."""
        ...

    def training_log(self) -> dict[str, Any] | None:
        """Returns what the pretraining says of itself, such as the last row of its losses; None where there is none."""
        ...

    def embeddings(self) -> Features:
        """Returns the retrieval embeddings of the evaluated clips."""
        ...

    def pooled(self, part: Part) -> Pooled:
        """Returns one vector a stream for each clip of a split."""
        ...

    def tokens(self, part: Part) -> Tokens:
        """Returns patch tokens and sound vectors for each clip of a split."""
        ...

    def variant(self, **sections: Mapping[str, Any]) -> Subject:
        """Returns the same run with other settings, such as ``train={"pairing": "shuffled"}``."""
        ...
