"""The labels of clips made for tests, row by row, in the column form that real clips answer with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def codes_of(clips: Any) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Returns offsets (n + 1,) and indices of ``clips.class_names``, from ``clips.labels(i)``."""
    rows = [[clips.class_names.index(name) for name in clips.labels(i)] for i in range(len(clips))]
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return offsets, np.array([code for row in rows for code in row], np.int32)
