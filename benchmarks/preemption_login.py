"""Where the user of ``preemption.py`` types: what ``avbench.launch`` finds there of Slurm, and of submitit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from avbench.launch.payload import Payload
from avbench.launch.profile import Profile


class Login:
    """Asks the cluster over a pipe.

    Args:
        pipe: To the process that plays the cluster.
        largest: The longest array.
    """

    def __init__(self, pipe: Connection, largest: int) -> None:
        self._pipe = pipe
        self._largest = largest

    def install(self) -> None:
        """Puts it where sbatch and squeue are called, in this process."""
        from avbench.launch import queue, slurm

        queue.queued = lambda: self._ask("squeue")  # type: ignore[assignment]
        queue.largest_array = lambda: self._largest  # type: ignore[assignment]
        slurm._executor = self._executor  # type: ignore[assignment]

    def _ask(self, *words: Any) -> Any:
        self._pipe.send(words)
        return self._pipe.recv()

    def _executor(
        self, folder: Path, profile: Profile, name: str, *, together: bool, waits: Sequence[str]
    ) -> _Executor:
        return _Executor(folder, lambda tasks: self._ask("sbatch", name, tasks, list(waits), self._largest))


@dataclass
class _Paths:
    stdout: Path


@dataclass
class _Submitted:
    job_id: str = ""
    paths: _Paths = field(default_factory=lambda: _Paths(Path()))


class _Executor:
    """What is used of submitit's."""

    def __init__(self, folder: Path, sbatch: Callable[[list[tuple[str, ...]]], str]) -> None:
        self._folder = folder
        self._sbatch = sbatch
        self._jobs: list[tuple[_Submitted, Payload]] = []

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        from submitit.core.utils import FailedJobError

        yield
        array = self._sbatch([payload.arguments for _, payload in self._jobs])
        if array.startswith("sbatch: "):
            raise FailedJobError(array)
        for index, (job, _) in enumerate(self._jobs):
            job.job_id = array if len(self._jobs) == 1 else f"{array}_{index}"
            job.paths.stdout = self._folder / f"{job.job_id}.log"

    def submit(self, payload: Payload) -> _Submitted:
        self._jobs.append((_Submitted(), payload))
        return self._jobs[-1][0]
