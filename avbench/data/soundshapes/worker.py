"""Clips made by several processes."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avbench.data.soundshapes.factors import clip_factors
from avbench.data.soundshapes.picture import frame_times, masks
from avbench.data.soundshapes.render import render
from avbench.errors import RunError
from avbench.processes import ONE_CORE, start

_COMMAND = "from avbench.data.soundshapes.worker import serve; serve()"
_FEW = 48  # so few clips take less time than starting a process


@dataclass(frozen=True)
class Job:
    """A clip to make."""

    seed: int
    split: str
    index: int


@dataclass(frozen=True)
class Made:
    """A clip whose file is there.

    Attributes:
        id: Of the clip.
        mask: uint8 (frames, H, W / 8): the sounding object's mask, eight pixels a byte.
    """

    id: str
    mask: NDArray[np.uint8]


def finish(jobs: list[Job], folder: Path, workers: int) -> Iterator[Made]:
    """Makes the clips whose files are not in ``folder`` yet, and yields all of them in order.

    Args:
        jobs: The clips.
        folder: Where the files are.
        workers: Processes; -1: one per core.

    Raises:
        RunError: A process ended early.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = min(cores if workers < 0 else max(1, workers), len(jobs) // _FEW)
    if count < 2:
        for job in jobs:
            yield _make(job, folder)
        return
    processes = [_Process(jobs[number::count], folder) for number in range(count)]
    try:
        for number in range(len(jobs)):
            yield processes[number % count].next()
    finally:
        for process in processes:
            process.stop()


class _Process:
    """Another interpreter that makes some of the clips: no fork, so threads and open files here do not matter."""

    def __init__(self, jobs: list[Job], folder: Path) -> None:
        self._connection, theirs = Pipe()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        words = ["-c", _COMMAND, str(theirs.fileno())]
        self._process = start(words, theirs, self._log, variables=ONE_CORE)
        self._connection.send((jobs, folder))

    def next(self) -> Made:
        try:
            made = self._connection.recv()
        except (EOFError, OSError):
            status = self._process.wait()
            self._log.seek(0)
            said = self._log.read().decode(errors="replace").strip().splitlines()
            raise RunError(
                f"soundshapes: a process ended with status {status}: {said[-1] if said else 'it said nothing'}; "
                "the clips made so far are kept, the same command resumes."
            ) from None
        if not isinstance(made, Made):
            raise RunError(f"soundshapes: a process sent {type(made).__name__} instead of a clip.")
        return made

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._connection.close()
        self._log.close()


def _make(job: Job, folder: Path) -> Made:
    factors = clip_factors(job.seed, job.split, job.index)
    path = folder / f"{factors.id}.mp4"
    if not path.exists():
        # Renamed when whole. It is not forced to the disk: thousands of such waits would take longer than the clips.
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(render(factors).encoded())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return Made(factors.id, np.packbits(masks(factors, frame_times()), axis=-1))


def serve() -> None:
    """Makes the clips that arrive on the connection whose number is the process's only argument."""
    connection = Connection(int(sys.argv[1]))
    jobs, folder = connection.recv()
    for job in jobs:
        connection.send(_make(job, folder))
