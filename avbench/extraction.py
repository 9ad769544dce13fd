"""What a method makes of a set of clips, computed once for all tasks: arrays in a folder, memory-mapped.

``vectors``: ``audio``, ``visual`` and ``joint``, (n, F, D) float32, one vector a stream and frame, not normalised (or,
from a method without streams, ``embedding_audio`` and ``embedding_visual``). ``tokens``: what localization compares.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from avbench.files import write_json
from avbench.subject import Pooled, Tokens

if TYPE_CHECKING:
    import torch

    from avbench.data.clips import Clips
    from avbench.data.dataset import Batch
    from avbench.features import Features
    from avbench.methods.base import Method
    from avbench.resolve import RunConfig

Kind = Literal["vectors", "tokens"]
EMBEDDING = "embedding_"
_BATCH = 64  # frames a forward pass: fills a core's cache at tiny size, fits a GPU at base size
_FLUSH_S = 10.0  # what a crash may lose
_PARTIAL = "partial.json"

Arrays = dict[str, npt.NDArray[np.float32]]


class RowWriter:
    """Arrays that grow by rows on disk and, after a crash, go on from the last rows that were synced.

    Args:
        folder: Where ``NAME.npy`` files go.
        n: Rows there will be.
    """

    def __init__(self, folder: Path, n: int) -> None:
        self.folder = folder
        self.n = n
        self.rows = 0
        self._arrays: dict[str, np.memmap[tuple[int, ...], np.dtype[np.float32]]] = {}
        self._synced = time.monotonic()
        partial = folder / _PARTIAL
        if partial.exists():
            state = json.loads(partial.read_text(encoding="utf-8"))
            self.rows = int(state["rows"])
            self._arrays = {name: _open(folder / f"{name}.npy", "r+") for name in state["arrays"]}

    def write(self, values: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Appends rows: named arrays of equal length, the same names each time."""
        if not self._arrays:
            self._arrays = {name: self._create(name, value) for name, value in values.items()}
        count = len(next(iter(values.values())))
        for name, value in values.items():
            self._arrays[name][self.rows : self.rows + count] = value
        self.rows += count
        if time.monotonic() - self._synced > _FLUSH_S:
            self.sync()

    def _create(self, name: str, value: npt.NDArray[np.float32]) -> np.memmap[tuple[int, ...], np.dtype[np.float32]]:
        path = self.folder / f"{name}.npy"
        array = np.lib.format.open_memmap(path, "w+", np.dtype(np.float32), (self.n, *value.shape[1:]))
        with path.open("rb+") as handle:  # a full disk is an error here, and not a crash in the middle
            os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)
        return array

    def sync(self) -> None:
        """Makes sure that what was written survives a crash."""
        for array in self._arrays.values():
            array.flush()
        write_json(self.folder / _PARTIAL, {"rows": self.rows, "arrays": sorted(self._arrays)})
        self._synced = time.monotonic()

    def finish(self) -> None:
        """Syncs; the arrays are complete."""
        self.sync()
        (self.folder / _PARTIAL).unlink()


def _open(path: Path, mode: Literal["r", "r+"]) -> np.memmap[tuple[int, ...], np.dtype[np.float32]]:
    array: np.memmap[tuple[int, ...], np.dtype[np.float32]] = np.load(path, mmap_mode=mode)
    return array


