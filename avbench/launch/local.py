"""Runs jobs on this machine, several at a time, each in a process of its own."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from avbench.launch.job import Finished, Job
from avbench.launch.pool import stop_signals
from avbench.processes import environment, take, words

log = logging.getLogger("avbench")
_POLL_S = 0.1


@dataclass
class _Running:
    """A job that has a slot. ``process`` is None while a process of an earlier pool still writes to the job's log."""

    job: Job
    slot: Mapping[str, str]
    begun: float
    process: subprocess.Popen[bytes] | None


class LocalPool:
    """A pool of this machine's.

    A job's process holds a lock on the job's log. Where the process that started jobs was killed, they go on; whoever
    starts the same job again waits for the old process first, so that nothing is computed twice.

    Args:
        slots: One environment for each job that may run at a time, on top of this process's own: which GPU, for
            example.
    """

    def __init__(self, slots: Sequence[Mapping[str, str]]) -> None:
        self._count = len(slots)
        self._free = list(reversed(slots))
        self._waiting: list[Job] = []
        self._running: list[_Running] = []
        self._ended: list[Finished] = []

    @property
    def slots(self) -> int:
        """How many jobs run at a time."""
        return self._count

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return bool(self._running or self._waiting)

    def start(self, jobs: Sequence[Job]) -> None:
        """Begins jobs, in this order; those that find no free slot wait."""
        self._waiting += jobs
        self._fill()

    def ended(self) -> list[Finished]:
        """Returns the jobs that ended since the last call, and gives their slots to those that wait."""
        for entry in list(self._running):
            if entry.process is None:
                entry.process = _start(entry.job, entry.slot)
            elif (status := entry.process.poll()) is not None:
                self._running.remove(entry)
                self._free.append(entry.slot)
                self._ended.append(Finished(entry.job, status, time.monotonic() - entry.begun))
        self._fill()
        ended, self._ended = self._ended, []
        return ended

    def stop(self, job: Job) -> None:
        """Asks one job to stop; one that has not begun is reported as ended by SIGTERM."""
        if job in self._waiting:
            self._waiting.remove(job)
            self._ended.append(Finished(job, -signal.SIGTERM, 0.0))
        for entry in [entry for entry in self._running if entry.job == job]:
            self._signal(entry, signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Sends a signal to every job that runs; those that wait are not begun any more."""
        self._ended += [Finished(job, -number, 0.0) for job in self._waiting]
        self._waiting.clear()
        for entry in list(self._running):
            self._signal(entry, number)

    def close(self) -> None:
        """Stops whatever runs or waits, and waits for it; a signal that comes meanwhile is passed on."""
        ended: list[Finished] = []
        self.signal(signal.SIGTERM)
        with stop_signals() as received:
            while self.busy:
                while received:
                    self.signal(received.pop(0))
                ended += self.ended()
                time.sleep(_POLL_S)
        self._ended += ended

    def _fill(self) -> None:
        while self._free and self._waiting:
            job, slot = self._waiting.pop(0), self._free.pop()
            entry = _Running(job, slot, time.monotonic(), _start(job, slot))
            if entry.process is None:
                log.info("%s: another process still writes to %s; waiting for it", job.name, job.log)
            self._running.append(entry)

    def _signal(self, entry: _Running, number: int) -> None:
        if entry.process is not None:
            if entry.process.poll() is None:
                entry.process.send_signal(number)
            return
        self._running.remove(entry)  # the process of an earlier pool is not ours to stop
        self._free.append(entry.slot)
        self._ended.append(Finished(entry.job, -number, time.monotonic() - entry.begun))


def _start(job: Job, slot: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    """Starts a job's process; None where another one still holds the job's log."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as output:
        # Inherited with the log, and gone with the process.
        if not take(lambda: fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB), job.log):
            return None
        output.truncate(0)
        return subprocess.Popen(
            words(*job.arguments),
            env={**os.environ, **environment(), **slot},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that a Ctrl-C reaches the jobs once, from here
        )
