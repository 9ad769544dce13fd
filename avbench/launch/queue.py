"""What Slurm says of jobs: those that wait or run (squeue), and those that have ended (sacct)."""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from avbench.errors import InputError, RunError

State = Literal["queued", "running", "done", "failed"]
_RUNNING = {"RUNNING", "COMPLETING", "CONFIGURING", "STAGE_OUT", "SIGNALING"}
_DONE = {"COMPLETED"}
_QUEUED = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SUSPENDED", "STOPPED", "RESIZING", "SPECIAL_EXIT"}
_ASKED_AT_ONCE = 500  # job numbers of one command line


@dataclass(frozen=True)
class SlurmJob:
    """A job as Slurm sees it."""

    number: str  # 123, or 123_4 in an array
    name: str
    state: State
    detail: str  # the reason it waits, the node it runs on, or how it ended


def queued() -> dict[str, SlurmJob]:
    """Returns this user's jobs that wait or run, by number.

    Raises:
        RunError: Slurm does not answer.
    """
    lines = _ask("squeue", "--noheader", "--array", f"--user={getpass.getuser()}", "--format=%i|%T|%r|%N|%j")
    found = {}
    for line in lines:
        number, state, reason, nodes, name = line.split("|", 4)
        if state in _QUEUED:
            found[number] = SlurmJob(number, name, "queued", reason)
        elif state in _RUNNING:
            found[number] = SlurmJob(number, name, "running", nodes)
    return found


def ended(numbers: Iterable[str]) -> dict[str, SlurmJob]:
    """Returns how jobs have ended, by number; empty where the cluster keeps no accounts."""
    arrays = sorted({number.partition("_")[0] for number in numbers})
    found: dict[str, SlurmJob] = {}
    for first in range(0, len(arrays), _ASKED_AT_ONCE):
        asked = ",".join(arrays[first : first + _ASKED_AT_ONCE])
        try:
            lines = _ask(
                "sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={asked}",
                "--format=JobID,State,ExitCode,NodeList,JobName",
            )  # fmt: skip
        except RunError:
            return found
        for line in lines:
            number, state, status, nodes, name = line.split("|", 4)
            word = state.partition(" ")[0]  # CANCELLED by 1000
            if word in _DONE:
                found[number] = SlurmJob(number, name, "done", "")
            elif word not in _QUEUED | _RUNNING:
                where = f" on {nodes}" if nodes and "None" not in nodes else ""
                found[number] = SlurmJob(number, name, "failed", f"{word.lower()}{where}, exit status {status}")
    return found


def partitions() -> list[str]:
    """Returns the names of the cluster's partitions."""
    return sorted(set(_ask("sinfo", "--noheader", "--format=%R")))


def largest_array() -> int:
    """Returns how many jobs an array can have."""
    for line in _ask("scontrol", "show", "config"):
        name, _, value = line.partition("=")
        if name.strip() == "MaxArraySize":
            return max(1, int(value) - 1)  # it bounds the index, which begins at 0
    return 1000


def cancel(numbers: Sequence[str]) -> None:
    """Cancels jobs; those that have ended already are left alone."""
    for first in range(0, len(numbers), _ASKED_AT_ONCE):
        _ask("scancel", *numbers[first : first + _ASKED_AT_ONCE])


def _ask(*words: str) -> list[str]:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    except FileNotFoundError:
        raise InputError(
            f"--launcher slurm: found no {words[0]} here, valid: a machine that submits to Slurm, or --launcher local."
        ) from None
    except subprocess.TimeoutExpired:
        raise RunError(f"{words[0]} did not answer within two minutes; the cluster's controller may be down.") from None
    if done.returncode:
        raise RunError(f"{words[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return [line for line in done.stdout.splitlines() if line.strip()]
