"""What a method makes of a set of clips, computed once for all tasks: arrays in a folder, memory-mapped.

``vectors``: ``audio``, ``visual`` and ``joint``, (n, F, D) float32, one vector a stream and frame, not normalised, and
``embedding_audio`` and ``embedding_visual`` of a method whose retrieval embeds otherwise or that has no streams.
``single vectors``: the same without ``joint``, of commands none of whose tasks reads it.
``tokens``: what localization compares.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avbench import registry
from avbench.errors import RunError
from avbench.files import Damaged, read_json, set_aside, write_json
from avbench.running.batches import Batches
from avbench.running.identity import Extraction
from avbench.store import extracted, parts
from avbench.store.arrays import PARTIAL, RowWriter
from avbench.store.extracted import IDS, Kind

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.data.corpus.clips import Clips
    from avbench.data.progress import Progress
    from avbench.encoders.judged import Judged
    from avbench.running.execution import Execution

_COMPARED = 20_000  # clips whose pairs are kept: 1.6 GB
log = logging.getLogger("avbench")


def compute(stage: Extraction, execution: Execution) -> dict[str, Any]:
    """Computes vectors or tokens of every clip of a stage; returns the figures of it.

    Raises:
        InputError: The weights do not fit the model.
        RunError: A clip cannot be read, or a process ended early.
    """
    judged = execution.model(stage)
    extract(
        stage.kind,
        judged,
        stage.clips,
        stage.config,
        stage.folder,
        device=execution.device,
        progress=execution.progress,
        processes=execution.processes,
    )
    if stage.name == "vectors":
        _compare(judged, stage)
    return {"n": len(stage.clips)}


def extract(
    kind: Kind,
    judged: Judged,
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
        kind: ``vectors``, ``single vectors`` or ``tokens``.
        judged: With its weights, on ``device``.
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
        size = judged.batch_size
        todo = [first // size for first in range(0, len(clips), size) if not done[first : first + size].all()]
        world = max(1, min(processes, len(todo)))
        job = Batches(
            kind=kind,
            judged=judged,
            clips=clips,
            folder=folder,
            device=device,
            readers=readers // world,
            threads=threads,
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


def _compare(judged: Judged, stage: Extraction) -> None:
    """Writes how similar all sounds and pictures of an extraction are, where an encoder has a similarity of its own.

    Training clips are not compared where they are many.

    Args:
        judged: With its weights.
        stage: Whose vectors are there.

    Raises:
        RunError: There are too many clips, or the encoder fails.
    """
    found, scores = extracted.arrays(stage.folder), judged.scores
    if scores is None or not {"audio", "visual"} <= found.keys():
        return
    n = len(found["audio"])
    if n > _COMPARED and stage.part == "train":
        return
    if n > _COMPARED:
        shown = registry.find("method", stage.config.method_name).shown
        raise RunError(
            f"encoder {shown}: found {n:,} clips, valid with a similarity of its own, whose every pair is kept:"
            f" {_COMPARED:,}; --set data.subset=FILE judges some of them."
        )
    array = np.lib.format.open_memmap(stage.folder / f"{extracted.SCORES}.npy", "w+", np.dtype(np.float32), (n, n))
    row = 0
    for block in scores(np.array(found["audio"]), np.array(found["visual"])):
        array[row : row + len(block)] = block
        row += len(block)
    array.flush()


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
