"""A subject with planted tokens: patches of the sounding object point where the clip's own sound does."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from label_rows import codes_of

from avbench.config import DataConfig, InputConfig
from avbench.data.corpus.clips import hash_ids
from avbench.errors import InputError
from avbench.store.extracted import Tokens
from avbench.tasks.base import TaskResult
from avbench.tasks.localization import CONFIG, TASK
from avbench.tasks.localizing.options import LocalizationConfig

SIZE = 32


@dataclass
class FakeClips:
    """Clips of one colour a frame; ``aspect`` is width over height of the stored frames."""

    ids: list[str]
    frames: int = 1
    seconds: float = 10.0
    aspect: float = 1.0
    root: Path = Path()
    class_names: tuple[str, ...] = ("a", "b")
    sha256: str = "0"
    read: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def splits(self) -> list[str]:
        return [""] * len(self.ids)

    def labels(self, i: int) -> tuple[str, ...]:
        return (self.class_names[i % 2],)

    def label_codes(self) -> Any:
        return codes_of(self)

    def duration(self, i: int) -> float:
        return self.seconds

    def n_frames(self, i: int) -> int:
        return self.frames

    def frame(self, i: int, k: int) -> np.ndarray:
        self.read.append((i, k))
        wide = round(SIZE * self.aspect)
        return np.full((SIZE, wide, 3), (30 * k) % 256, np.uint8)

    def ids_sha256(self) -> str:
        return hash_ids(self.ids)


@dataclass
class FakeSubject:
    """See :class:`avbench.tasks.subject.Subject`; what the task does not ask for is left out."""

    evaluated: Any
    made: Tokens
    folder: Path
    config: Any
    train_clips: Any = None
    train_tokens: Tokens | None = None
    device: str = "cpu"
    progress: bool = False
    modalities: tuple[str, ...] = ("audio", "visual")

    @property
    def train(self) -> Any:
        if self.train_clips is None:
            raise InputError("--data: found no clips of split 'train'.")
        return self.train_clips

    def tokens(self, part: str) -> Tokens:
        if part == "train":
            assert self.train_tokens is not None
            return self.train_tokens
        return self.made


def planted(masks: np.ndarray, *, width: int = 8, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of frames whose ``masks`` (n, F, rows, columns) say where the own sound's direction is.

    Returns:
        Visual (n, F, P, D) and sound (n, F, D).
    """
    rng = np.random.default_rng(seed)
    n, frames = masks.shape[:2]
    sound = rng.normal(size=(n, frames, width))
    other = rng.normal(size=(n, frames, masks[0, 0].size, width))
    visual = np.where(masks.reshape(n, frames, -1, 1) > 0, sound[:, :, None], other * (1 - noise) + noise)
    return visual.astype(np.float32), sound.astype(np.float32)


def subject(
    tmp_path: Path,
    ids: list[str],
    visual: np.ndarray,
    sound: np.ndarray,
    *,
    grid: tuple[int, int],
    clips: FakeClips | None = None,
    global_sound: np.ndarray | None = None,
    eval_frame: int = 0,
    source: str = "elsewhere",
) -> FakeSubject:
    """Returns a subject with these tokens."""
    tokens = Tokens(ids, visual, sound, None, global_sound, grid)
    config = SimpleNamespace(
        data=DataConfig(source=source),
        input=InputConfig(image_size=SIZE, eval_frame=eval_frame),
        method_name="planted",
    )
    return FakeSubject(clips or FakeClips(ids, frames=visual.shape[1]), tokens, tmp_path / "work", config)


N = 24


def options(**changes: Any) -> LocalizationConfig:
    return CONFIG(**{"resamples": 50, "pictures": 0, **changes})


def recomputed(result: TaskResult, config: LocalizationConfig, some: slice = slice(None)) -> dict[str, float]:
    """The metrics of samples from what is kept of each."""
    return TASK.recompute(result.per_sample, result.per_sample["id"][some].tolist(), config)


def boxed(tmp_path: Path, n: int = N, seed: int = 0, frames: int = 1) -> tuple[Path, list[str], np.ndarray]:
    """VGG-SS annotations of two fifths of a picture, and their masks on a grid of 8 x 8, (n, F, 8, 8)."""
    rng = np.random.default_rng(seed)
    masks, entries = np.zeros((n, frames, 8, 8)), []
    for i in range(n):
        left, top = rng.integers(0, 4, 2)
        masks[i, :, top : top + 5, left : left + 5] = 1
        box = [left / 8, top / 8, (left + 5) / 8, (top + 5) / 8]
        entries.append({"file": f"clip_{i:02d}", "class": f"class {i % 3}", "bbox": [box]})
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path, [entry["file"] for entry in entries], masks


def planted_boxes(tmp_path: Path, **changes: Any) -> tuple[FakeSubject, Path]:
    path, ids, masks = boxed(tmp_path)
    visual, sound = planted(masks)
    return subject(tmp_path, ids, visual, sound, grid=(8, 8), **changes), path
