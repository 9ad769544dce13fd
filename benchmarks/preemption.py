"""A thousand jobs on a cluster that preempts and kills them at random: is each run done, once, and no record lost?

    python benchmarks/preemption.py [--jobs N] [--slots N] [--preemptions RATE] [--seed N] [--terminals N] [--keep DIR]

A quarter of the jobs are trainings by the real loop (of a tiny model), the others write real records of their weights.
``avbench.launch.slurm.submit`` submits them: as arrays with dependencies, with its ledger, to a simulated cluster with
few slots and a bounded queue, while a user types the same command again and again, and is killed at times, too. Every
job is a process. What is left on disk is then checked, and the exit status is 1 where a check fails.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: its threads would not survive a fork

from preemption_check import check
from preemption_cluster import Cluster, forked
from preemption_login import Login
from preemption_work import works

from avbench.launch import queue, slurm
from avbench.launch.job import is_full
from avbench.launch.profile import Profile

_TYPED_S = 0.5  # mean time between two commands of the user
_KILLED = 0.02  # share of submissions at which the submitting process is killed, before it and again after it
_PLANNED_S = 0.2  # that a command takes to find what is done; a thousand real runs take longer


@dataclass
class User:
    """Types the same command at random moments, in one terminal or in several.

    Attributes:
        cluster: Gets what is submitted.
        largest: The longest array.
        terminals: Commands that may run at a time.
        done: Whether a command found nothing left to submit.
    """

    cluster: Cluster
    largest: int
    terminals: int
    done: bool = False
    _next: float = 0.0
    _pipes: dict[int, Connection] = field(default_factory=dict)

    @property
    def busy(self) -> bool:
        """Whether a command runs."""
        return bool(self._pipes)

    def advance(self) -> None:
        """Types, and answers the commands that run."""
        now = time.monotonic()
        if not self.done and len(self._pipes) < self.terminals and now >= self._next:
            self._type()
            self._next = now + self.cluster.draw.expovariate(1 / _TYPED_S)
        for process in self._pipes:
            self._listen(process)

    def reaped(self, process: int, code: int) -> None:
        """Takes the end of a command."""
        self._listen(process)
        self._pipes.pop(process).close()
        if code == -signal.SIGKILL:
            self.cluster.counts["commands killed"] += 1
        elif code:
            self.cluster.counts["unexpected"] += 1

    def _type(self) -> None:
        here, there = Pipe()
        self.cluster.counts["commands"] += 1
        with forked() as process:
            if process == 0:
                here.close()
                Login(there, self.largest).install()
                there.send(("told", *_command(self.cluster)))
        there.close()
        self._pipes[process] = here

    def _listen(self, process: int) -> None:
        pipe = self._pipes[process]
        with contextlib.suppress(EOFError, OSError):  # it has ended; ``reaped`` hears of it
            while pipe.poll():
                self._answer(process, pipe, pipe.recv())

    def _answer(self, process: int, pipe: Connection, words: Sequence[object]) -> None:
        cluster, draw = self.cluster, self.cluster.draw
        if words[0] == "squeue":
            pipe.send(cluster.queued())
        elif words[0] == "told":
            wanted, left = words[1:]
            self.done = not wanted
            cluster.counts["commands that found the queue full"] += bool(left)
        else:
            if draw.random() < _KILLED:
                os.kill(process, signal.SIGKILL)
                return
            answer = cluster.accept(*words[1:])  # type: ignore[arg-type]
            if draw.random() < _KILLED:  # the jobs are queued, the ledger does not know their numbers
                os.kill(process, signal.SIGKILL)
                return
            pipe.send(answer)


def _command(cluster: Cluster) -> tuple[int, int]:
    """Does what ``avbench grid --launcher slurm`` does; returns how many runs were not done, and found no room."""
    jobs = [work.job for work in cluster.works if not is_full(cluster.results, work.makes)]
    if not jobs:
        return 0, 0
    time.sleep(_PLANNED_S)
    return len(jobs), len(slurm.submit(jobs, cluster.profile, cluster.results).left)


def simulate(cluster: Cluster, user: User, limit_s: float) -> bool:
    """Continues until every run is done; returns whether they finished in time."""
    end = time.monotonic() + limit_s
    shown = 0.0
    while not user.done or user.busy or cluster.busy:
        user.advance()
        cluster.advance(user.reaped)
        now = time.monotonic()
        if now > end:
            cluster.close()
            return False
        if now > shown + 1 and sys.stderr.isatty():
            shown = now
            done = sum(is_full(cluster.results, work.makes) for work in cluster.works)
            sys.stderr.write(f"\r{done} of {len(cluster.works)} runs done, {cluster.counts['processes']} processes ")
        time.sleep(0.002)
    return True


def _import_all() -> None:
    """Imports once what every process needs; none of it computes."""
    for name in ("safetensors.numpy", "safetensors.torch", "submitit.core.utils", "torch._dynamo"):
        importlib.import_module(name)


def main() -> int:
    """Simulates, checks, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000, help="runs; one in four trains")
    parser.add_argument("--slots", type=int, default=12, help="jobs that run at a time")
    parser.add_argument("--preemptions", type=float, default=0.4, help="share of processes that are interrupted")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random; the moments are the machine's")
    parser.add_argument("--terminals", type=int, default=1, help="commands that the user may run at a time")
    parser.add_argument(
        "--queue", type=int, default=0, help="jobs that may be queued; 0: three tenths of all, at least 4"
    )
    parser.add_argument("--limit", type=float, default=900.0, help="seconds until it is given up")
    parser.add_argument(
        "--keep", type=Path, default=None, help="an empty folder for all files; by default one that goes"
    )
    given = parser.parse_args()
    _import_all()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="preemption-"))
    results, diaries, scratch = (folder / name for name in ("results", "diaries", "undisturbed"))
    for path in (results / "jobs" / "slurm", diaries, scratch):
        path.mkdir(parents=True)
    queue.queued = dict  # type: ignore[assignment]  # for ``avbench status`` at the end
    queue.ended = lambda numbers: {}  # type: ignore[assignment]
    cluster = Cluster(
        results=results,
        diaries=diaries,
        works=works(given.jobs),
        slots=given.slots,
        limit=given.queue or max(4, given.jobs * 3 // 10),
        rate=given.preemptions,
        draw=random.Random(given.seed),
        profile=Profile(array_parallelism=max(1, given.slots * 3 // 4), retries=1),
    )
    begin = time.monotonic()
    in_time = simulate(cluster, User(cluster, max(2, given.jobs // 10), given.terminals), given.limit)
    wall = time.monotonic() - begin
    if not in_time:
        sys.stderr.write(f"failed: not done after {given.limit:.0f} s; its files are in {folder}\n")
        return 1
    found = check(cluster, wall, scratch)
    print(found)
    if found.failed:
        sys.stderr.write(f"failed: see above; its files are in {folder}\n")
    elif given.keep is None:
        shutil.rmtree(folder)
    return int(found.failed)


if __name__ == "__main__":
    sys.exit(main())
