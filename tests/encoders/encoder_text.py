"""What encoders in tests have in common: parts of their text, and what an extraction of theirs left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from avbench.store.extracted import arrays

Judge = Callable[..., tuple[int, list[dict[str, Any]]]]

VISUAL = """
    def visual(self, frames, times):
        return torch.stack([f.float().mean((0, 1, 2))[:2] for f in frames])
"""
AUDIO = """
    def audio(self, waves, rate):
        return torch.stack([torch.stack([w.std(), w.abs().mean()]) for w in waves])
"""


def of_stage(record: dict[str, Any], stage: str = "vectors") -> dict[str, np.ndarray]:
    return {**arrays(Path("results/stages") / stage / record["stages"][stage][0])}
