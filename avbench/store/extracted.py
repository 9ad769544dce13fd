"""What a method made of clips, as it lies in a stage's folder: vectors and tokens, one row a clip, memory-mapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from avbench.config import MODALITIES
from avbench.errors import InputError
from avbench.files import read_json
from avbench.store.arrays import open_rows
from avbench.store.features import Features

Kind = Literal["vectors", "single vectors", "tokens"]  # single: without those of the joint stream
Arrays = dict[str, npt.NDArray[np.float32]]
Vectors = npt.NDArray[np.float32]
SCORES = "scores"  # (n, n) similarities of sounds and pictures, of an encoder that compares by its own
EMBEDDING = "embedding_"  # what the names of arrays begin with that retrieval compares in place of the vectors
IDS = "ids.json"  # whose rows these are; equal sets of clips share a folder, whatever their order


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


def arrays(folder: Path) -> Arrays:
    """Returns the finished arrays of a folder by name, memory-mapped."""
    return {path.stem: open_rows(path, "r") for path in sorted(folder.glob("*.npy"))}


def _of(folder: Path, ids: list[str]) -> Arrays:
    """Returns the rows of ``ids``, in that order: memory-mapped, or copied where they are a part or in another."""
    found = arrays(folder)
    path = folder / IDS
    stored: list[str] = read_json(path, list) if path.exists() else ids
    if stored == ids:
        return found
    if len(stored) == len(ids):
        rows = np.empty(len(ids), np.int64)
        rows[np.argsort(np.array(ids), kind="stable")] = np.argsort(np.array(stored), kind="stable")
    else:
        place = {id: row for row, id in enumerate(stored)}
        rows = np.array([place[id] for id in ids], np.int64)
    return {name: array[rows][:, rows] if name == SCORES else array[rows] for name, array in found.items()}


def features(folder: Path, ids: Sequence[str], config: Mapping[str, Any]) -> Features:
    """Returns the retrieval embeddings, (n, F, d) of unit length, of each modality that was embedded.

    Args:
        folder: Of the vectors.
        ids: The clips.
        config: The run's, as records have it.

    Raises:
        InputError: There is neither sound nor picture among the vectors.
    """
    found = _of(folder, list(ids))
    sides = {side: unit_length(values) for side, values in embeddings(found, config["method"]["name"]).items()}
    return paired(list(ids), sides, config, found.get(SCORES))


def embeddings(found: Arrays, method: str) -> Arrays:
    """Returns those of a method's vectors that retrieval compares, ``audio``, ``visual`` or both.

    Raises:
        InputError: There is neither.
    """
    prefix = EMBEDDING if any(name.startswith(EMBEDDING) for name in found) else ""
    sides = {side: found[f"{prefix}{side}"] for side in MODALITIES if f"{prefix}{side}" in found}
    if not sides:
        raise InputError(f"method {method}: found no vector of sound or picture, valid: one or both.")
    return sides


def paired(ids: list[str], sides: Arrays, config: Mapping[str, Any], scores: Vectors | None) -> Features:
    """Returns features of one modality or of both; one vector of a clip stands beside each of several.

    Args:
        ids: The clips.
        sides: (n, F, d) by modality.
        config: What made them.
        scores: Similarities of an encoder's own.
    """
    if len(sides) == len(MODALITIES):
        sides = dict(zip(MODALITIES, alike(sides["audio"], sides["visual"]), strict=True))
    return Features(ids, sides.get("audio"), sides.get("visual"), dict(config), scores)


def alike(audio: Vectors, visual: Vectors) -> tuple[Vectors, Vectors]:
    """Returns the vectors of both, (n, F, d); one vector of a clip stands beside each of several."""
    frames = max(audio.shape[1], visual.shape[1])
    first, second = (np.repeat(each, frames, axis=1) if each.shape[1] == 1 else each for each in (audio, visual))
    return first, second


def unit_length(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns vectors divided by their lengths, along the last axis, as torch's ``normalize`` does."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: npt.NDArray[np.float32] = vectors / np.maximum(lengths, np.float32(1e-12))
    return unit


def pooled(folder: Path, ids: Sequence[str]) -> Pooled:
    """Returns the vectors of each stream."""
    found = _of(folder, list(ids))
    return Pooled(list(ids), found.get("audio"), found.get("visual"), found.get("joint"))


def tokens(folder: Path, ids: Sequence[str], grid: tuple[int, int]) -> Tokens:
    """Returns what localization compares.

    Args:
        folder: Of the extraction.
        ids: The clips, in the order wanted.
        grid: Rows and columns of the frames' patches, where these lie in one axis and not, as an encoder's, in two.
    """
    found = _of(folder, list(ids))
    visual = found["visual"]
    if visual.ndim == 5:  # (n, F, h, w, D)
        grid = (visual.shape[2], visual.shape[3])
        visual = visual.reshape(*visual.shape[:2], -1, visual.shape[-1])
    return Tokens(
        list(ids),
        visual,
        found["audio"],
        found.get("visual_global"),
        found.get("audio_global"),
        grid,
    )
