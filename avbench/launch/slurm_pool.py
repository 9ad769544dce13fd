"""A pool of a Slurm cluster's: what drives trials starts them there as arrays, and looks how they ended."""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from avbench.errors import RunError
from avbench.files import link
from avbench.launch import ledger, queue, slurm
from avbench.launch.job import Finished, Job
from avbench.launch.profile import Profile

log = logging.getLogger("avbench")
_POLL_S = 2.0  # squeue asks a server that all users share
_PATIENCE_S = 60.0  # the accounts learn of an end some seconds after the queue


@dataclass
class _Begun:
    """A job in the queue."""

    job: Job
    number: str
    begun: float
    missed: float = 0.0  # when the queue and the accounts first knew nothing of it


class SlurmPool:
    """Jobs of a cluster. Those that a driver left there when it ended are found again by their command.

    Args:
        profile: What to ask for.
        results: The results folder, with the ledger.
        slots: How many jobs to have there at a time; 0: as many as the profile's arrays run.
    """

    def __init__(self, profile: Profile, results: Path, slots: int = 0) -> None:
        self._profile = profile
        self._results = results
        self._slots = slots or profile.array_parallelism
        self._waiting: list[Job] = []
        self._begun: list[_Begun] = []
        self._ended: list[Finished] = []
        self._asked = 0.0

    @property
    def slots(self) -> int:
        """How many jobs run at a time."""
        return self._slots

    def start(self, jobs: Sequence[Job]) -> None:
        """Submits jobs as one array; those the queue has no room for wait here.

        Raises:
            InputError: Slurm refused them; nothing was submitted.
            RunError: It refused some of them.
        """
        self._waiting += jobs
        self._submit()

    def ended(self) -> list[Finished]:
        """Returns the jobs that ended since the last call; asks the scheduler every other second at most."""
        now = time.monotonic()
        if now - self._asked >= _POLL_S:
            self._asked = now
            try:
                self._look()
            except RunError as error:  # a controller that restarts is no reason to lose trials
                log.info("%s; asking again", error)
        ended, self._ended = self._ended, []
        return ended

    def stop(self, job: Job) -> None:
        """Cancels one job: Slurm sends SIGTERM first, on which training keeps its state."""
        if job in self._waiting:
            self._waiting.remove(job)
            self._ended.append(Finished(job, -signal.SIGTERM, 0.0))
        queue.cancel([entry.number for entry in self._begun if entry.job == job])

    def close(self) -> None:
        """Cancels whatever waits or runs, and returns when nothing does."""
        self._ended += [Finished(job, -signal.SIGTERM, 0.0) for job in self._waiting]
        self._waiting.clear()
        if self._begun:
            queue.cancel([entry.number for entry in self._begun])
        while self._begun:
            time.sleep(_POLL_S)
            with contextlib.suppress(RunError):
                self._look()

    def _submit(self) -> None:
        outcome = slurm.submit(self._waiting, self._profile, self._results)
        if outcome.refusal:
            log.info("%d jobs wait for room in the queue (%s)", len(outcome.left), outcome.refusal)
        numbers = {job.command: array.job(i) for array in outcome.arrays for i, job in enumerate(array.jobs)}
        if outcome.known:
            numbers |= slurm.active(self._results)
        for job in list(self._waiting):
            if job.command in numbers:
                self._waiting.remove(job)
                self._begun.append(_Begun(job, numbers[job.command], time.monotonic()))
                link(job.log, self._log(numbers[job.command]))

    def _look(self) -> None:
        waiting = queue.queued()
        gone = [entry for entry in self._begun if entry.number not in waiting]
        told = queue.ended(entry.number for entry in gone) if gone else {}
        now = time.monotonic()
        for entry in gone:
            status = self._status(entry.number, told)
            if status is None:
                entry.missed = entry.missed or now
                if now - entry.missed < _PATIENCE_S:
                    continue
                status = 1
            self._begun.remove(entry)
            self._ended.append(Finished(entry.job, status, now - entry.begun))
        if self._waiting and (gone or not self._begun):
            self._submit()

    def _status(self, number: str, told: dict[str, queue.SlurmJob]) -> int | None:
        """Returns the exit status of a job that has left the queue; None: nothing is known yet."""
        if number in told:
            found = told[number]
            if found.state == "done":
                return 0
            return -signal.SIGTERM if found.detail.startswith("cancelled") else 1
        # A cluster without accounts: submitit's file is there where the job ended by itself.
        path = self._log(number).with_name(f"{number}_0_result.pkl")
        if not path.exists():
            return None
        from submitit.core.utils import pickle_load

        return 0 if pickle_load(path)[0] == "success" else 1

    def _log(self, number: str) -> Path:
        return (self._results / ledger.FOLDER / "slurm").resolve() / f"{number}_0_log.out"
