"""The cluster of ``preemption.py``: it takes what ``avbench.launch.slurm`` submits, runs it, and kills at random.

It stands where sbatch, squeue and the controller of Slurm do; all else is the project's own.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from preemption_work import STEPS, Diary, Work, evaluate, newest_checkpoint, pretrain

from avbench.errors import Stopped
from avbench.launch.job import is_full
from avbench.launch.profile import Profile
from avbench.launch.queue import SlurmJob

_FULL = (
    "sbatch: error: QOSMaxSubmitJobPerUserLimit\n"
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy"
)
_TYPICAL_S = {True: 1.0, False: 0.1}  # what a pretraining and an evaluation take; kills fall within
_CYCLE_S = 1.0
_HURRY_S = 0.03
_STOPPED = 128 + signal.SIGTERM
# How a job is interrupted, and how often of a hundred. Of those that wait for a moment, the moment may not come.
_WAYS = {
    "preempted": 45,  # SIGTERM, then requeued
    "hurried": 5,  # SIGTERM and, before the checkpoint may be there, SIGKILL, then requeued
    "node": 20,  # SIGKILL, then requeued
    "writing": 8,  # the same while a file is being written
    "written": 8,  # the same as soon as the weights or the record are there
    "out of memory": 7,  # SIGKILL, and it counts as a failure of the job
    "failing": 7,  # the job fails
}
_REQUEUED = ("preempted", "hurried", "node", "writing", "written")  # by Slurm; the others by the job's own script
_ENDS = {"stopped": (_STOPPED, -signal.SIGTERM), "killed": (_STOPPED, -signal.SIGTERM, -signal.SIGKILL)}


@dataclass
class Session:
    """One process of a run, and how it ended."""

    number: int
    way: str  # how it was to be interrupted
    at: float  # when, on the clock
    fails_at: int = 0
    warned: bool = False
    ended: Literal["", "done", "stopped", "killed", "failed"] = ""
    checkpoint: int = 0  # the newest when it had ended


@dataclass
class Job:
    """One job of the queue."""

    array: str
    index: int
    alone: bool
    name: str
    work: Work
    waits: tuple[tuple[str, str], ...]
    state: Literal["queued", "running", "done", "failed"] = "queued"
    failures: int = 0
    not_before: float = 0.0
    process: int = 0
    session: Session | None = None

    @property
    def number(self) -> str:
        """As Slurm has it."""
        return self.array if self.alone else f"{self.array}_{self.index}"

    @property
    def open(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ("queued", "running")


@dataclass
class Cluster:
    """The queue and its processes.

    Attributes:
        results: The results folder.
        diaries: What the processes note.
        works: The runs.
        slots: Jobs that run at a time.
        limit: Jobs that may be in the queue (MaxSubmitJobs).
        rate: The share of processes that are interrupted.
        draw: Behind all that is random.
        counts: What happened.
    """

    results: Path
    diaries: Path
    works: Sequence[Work]
    slots: int
    limit: int
    rate: float
    draw: random.Random
    profile: Profile
    counts: Counter[str] = field(default_factory=Counter)
    sessions: dict[str, list[Session]] = field(default_factory=lambda: defaultdict(list))
    jobs: dict[str, Job] = field(default_factory=dict)
    _arrays: dict[str, list[Job]] = field(default_factory=dict)
    _running: dict[int, Job] = field(default_factory=dict)
    _counted: int = 0  # jobs in the queue; those that end make room at the next cycle
    _cycle: float = 0.0

    def __post_init__(self) -> None:
        self._by_arguments = {work.job.arguments: work for work in self.works}

    @property
    def busy(self) -> bool:
        """Whether a job waits or runs."""
        return any(job.open for job in self.jobs.values())

    def queued(self) -> dict[str, SlurmJob]:
        """Answers squeue."""
        return {
            job.number: SlurmJob(job.number, job.name, "running" if job.process else "queued", "")
            for job in self.jobs.values()
            if job.open
        }

    def accept(self, name: str, arguments: Sequence[tuple[str, ...]], waits: Sequence[str], size: int) -> str:
        """Answers sbatch: the number of an array, or why it is refused.

        Args:
            name: The submission's.
            arguments: Of the jobs.
            waits: Dependencies, as sbatch has them.
            size: The longest array.
        """
        opened = [job.work.id for job in self.jobs.values() if job.open]
        if self._counted + len(arguments) > self.limit or len(arguments) > size:
            self.counts["refusals"] += 1
            self.counts["refusals"] += 1
            return _FULL
        array = str(1000 + len(self._arrays))
        after = tuple((kind, target) for kind, _, target in (wait.partition(":") for wait in waits))
        found = []
        for index, words in enumerate(arguments):
            work = self._by_arguments[words]
            self.counts["duplicates of what is queued"] += work.id in opened
            self.counts["duplicates of what is done"] += is_full(self.results, work.makes)
            found.append(Job(array, index, len(arguments) == 1, name, work, after))
        self._arrays[array] = found
        self._counted += len(found)
        self.jobs.update({job.number: job for job in found})
        self.counts["arrays"] += 1
        self.counts["jobs submitted"] += len(found)
        return array

    def advance(self, reaped: Callable[[int, int], None]) -> None:
        """Ends, kills and starts jobs.

        Args:
            reaped: Called with the number and status of other processes that ended.
        """
        if time.monotonic() > self._cycle + _CYCLE_S:
            self._cycle, self._counted = time.monotonic(), sum(job.open for job in self.jobs.values())
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if process == 0:
                break
            code = os.waitstatus_to_exitcode(status)
            if process in self._running:
                self._end(self._running.pop(process), code)
            else:
                reaped(process, code)
        for process, job in self._running.items():
            self._interrupt(process, job)
        self._start()

    def close(self) -> None:
        """Kills what runs."""
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)

    def _start(self) -> None:
        now = time.monotonic()
        running: Counter[str] = Counter(job.array for job in self._running.values())
        waiting = [job for job in self.jobs.values() if job.state == "queued"]
        verdicts: dict[tuple[str, str], bool | None] = {}
        for job in waiting:
            met = [self._met(kind, target, job, verdicts) for kind, target in job.waits]
            if False in met:  # kill-on-invalid-dep
                job.state = "failed"
                self.counts["jobs whose need failed"] += 1
            elif (
                all(met)
                and now >= job.not_before
                and len(self._running) < self.slots
                and running[job.array] < self.profile.array_parallelism
            ):
                running[job.array] += 1
                self._fork(job)

    def _met(self, kind: str, target: str, job: Job, known: dict[tuple[str, str], bool | None]) -> bool | None:
        """Returns whether a dependency is met; None: not yet; False: it never will be."""
        if kind == "aftercorr":
            needed = [self._arrays[target][job.index]]
        elif target in self.jobs:
            needed = [self.jobs[target]]
        elif (kind, target) in known:
            return known[kind, target]
        else:
            needed = self._arrays[target]
        met = False if any(n.state == "failed" for n in needed) else all(n.state == "done" for n in needed) or None
        if len(needed) > 1:
            known[kind, target] = met
        return met

    def _fork(self, job: Job) -> None:
        work, draw = job.work, self.draw
        mine = self.sessions[work.id]
        way = draw.choices(list(_WAYS), list(_WAYS.values()))[0] if draw.random() < self.rate else ""
        session = Session(len(mine), way, time.monotonic() + draw.uniform(0, _TYPICAL_S[work.trains]))
        if way == "failing":
            session.fails_at = draw.randint(1, STEPS)
        self.counts["together"] += any(other.work.id == work.id for other in self._running.values())
        log = self.results / "jobs" / "slurm" / f"{job.number}.log"
        mine.append(session)
        with forked() as process:
            if process == 0:
                _run(work, self.results, Diary(self.diaries, work, session.number), session.fails_at, log)
        job.state, job.process, job.session = "running", process, session
        self._running[process] = job
        self.counts["processes"] += 1

    def _interrupt(self, process: int, job: Job) -> None:
        session = job.session
        if session is None or session.ended or session.way in ("", "failing"):
            return
        folder = self.results / job.work.makes
        if session.way == "writing":
            due = any(folder.parent.glob(f".{folder.name}.*")) or any(folder.glob("checkpoints/.step-*"))
        elif session.way == "written":
            due = (folder / ("weights.safetensors" if job.work.trains else "record.json")).exists()
        else:
            due = time.monotonic() >= session.at
        if not due:
            return
        warned = session.way == "preempted" or (session.way == "hurried" and not session.warned)
        os.kill(process, signal.SIGTERM if warned else signal.SIGKILL)
        if warned and session.way == "hurried":
            session.warned, session.at = True, time.monotonic() + self.draw.uniform(0, _HURRY_S)
        else:
            session.ended = "stopped" if warned else "killed"

    def _end(self, job: Job, code: int) -> None:
        session = job.session
        if session is None:
            raise RuntimeError(job.number)
        job.process, job.session = 0, None
        session.checkpoint = newest_checkpoint(self.results / job.work.makes) if job.work.trains else 0
        if code == 0:
            session.ended = "done"
            job.state = "done"
            return
        job.state, job.not_before = "queued", time.monotonic() + self.draw.uniform(0, 0.1)
        if session.ended == "" and session.way == "failing":
            session.ended = "failed"
        if session.warned:
            session.ended = "killed"
        if session.ended == "" or (session.ended != "failed" and code not in _ENDS[session.ended]):
            session.ended = "failed"
            self.counts["unexpected"] += 1
        self.counts[session.way] += 1
        if session.way in _REQUEUED:
            return
        job.failures += 1
        if job.failures > self.profile.retries:
            job.state = "failed"
            self.counts["jobs that failed for good"] += 1


@contextlib.contextmanager
def forked() -> Iterator[int]:
    """Forks; the block is left in the parent only, as the child ends in it."""
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    try:
        yield process
    except BaseException:
        if process:
            raise
        import traceback

        traceback.print_exc()
        os._exit(1)
    if process == 0:
        os._exit(0)


def _run(work: Work, results: Path, diary: Diary, fails_at: int, log: Path) -> None:
    """What a process of a job does, with the exit statuses of ``avbench``."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    diary.note("start")
    try:
        if work.trains:
            pretrain(work, results, diary, fails_at=fails_at)
        else:
            if fails_at:
                raise OSError("the node has no memory left.")
            evaluate(work, results, diary)
    except Stopped as stopped:
        os.write(2, f"{stopped}\n".encode())
        os._exit(_STOPPED)