def extract(
    kind: Kind,
    method: Method,
    clips: Clips,
    config: RunConfig,
    folder: Path,
    *,
    device: str,
    progress: bool,
) -> None:
    """Computes the arrays of every clip into a folder, going on where a crash left it.

    Args:
        kind: ``vectors`` or ``tokens``.
        method: With its weights, on ``device``, in evaluation mode.
        clips: The clips; row i of every array belongs to clip i.
        config: Input sizes, frames, precision, readers and threads.
        folder: Where the arrays go.
        device: Where to compute.
        progress: Whether to show a bar.

    Raises:
        RunError: A clip cannot be read.
    """
    import torch

    from avbench.data.dataset import Mode
    from avbench.data.loader import Feed
    from avbench.data.progress import Progress
    from avbench.training.device import torch_threads
    from avbench.training.precision import autocast

    # Methods that look at windows around frames see all of them; the others one frame a clip.
    mode: Mode = "all_frames" if config.input.segment_length else "eval"
    feed = Feed(clips, config.input, mode=mode, workers=config.train.workers)
    size = max(1, _BATCH // max(1, config.data.n_frames)) if mode == "all_frames" else _BATCH
    compute: Callable[[torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]
    compute = method.local_tokens if kind == "tokens" else _vectors(method)
    folder.mkdir(parents=True, exist_ok=True)
    writer = RowWriter(folder, len(clips))
    with (
        torch_threads(feed.workers, config.train.threads),
        Progress(kind, len(clips), done=writer.rows, unit="clip", enabled=progress) as bar,
    ):
        for batch in feed.batches(np.arange(len(clips)), size, skip=writer.rows // size):
            with torch.inference_mode(), autocast(config.precision, device):
                found = compute(*_inputs(batch, device))
            writer.write({name: _frames(values.float().cpu().numpy(), mode) for name, values in found.items()})
            bar.step(count=len(batch.index))
    writer.finish()


def _inputs(batch: Batch, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    return batch.audio.to(device), batch.visual.to(device)


def _vectors(method: Method) -> Callable[[torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]:
    def compute(audio: torch.Tensor, visual: torch.Tensor) -> dict[str, torch.Tensor]:
        found = method.vectors(audio, visual)
        if found:
            return found
        sounds, pictures = method.embed(audio, visual)
        return {f"{EMBEDDING}audio": sounds, f"{EMBEDDING}visual": pictures}

    return compute


def _frames(values: npt.NDArray[np.float32], mode: str) -> npt.NDArray[np.float32]:
    """Returns (n, F, ...) from itself or, of one frame a clip, from (n, ...)."""
    return values if mode == "all_frames" else values[:, None]


def arrays(folder: Path) -> Arrays:
    """Returns the finished arrays of a folder by name, memory-mapped."""
    return {path.stem: _open(path, "r") for path in sorted(folder.glob("*.npy"))}


def features(folder: Path, clips: Clips, config: RunConfig) -> Features:
    """Returns the retrieval embeddings, (n, F, d) of unit length.

    Raises:
        InputError: The method has one modality only.
    """
    from avbench.errors import InputError
    from avbench.features import Features

    found = arrays(folder)
    if f"{EMBEDDING}audio" in found:
        pair = found[f"{EMBEDDING}audio"], found[f"{EMBEDDING}visual"]
    elif {"audio", "visual"} <= found.keys():
        pair = unit_length(found["audio"]), unit_length(found["visual"])
    else:
        raise InputError(f"method {config.method_name}: found one modality, valid: audio and visual, to embed pairs.")
    return Features(list(clips.ids), *pair, config.to_dict())


def unit_length(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns vectors divided by their lengths, along the last axis, as torch's ``normalize`` does."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: npt.NDArray[np.float32] = vectors / np.maximum(lengths, np.float32(1e-12))
    return unit


def pooled(folder: Path, clips: Clips) -> Pooled:
    """Returns the vectors of each stream."""
    found = arrays(folder)
    return Pooled(list(clips.ids), found.get("audio"), found.get("visual"), found.get("joint"))


def tokens(folder: Path, clips: Clips, grid: tuple[int, int]) -> Tokens:
    """Returns what localization compares; ``grid`` is rows and columns of the frames' patches."""
    found = arrays(folder)
    return Tokens(
        list(clips.ids),
        found["visual"],
        found["audio"],
        found.get("visual_global"),
        found.get("audio_global"),
        grid,
    )
