"""A job: one ``avbench`` command in a process of its own, and what became of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

_OF_THE_CLUSTER = ("srun: ", "slurmstepd: ", "submitit ")  # what a scheduler adds to a log


@dataclass(frozen=True)
class Job:
    """One command; ``arguments`` are what follows ``avbench``."""

    name: str
    arguments: tuple[str, ...]
    log: Path  # where its output goes

    @property
    def command(self) -> str:
        """The command as a user would type it."""
        return shlex.join(("avbench", *self.arguments))


@dataclass(frozen=True)
class Finished:
    """A job that has ended. ``status`` is its exit status, negative where a signal ended it (as subprocess has it)."""

    job: Job
    status: int
    seconds: float

    @property
    def error(self) -> str:
        """What the job said last of its failure; empty where it succeeded."""
        if self.status == 0:
            return ""
        if self.status < 0:
            return f"ended by signal {-self.status}; see {self.job.log}"
        return f"{last_error(self.job.log) or 'no output'} See {self.job.log}"


def last_error(log: Path) -> str:
    """Returns what a command said last of its failure, else its last line; empty where there is no output."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line for line in text.splitlines() if line and not line.startswith(_OF_THE_CLUSTER)]
    told = [line for line in lines if line.startswith(("failed: ", "avbench: error: "))]
    return "".join((told or lines)[-1:]).removeprefix("failed: ").removeprefix("avbench: error: ")
