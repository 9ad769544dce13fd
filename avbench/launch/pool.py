"""A pool: a place where jobs run in parallel, this machine or a cluster, as those who start jobs see it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Protocol

from avbench.launch.job import Finished, Job
from avbench.processes import stops


class Pool(Protocol):
    """Where jobs run."""

    @property
    def slots(self) -> int:
        """How many jobs run at a time."""

    def start(self, jobs: Sequence[Job]) -> None:
        """Begins jobs, in this order; those that find no free slot wait. A cluster takes them as one array."""

    def ended(self) -> list[Finished]:
        """Returns the jobs that ended since the last call; does not wait."""

    def stop(self, job: Job) -> None:
        """Asks one job to stop, with SIGTERM: training keeps its state. ``ended`` reports it when it has ended."""

    def close(self) -> None:
        """Stops whatever runs or waits, and returns when nothing does; ``ended`` reports them."""


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Yields a list that every signal of :func:`avbench.processes.stops` is added to; nothing else happens on them."""
    received: list[int] = []

    def receive(number: int, _: FrameType | None) -> None:
        received.append(number)

    before = {}
    with contextlib.suppress(ValueError):  # only the main thread may set handlers
        for number in stops():
            before[number] = signal.signal(number, receive)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
