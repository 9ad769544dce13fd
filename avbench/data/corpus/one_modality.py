"""Clips that have both, of which the sound or the pictures alone are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from avbench.config import HAS
from avbench.data.corpus.changed import Change, changed
from avbench.data.corpus.clips import Clips, modalities_of
from avbench.errors import InputError, RunError

if TYPE_CHECKING:
    from avbench.config import Modality


@dataclass(frozen=True)
class OneModality(Change):
    """The other is not there: nobody is given anything in its place.

    Attributes:
        modality: ``audio`` or ``visual``.
    """

    modality: str

    def modalities(self, clips: Clips) -> tuple[str, ...]:
        """Returns the one."""
        return (self.modality,)

    def waveform(self, clips: Clips, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the sound of clip ``i`` and its sample rate.

        Raises:
            RunError: It is not used.
        """
        self._refuse("audio", clips.ids[i])
        return clips.waveform(i)

    def n_frames(self, clips: Clips, i: int) -> int:
        """Returns how many frames clip ``i`` has."""
        return clips.n_frames(i) if self.modality == "visual" else 0

    def frame(self, clips: Clips, i: int, k: int) -> NDArray[np.uint8]:
        """Returns a frame of clip ``i``.

        Args:
            clips: The clips.
            i: Which clip.
            k: Which of its frames.

        Raises:
            RunError: It is not used.
        """
        self._refuse("visual", clips.ids[i])
        return clips.frame(i, k)

    def _refuse(self, asked: str, clip: str) -> None:
        if asked != self.modality:
            raise RunError(f"clip '{clip}': {asked} was asked for, valid: {self.modality}, which alone is used.")


def using(clips: Clips, modality: Modality, source: object) -> Clips:
    """Returns clips as the setting ``data.modality`` wants them used.

    Args:
        clips: The clips.
        modality: The setting.
        source: What to call them in an error.

    Raises:
        InputError: They do not have that.
    """
    has = modalities_of(clips)
    wanted = has if modality == "auto" else ("audio", "visual") if modality == "both" else (modality,)
    if not set(wanted) <= set(has):
        raise InputError(f"data.modality: found {modality}, valid: auto or {has[0]}, as {source} has {HAS[has]}.")
    return clips if wanted == has else changed(clips, OneModality(wanted[0]))
