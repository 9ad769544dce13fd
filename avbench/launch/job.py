"""A job: one ``avbench`` command that is to be run, in a process of its own, and what became of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

_MARKS = ("record.json", "done.json", "prepare.json")  # what a folder that is full holds
_OF_THE_CLUSTER = ("srun: ", "slurmstepd: ", "submitit ")  # what a scheduler adds to a log


@dataclass(frozen=True)
class Job:
    """One command.

    Attributes:
        name: What it is, in few words.
        kind: Jobs of a kind form arrays: ``pretrain``, with what a task changes in it, or the task.
        arguments: What follows ``avbench``.
        makes: Folders below the results that it fills.
        needs: Folders that other jobs fill first, or the commands of such jobs.
        together: Whether several processes may do it.
        hours: Device-hours it takes by what was measured; None: nothing like it was.
        log: Where its output goes; empty: where the scheduler puts it.
    """

    name: str
    kind: str
    arguments: tuple[str, ...]
    makes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    together: bool = False
    hours: float | None = None
    log: Path = Path()

    @property
    def command(self) -> str:
        """The command as a user would type it."""
        return shlex.join(("avbench", *self.arguments))

    @property
    def names(self) -> tuple[str, ...]:
        """What others may need of it: the folders and the command."""
        return (*self.makes, self.command)


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


def is_full(results: Path, folder: str) -> bool:
    """Returns whether a folder below the results holds what its job leaves there."""
    return any((results / folder / mark).exists() for mark in _MARKS)


def last_error(log: Path) -> str:
    """Returns what a command said last of its failure, else its last line; empty where there is no output."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line for line in text.splitlines() if line and not line.startswith(_OF_THE_CLUSTER)]
    told = [line for line in lines if line.startswith(("failed: ", "avbench: error: "))]
    return "".join((told or lines)[-1:]).removeprefix("failed: ").removeprefix("avbench: error: ")
