"""Runs jobs on this machine, several at a time, each in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType

from avbench.launch.job import Finished, Job

_POLL_S = 0.1


def run_jobs(
    jobs: Sequence[Job],
    slots: Sequence[Mapping[str, str]],
    report: Callable[[Finished], None] = lambda finished: None,
) -> list[Finished]:
    """Runs every job; one that fails does not stop the others.

    A signal that asks this process to stop is passed on to the jobs, which leave a state to go on from.

    Args:
        jobs: What to run, begun in this order.
        slots: One environment for each job that may run at a time, on top of this process's own: which GPU, for
            example.
        report: Called with each job as it ends.

    Returns:
        The jobs in the order they ended.

    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM came; every job has ended.
    """
    waiting = list(reversed(jobs))
    free = list(reversed(slots))
    running: list[tuple[Job, subprocess.Popen[bytes], float, Mapping[str, str]]] = []
    finished: list[Finished] = []
    with _passing_on_signals(lambda: [process for _, process, _, _ in running]) as received:
        while running or (waiting and not received):
            while free and waiting and not received:
                job, slot = waiting.pop(), free.pop()
                running.append((job, _start(job, slot), time.monotonic(), slot))
            for entry in list(running):
                job, process, start, slot = entry
                status = process.poll()
                if status is not None:
                    running.remove(entry)
                    free.append(slot)
                    finished.append(Finished(job, status, time.monotonic() - start))
                    if not received:
                        report(finished[-1])
            time.sleep(_POLL_S)
    if received:
        raise KeyboardInterrupt
    return finished


def _start(job: Job, slot: Mapping[str, str]) -> subprocess.Popen[bytes]:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "avbench", *job.arguments],
            env={**os.environ, **slot},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that a Ctrl-C reaches the jobs once, from here
        )


@contextlib.contextmanager
def _passing_on_signals(processes: Callable[[], Sequence[subprocess.Popen[bytes]]]) -> Iterator[list[int]]:
    """Yields a list that the first SIGINT or SIGTERM is added to; every one is sent to the processes."""
    received: list[int] = []

    def receive(number: int, _: FrameType | None) -> None:
        received.append(number)
        for process in processes():
            if process.poll() is None:
                process.send_signal(number)

    before = {}
    with contextlib.suppress(ValueError):  # only the main thread may set handlers
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, receive)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
