"""What a method makes of a set of clips, computed once for all tasks: arrays in a folder, memory-mapped.

``vectors``: ``audio``, ``visual`` and ``joint``, (n, F, D) float32, one vector a stream and frame, not normalised, and
``embedding_audio`` and ``embedding_visual`` of a method whose retrieval embeds otherwise or that has no streams.
``tokens``: what localization compares.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from avbench.files import Damaged, read_json, set_aside, write_json
from avbench.store import parts
from avbench.store.arrays import PARTIAL, RowWriter, open_rows
from avbench.tasks.subject import Pooled, Tokens

if TYPE_CHECKING:
    import torch

    from avbench.data.corpus.clips import Clips
    from avbench.data.feed.dataset import Batch, Mode
    from avbench.data.progress import Progress
    from avbench.methods.base import Method
    from avbench.running.request import RunConfig
    from avbench.store.features import Features

Kind = Literal["vectors", "tokens"]
EMBEDDING = "embedding_"
_BATCH = 64  # frames a forward pass: fills a core's cache at tiny size, fits a GPU at base size
_IDS = "ids.json"  # whose rows these are; equal sets of clips share a folder, whatever their order

log = logging.getLogger("avbench")

Arrays = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """Batches to compute; a batch is the same clips whoever computes it, and however many there are.

    Attributes:
        kind: ``vectors`` or ``tokens``.
        method: With its weights, on ``device``, in evaluation mode.
        clips: The clips; row i of every array belongs to clip i.
        config: Input sizes, frames, precision and readers.
        folder: Where rows go.
        device: Where to compute.
        readers: Processes that read clips, beside each that computes.
        threads: Of torch, in each process: bits depend on it, so it must not depend on how many processes there are.
        size: Clips a batch; the last has what is left.
        todo: The batches to compute.
    """

    kind: Kind
    method: Method
    clips: Clips
    config: RunConfig
    folder: Path
    device: str
    readers: int
    threads: int
    size: int
    todo: Sequence[int]

    @property
    def mode(self) -> Mode:
        """Methods that look at windows around frames see all of them; the others one frame a clip."""
        return "all_frames" if self.config.input.segment_length else "eval"

    def compute(self, batches: Sequence[int]) -> Iterator[tuple[npt.NDArray[np.int64], Arrays]]:
        """Yields rows (k,) and arrays (k, F, ...) of each batch; ``batches`` rise.

        Raises:
            RunError: A clip cannot be read.
        """
        import torch

        from avbench.data.feed.loader import Feed
        from avbench.training.precision import autocast

        feed = Feed(self.clips, self.config.input, mode=self.mode, workers=self.readers)
        compute: Callable[[torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]
        compute = self.method.local_tokens if self.kind == "tokens" else _vectors(self.method)
        firsts = np.array(batches, np.int64) * self.size
        order = np.concatenate([np.arange(f, min(f + self.size, len(self.clips))) for f in firsts] or [firsts])
        for batch in feed.batches(order, self.size):
            with torch.inference_mode(), autocast(self.config.precision, self.device):
                found = compute(*_inputs(batch, self.device))
            values = {name: _frames(value.float().cpu().numpy(), self.mode) for name, value in found.items()}
            yield np.asarray(batch.index, np.int64), values

    def compute_share(self, rank: int, world: int) -> Iterator[int]:
        """Computes one process's share of the batches into parts; yields the clips of each batch once it is held.

        Raises:
            RunError: A clip cannot be read.
        """
        with parts.PartWriter(self.folder) as writer:
            for rows, values in self.compute(parts.share(self.todo, rank, world)):
                writer.write(rows, values)
                yield len(rows)


def extract(
    kind: Kind,
    method: Method,
    clips: Clips,
    config: RunConfig,
    folder: Path,
    *,
    device: str,
    progress: bool,
    processes: int = 1,
) -> None:
    """Computes the arrays of every clip into a folder, resuming where a crash left it.

    The arrays are the same to the bit for any number of processes, on the same kind of machine: batches do not depend
    on it, nor do the threads of each process.

    Args:
        kind: ``vectors`` or ``tokens``.
        method: With its weights, on ``device``, in evaluation mode.
        clips: The clips; row i of every array belongs to clip i.
        config: Input sizes, frames, precision, readers and threads.
        folder: Where the arrays go.
        device: Where to compute.
        progress: Whether to show a bar.
        processes: How many compute in parallel.

    Raises:
        RunError: A clip cannot be read, or a process ended early.
    """
    from avbench.data.feed.loader import worker_count
    from avbench.data.progress import Progress
    from avbench.training.device import torch_threads

    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, list(clips.ids))
    writer = RowWriter(folder, len(clips))
    known = np.arange(len(clips)) < writer.rows
    done = known | parts.finished(folder, len(clips))
    readers = worker_count(config.train.workers)
    with (
        torch_threads(readers, config.train.threads) as threads,
        Progress(kind, len(clips), done=int(done.sum()), unit="clip", enabled=progress) as bar,
    ):
        size = max(1, _BATCH // max(1, config.data.n_frames)) if config.input.segment_length else _BATCH
        todo = [first // size for first in range(0, len(clips), size) if not done[first : first + size].all()]
        world = max(1, min(processes, len(todo)))
        job = Job(
            kind=kind,
            method=method,
            clips=clips,
            config=config,
            folder=folder,
            device=device,
            readers=readers // world,
            threads=threads,
            size=size,
            todo=todo,
        )
        if world > 1:
            _share(job, world, bar)
        elif (done == known).all():  # one process, and no parts before it: straight into the arrays
            for rows, values in job.compute(todo):
                writer.write(values)
                bar.step(count=len(rows))
            known[:] = True
        else:
            for count in job.compute_share(0, 1):
                bar.step(count=count)
    for rows, found in parts.gathered(folder, known):
        writer.put(rows, found)
    writer.rows = len(clips)
    writer.sync()
    parts.remove(folder)
    writer.finish()


def _share(job: Job, world: int, bar: Progress) -> None:
    from avbench.processes import core_count
    from avbench.running import crew

    if job.device == "cpu" and job.threads > max(1, core_count() // world):
        log.warning(
            "%d processes of %d threads each share %d cores; --set train.threads=%d is faster, with other last bits",
            world,
            job.threads,
            core_count(),
            max(1, core_count() // world),
        )
    crew.run(job, world, lambda count: bar.step(count=count))


def _claim(folder: Path, ids: list[str]) -> None:
    """Notes whose rows these are, and removes what was begun for the same clips in another order."""
    path = folder / _IDS
    if path.exists():
        try:
            if read_json(path, list) == ids:
                return
        except Damaged as damage:
            set_aside(damage)
    (folder / PARTIAL).unlink(missing_ok=True)
    parts.remove(folder)
    for array in folder.glob("*.npy"):
        array.unlink()
    write_json(path, ids)


def _inputs(batch: Batch, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    return batch.audio.to(device), batch.visual.to(device)


def _vectors(method: Method) -> Callable[[torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]:
    from avbench.registry.contract import embeds_apart

    apart = embeds_apart(method)

    def compute(audio: torch.Tensor, visual: torch.Tensor) -> dict[str, torch.Tensor]:
        found = method.vectors(audio, visual)
        if found and not apart:
            return found
        sounds, pictures = method.embed(audio, visual)
        return {**found, f"{EMBEDDING}audio": sounds, f"{EMBEDDING}visual": pictures}

    return compute


def _frames(values: npt.NDArray[np.float32], mode: str) -> npt.NDArray[np.float32]:
    """Returns (n, F, ...) from itself or, of one frame a clip, from (n, ...)."""
    return values if mode == "all_frames" else values[:, None]


def arrays(folder: Path) -> Arrays:
    """Returns the finished arrays of a folder by name, memory-mapped."""
    return {path.stem: open_rows(path, "r") for path in sorted(folder.glob("*.npy"))}


def _of(folder: Path, ids: list[str]) -> Arrays:
    """Returns the arrays in the order of ``ids``: memory-mapped, or copied where the rows are in another order."""
    found = arrays(folder)
    path = folder / _IDS
    stored: list[str] = read_json(path, list) if path.exists() else ids
    if stored == ids:
        return found
    rows = np.empty(len(ids), np.int64)
    rows[np.argsort(np.array(ids), kind="stable")] = np.argsort(np.array(stored), kind="stable")
    return {name: array[rows] for name, array in found.items()}


def features(folder: Path, clips: Clips, config: RunConfig) -> Features:
    """Returns the retrieval embeddings, (n, F, d) of unit length.

    Raises:
        InputError: The method has one modality only.
    """
    from avbench.errors import InputError
    from avbench.store.features import Features

    found = _of(folder, list(clips.ids))
    if f"{EMBEDDING}audio" in found:
        pair = unit_length(found[f"{EMBEDDING}audio"]), unit_length(found[f"{EMBEDDING}visual"])
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
    ids = list(clips.ids)
    found = _of(folder, ids)
    return Pooled(ids, found.get("audio"), found.get("visual"), found.get("joint"))


def tokens(folder: Path, clips: Clips, grid: tuple[int, int]) -> Tokens:
    """Returns what localization compares; ``grid`` is rows and columns of the frames' patches."""
    ids = list(clips.ids)
    found = _of(folder, ids)
    return Tokens(
        ids,
        found["visual"],
        found["audio"],
        found.get("visual_global"),
        found.get("audio_global"),
        grid,
    )
