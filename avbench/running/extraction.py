"""What a method makes of a set of clips, computed once for all tasks: arrays in a folder, memory-mapped.

``vectors``: ``audio``, ``visual`` and ``joint``, (n, F, D) float32, one vector a stream and frame, not normalised, and
``embedding_audio`` and ``embedding_visual`` of a method whose retrieval embeds otherwise or that has no streams.
``tokens``: what localization compares.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avbench.files import Damaged, read_json, set_aside, write_json
from avbench.running import encoded
from avbench.running.batches import Batches
from avbench.running.identity import Extraction, Kind
from avbench.store import parts
from avbench.store.arrays import PARTIAL, RowWriter
from avbench.store.extracted import IDS

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.data.corpus.clips import Clips
    from avbench.data.progress import Progress
    from avbench.encoders.adapted import Adapted
    from avbench.methods.base import Method
    from avbench.running.execution import Execution

_BATCH = 64  # frames a forward pass: fills a core's cache at tiny size, fits a GPU at base size

log = logging.getLogger("avbench")


def compute(stage: Extraction, execution: Execution) -> dict[str, Any]:
    """Computes vectors or tokens of every clip of a stage; returns the figures of it.

    Raises:
        InputError: The weights do not fit the model.
        RunError: A clip cannot be read, or a process ended early.
    """
    from avbench.encoders.adapted import Adapted

    method = execution.model(stage)
    extract(
        stage.kind,
        method,
        stage.clips,
        stage.config,
        stage.folder,
        device=execution.device,
        progress=execution.progress,
        processes=execution.processes,
    )
    if isinstance(method, Adapted) and stage.kind == "vectors":
        encoded.compare(method, stage.folder, stage.part)
    return {"n": len(stage.clips)}


def extract(
    kind: Kind,
    method: Method | Adapted,
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
        size = _batch_size(method, config)
        todo = [first // size for first in range(0, len(clips), size) if not done[first : first + size].all()]
        world = max(1, min(processes, len(todo)))
        job = Batches(
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
            job.compute_share(0, 1, lambda count: bar.step(count=count))
    for rows, found in parts.gathered(folder, known):
        writer.put(rows, found)
    writer.rows = len(clips)
    writer.sync()
    parts.remove(folder)
    writer.finish()


def _batch_size(method: Method | Adapted, config: RunConfig) -> int:
    """Returns clips a forward pass."""
    from avbench.encoders.adapted import Adapted

    if isinstance(method, Adapted):
        return method.batch_size
    return max(1, _BATCH // max(1, config.data.n_frames)) if config.input.segment_length else _BATCH


def _share(job: Batches, world: int, bar: Progress) -> None:
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
    path = folder / IDS
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
