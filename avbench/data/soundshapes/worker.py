"""Clips made by several processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avbench.data.soundshapes.factors import clip_factors
from avbench.data.soundshapes.picture import frame_times, masks
from avbench.data.soundshapes.render import render
from avbench.errors import RunError
from avbench.files.unwritten import writing
from avbench.processes import ONE_CORE, Child, core_count

_FEW = 48  # so few clips take less time than starting a process


@dataclass(frozen=True)
class Order:
    """A clip to make."""

    seed: int
    split: str
    index: int
    version: int = 1


@dataclass(frozen=True)
class Made:
    """A clip whose file is there.

    Attributes:
        id: Of the clip.
        mask: uint8 (frames, H, W / 8): the sounding object's mask, eight pixels a byte.
    """

    id: str
    mask: NDArray[np.uint8]


def finish(jobs: list[Order], folder: Path, workers: int) -> Iterator[Made]:
    """Makes the clips whose files are not in ``folder`` yet, and yields all of them in order.

    Args:
        jobs: The clips.
        folder: Where the files are.
        workers: Processes; -1: one per core.

    Raises:
        RunError: A process ended early.
    """
    count = min(core_count() if workers < 0 else max(1, workers), len(jobs) // _FEW)
    if count < 2:
        for job in jobs:
            yield _make(job, folder)
        return
    children = [Child(__name__, variables=ONE_CORE) for _ in range(count)]
    try:
        for number, child in enumerate(children):
            child.connection.send((jobs[number::count], folder))
        for number in range(len(jobs)):
            yield _next(children[number % count])
    finally:
        for child in children:
            child.stop()


def _next(child: Child) -> Made:
    """Returns the clip that a process made."""
    try:
        made = child.connection.recv()
    except (EOFError, OSError):
        raise RunError(
            f"soundshapes: a process ended ({child.ending()}): {child.last_words() or 'it said nothing'}; "
            "the clips made so far are kept, the same command resumes."
        ) from None
    if not isinstance(made, Made):
        raise RunError(f"soundshapes: a process sent {type(made).__name__} instead of a clip.")
    return made


def _make(job: Order, folder: Path) -> Made:
    factors = clip_factors(job.seed, job.split, job.index, job.version)
    path = folder / f"{factors.id}.mp4"
    if not path.exists():
        # Renamed when whole. It is not forced to the disk: thousands of such waits would take longer than the clips.
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with writing(path, temporary=temporary):
                temporary.write_bytes(render(factors).encoded())
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return Made(factors.id, np.packbits(masks(factors, frame_times()), axis=-1))


def serve(connection: Connection) -> None:
    """Makes the clips that arrive on a connection."""
    jobs, folder = connection.recv()
    for job in jobs:
        connection.send(_make(job, folder))
