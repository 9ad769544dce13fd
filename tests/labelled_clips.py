"""Clips in memory whose sound and picture tell their class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from label_rows import codes_of

from avbench.config import InputConfig, ModelConfig
from avbench.data.corpus.clips import hash_ids

RATE = 1000
CLASSES = ("low", "high", "loud")
INPUT = InputConfig(
    sample_rate=RATE,
    n_mels=16,
    frame_length_ms=25.0,
    frame_shift_ms=10.0,
    target_length=32,
    image_size=16,
    eval_frame=1,
)
MODEL = ModelConfig(
    embed_dim=16,
    num_heads=2,
    modality_depth=1,
    joint_depth=1,
    patch_size=8,
    decoder_embed_dim=8,
    decoder_depth=1,
    decoder_num_heads=2,
)


class LabelledClips:
    """``n`` clips of class ``i % 3``; with ``several`` also of the class before. Lengths and frames differ."""

    class_names = CLASSES
    root = Path("made")

    def __init__(self, n: int, *, several: bool = False, first: int = 0, indices: Sequence[int] | None = None) -> None:
        self._indices = list(range(first, first + n)) if indices is None else list(indices)
        self._several = several

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def ids(self) -> list[str]:
        return [f"clip{i:03d}" for i in self._indices]

    @property
    def splits(self) -> list[str]:
        return ["" for _ in self._indices]

    @property
    def sha256(self) -> str:
        return hash_ids(self.ids)

    def ids_sha256(self) -> str:
        return hash_ids(self.ids)

    def labels(self, i: int) -> tuple[str, ...]:
        own = self._indices[i] % 3
        return (CLASSES[own], CLASSES[own - 1]) if self._several and own else (CLASSES[own],)

    def label_codes(self) -> Any:
        return codes_of(self)

    def duration(self, i: int) -> float:
        return (300 + 10 * (self._indices[i] % 4)) / RATE

    def n_frames(self, i: int) -> int:
        return 2 + self._indices[i] % 2

    def waveform(self, i: int) -> tuple[np.ndarray, int]:
        k = self._indices[i]
        time = np.arange(300 + 10 * (k % 4)) / RATE
        tone = (0.3 + 0.5 * (k % 3 == 2)) * np.sin(2 * np.pi * (60 if k % 3 == 0 else 300) * time)
        noise = 0.05 * np.random.default_rng(k).standard_normal(len(time))
        return (tone + noise + 0.1).astype(np.float32), RATE

    def frame(self, i: int, k: int) -> np.ndarray:
        clip = self._indices[i]
        pixels = np.random.default_rng([clip, min(k, self.n_frames(i) - 1)]).integers(0, 60, (16, 16, 3), np.uint8)
        pixels[..., clip % 3] += 150
        return pixels

    def select(self, indices: Any) -> LabelledClips:
        return LabelledClips(0, several=self._several, indices=[self._indices[int(i)] for i in indices])
