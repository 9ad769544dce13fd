"""Frames by their number, as the authors' extractors choose them.

Ours go by time (:mod:`avbench.data.media.decode`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from avbench.data.media.prepare_settings import PrepareSettings


def counted_times(stream: Any, shown: Sequence[float], settings: PrepareSettings) -> NDArray[np.float64]:
    """Returns when the frames that the authors keep are shown, seconds on the file's clock, (n_frames,).

    CAV-MAE looks at the first ``int(fps * 10)`` frames and takes ``int(i * N / n)``, but positions its reader one frame
    before each; CAV-MAE Sync takes ``linspace(0, N - 1, n)`` of all. Both count as OpenCV does.

    Args:
        stream: The video stream.
        shown: When its frames are shown, rising, at least one.
        settings: How many, of how many seconds, and which rule.
    """
    total = _claimed(stream) or len(shown)
    rate = stream.guessed_rate or stream.average_rate
    if settings.frame_seconds and rate:
        total = min(total, int(float(rate) * settings.frame_seconds))
    index = np.arange(settings.n_frames)
    if settings.sampling == "ends":
        chosen = np.linspace(0, total - 1, settings.n_frames).astype(np.int64)
    else:
        shift = 0.5 if settings.sampling == "centre" else 0.0
        chosen = ((index + shift) * total / settings.n_frames).astype(np.int64) - 1
    # What is counted but not there is not to be had; the last frame stands for it.
    return np.asarray(shown, dtype=np.float64)[np.clip(chosen, 0, len(shown) - 1)]


def _claimed(stream: Any) -> int:
    """Returns how many frames the container says there are, or its duration gives; 0 where it says neither."""
    if stream.frames:
        return int(stream.frames)
    duration, rate = stream.container.duration, stream.guessed_rate or stream.average_rate
    return int(duration / av.time_base * float(rate) + 0.5) if duration and rate else 0
