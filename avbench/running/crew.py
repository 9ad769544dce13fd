"""Processes that extract in parallel or fine-tune together on this machine; each serves this module.

They are processes of their own and not ``multiprocessing`` children, so that they work from notebooks and unguarded
scripts. Each is given its rank, and of several GPUs one; what comes back is how much is done.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from avbench.errors import AvbenchError, RunError
from avbench.processes import Child, check_code, leave_stops_to_parent

_DONE = "done"
_STOP_S = 30.0  # for writing what is finished


class Shared(Protocol):
    """What processes share; it travels to each of them."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def folder(self) -> Path:
        """Where it writes."""

    @property
    def threads(self) -> int:
        """Of torch, in each process."""

    def variables(self, rank: int, world: int) -> dict[str, str]:
        """Returns what the environment of a process says of its share."""
        ...

    def compute_share(self, rank: int, world: int, report: Callable[[int], None]) -> None:
        """Computes one process's share.

        Args:
            rank: Which share.
            world: Of how many.
            report: Told how much more is done.
        """
        ...


class _Member:
    """One process of a crew and what it says."""

    def __init__(self, job: Shared, path: Path, rank: int, world: int) -> None:
        self.name = f"{job.name} process {rank + 1} of {world}"
        variables = job.variables(rank, world)
        # Modules are found where this process finds them: methods of plug-ins travel as references.
        self.child = Child(__name__, str(path), str(rank), str(world), paths=sys.path, variables=variables)

    def receive(self) -> Any:
        """Returns what the process says next; a RunError where it ended without having said that it is done."""
        try:
            return self.child.connection.recv()
        except (EOFError, OSError):
            ended, said = self.child.ending(), self.child.last_words()
            return RunError(
                f"{self.name} ended ({ended}{f'; {said}' if said else ''}); what is finished is kept, run the same"
                " command again to resume."
            )


def run(job: Shared, world: int, report: Callable[[int], None]) -> None:
    """Shares a job among processes and waits for them; the first that fails stops the others.

    Args:
        job: What to compute.
        world: How many processes.
        report: Called with what each process reports.

    Raises:
        RunError: A clip cannot be read, or a process ended early; the message names it.
    """
    path = job.folder / f".job.{os.getpid()}.tmp"
    members: list[_Member] = []
    try:
        with path.open("wb") as handle:
            pickle.dump(job, handle, protocol=pickle.HIGHEST_PROTOCOL)
        members += [_Member(job, path, rank, world) for rank in range(world)]
        working = {member.child.connection: member for member in members}
        while working:
            for connection in wait(list(working)):
                message = working[connection].receive()  # type: ignore[index]  # only what was waited for
                if isinstance(message, AvbenchError):
                    raise message
                if message == _DONE:
                    del working[connection]  # type: ignore[arg-type]
                else:
                    report(message)
    finally:
        for member in members:
            member.child.terminate()  # all at once, so that they write in parallel
        for member in members:
            member.child.stop(_STOP_S)
        path.unlink(missing_ok=True)


def serve(connection: Connection, job: str, rank: str, world: str) -> None:
    """Computes one share of a job.

    Args:
        connection: Told how much is done.
        job: The file that holds the job.
        rank: Which share.
        world: Of how many.
    """
    leave_stops_to_parent()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        check_code()
        import torch

        work: Shared = pickle.loads(Path(job).read_bytes())
        torch.set_num_threads(work.threads)
        work.compute_share(int(rank), int(world), connection.send)
        connection.send(_DONE)
    except BrokenPipeError:
        return  # the driver is gone
    except AvbenchError as error:
        connection.send(error)
