"""A subject made of arrays, for tasks that read vectors: training and judged clips of four classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from label_rows import codes_of

from avbench.store.extracted import Pooled
from avbench.tasks.subject import Part

Array = npt.NDArray[Any]
CLASSES = ("cat-loud", "cat-soft", "dog-loud", "dog-soft")


class LabelledClips:
    def __init__(self, labels: list[tuple[str, ...]], name: str) -> None:
        self._labels = labels
        self.class_names = CLASSES
        self.ids = [f"{name}{i:03d}" for i in range(len(labels))]

    def __len__(self) -> int:
        return len(self._labels)

    def labels(self, i: int) -> tuple[str, ...]:
        return self._labels[i]

    def label_codes(self) -> Any:
        return codes_of(self)


@dataclasses.dataclass
class SeededConfig:
    seed: int = 0
    method_name: str = "mine"


class ArraySubject:
    """What a task asks for, from arrays: the sound says the animal, the picture how loud it is."""

    device, progress, tune = "cpu", False, None
    folder = Path("unused")
    modalities = ("audio", "visual")

    def __init__(self, n: int = 120, frames: int = 1, *, seed: int = 0, several: bool = False) -> None:
        self.config = SeededConfig(seed)
        self._pooled: dict[str, Pooled] = {}
        clips = {}
        for number, (part, count) in enumerate((("train", n), ("evaluated", n // 2))):
            rng = np.random.default_rng(number)
            classes = rng.integers(4, size=count)
            shape = (count, frames, 8)
            facts = np.stack([classes // 2, classes % 2], axis=1)[:, :, None, None] * 2.0 - 1  # (n, 2, 1, 1)
            ramp = np.linspace(-1, 1, 8)
            audio, visual = (facts[:, i] * ramp + 1.3 * rng.standard_normal(shape) for i in (0, 1))
            joint = np.concatenate([audio, visual], axis=2)
            labels = [(CLASSES[c],) + ((CLASSES[3 - c],) if several and c < 2 else ()) for c in classes]
            clips[part] = LabelledClips(labels, part)
            self._pooled[part] = Pooled(
                clips[part].ids, *(values.astype(np.float32) for values in (audio, visual, joint))
            )
        self.train, self.evaluated = clips["train"], clips["evaluated"]

    def pooled(self, part: Part) -> Pooled:
        return self._pooled[part]

    def change(self, part: str, **streams: Array | None) -> ArraySubject:
        self._pooled[part] = dataclasses.replace(self._pooled[part], **streams)
        return self
