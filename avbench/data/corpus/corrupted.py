"""Clips with damaged sounds or pictures; see :mod:`avbench.data.media.corrupt`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avbench.config import HAS
from avbench.data.corpus.changed import Change, changed
from avbench.data.corpus.clips import Clips, modalities_of
from avbench.data.corpus.silenced import Blank, Silence
from avbench.data.media.corrupt import PICTURES, SEVERITIES, SOUNDS
from avbench.errors import InputError
from avbench.rng import numpy_stream

KINDS = (*SOUNDS, *PICTURES)
GONE: Mapping[str, Change] = {"no_sound": Silence(), "no_picture": Blank()}  # a modality is missing


@dataclass(frozen=True)
class Corruption(Change):
    """One corruption of all clips.

    Attributes:
        kind: Of ``SOUNDS`` or ``PICTURES``.
        severity: 0, which changes nothing, to 5.
        seed: Of the draws, one stream a clip and frame.
    """

    kind: str
    severity: int
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.kind}@{self.severity}"

    def waveform(self, clips: Clips, i: int) -> tuple[NDArray[np.float32], int]:
        """Returns the sound of clip ``i``, damaged where the corruption is of sounds."""
        sound, rate = clips.waveform(i)
        if self.severity == 0 or self.kind not in SOUNDS:
            return sound, rate
        return SOUNDS[self.kind](sound, rate, self.severity, self._stream(clips, i)), rate

    def frame(self, clips: Clips, i: int, k: int) -> NDArray[np.uint8]:
        """Returns a frame, damaged where the corruption is of pictures.

        Args:
            clips: The clips as they are.
            i: Which of them.
            k: Which frame.
        """
        picture = clips.frame(i, k)
        if self.severity == 0 or self.kind not in PICTURES:
            return picture
        return PICTURES[self.kind](picture, self.severity, self._stream(clips, i, k))

    def _stream(self, clips: Clips, i: int, *frame: int) -> np.random.Generator:
        return numpy_stream(self.seed, f"corruption:{self.kind}:{clips.ids[i]}", *frame)


def damaged(clips: Clips, text: str) -> Clips:
    """Returns clips as ``data.corruption`` leaves them, with the draws of seed 0; themselves where it is empty.

    Args:
        clips: The clips that are judged.
        text: ``KIND@SEVERITY``, or one of ``GONE``.

    Raises:
        InputError: An unknown kind or severity, or one of what the clips have not.
    """
    if not text:
        return clips
    kind, _, severity = text.partition("@")
    if text not in GONE and (kind not in KINDS or severity not in map(str, range(1, SEVERITIES + 1))):
        raise InputError(
            f"data.corruption: found {text}, valid: {', '.join(GONE)}, or KIND@SEVERITY, such as sound_noise@3; kinds:"
            f" {', '.join(KINDS)}; severities: 1 to {SEVERITIES}."
        )
    modality = "audio" if kind in ("no_sound", *SOUNDS) else "visual"
    found = modalities_of(clips)
    if modality not in found:
        raise InputError(f"data.corruption: found {text} and clips with {HAS[found]}, valid: one of what they have.")
    return changed(clips, GONE[text] if text in GONE else Corruption(kind, int(severity)))
