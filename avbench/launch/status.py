"""How far the jobs of a results folder are: the ledger, the scheduler and the folders they fill, put together."""

from __future__ import annotations

import csv
import logging
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from avbench.errors import InputError
from avbench.files import read_json
from avbench.launch import ledger, queue
from avbench.launch.job import is_full, last_error
from avbench.processes import is_locked
from avbench.running.pretraining import STARTED
from avbench.store import seal

log = logging.getLogger("avbench")
State = Literal["running", "queued", "failed", "stale", "pruned", "done"]
STATES: tuple[State, ...] = ("running", "queued", "failed", "stale", "pruned", "done")
PRUNED = "pruned.json"  # beside a training that a sweep stopped: by which trial, and at which step


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training is, by the last row of its metrics.csv.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        loss: Mean loss since the row before.
        clips_per_s: Clips a second.
        left_s: Seconds it will take at this speed.
    """

    step: int
    steps: int
    loss: float | None = None
    clips_per_s: float | None = None
    left_s: float | None = None


@dataclass(frozen=True)
class JobState:
    """What is known of a job.

    Attributes:
        name: What it is, in few words.
        state: stale is what was begun and neither runs nor has ended as it should; pruned, what a sweep stopped.
        detail: Why it waits, where it runs, or the last line of its error.
        command: What it runs.
        log: The file its output goes to.
        job: The scheduler's number.
        progress: Of the training it does, if any.
    """

    name: str
    state: State
    detail: str = ""
    command: str = ""
    log: str = ""
    job: str = ""
    progress: TrainingProgress | None = None


def job_states(results: Path) -> list[JobState]:
    """Returns the state of every job of a results folder, once where it was started several times."""
    submissions = list(ledger.submissions(results))
    waiting, gone = _asked(submissions, results)
    latest: dict[tuple[str, ...], JobState] = {}
    known: set[str] = set()
    for submission in submissions:
        ended = submission.ended()
        alive = submission.launcher == "local" and _alive(submission)
        for entry in submission.entries:
            known.update(entry.makes)
            if submission.launcher == "slurm":
                found = _of_slurm(entry, results, waiting, gone)
            else:
                found = _of_local(entry, results, ended, alive=alive)
            key = entry.makes or (entry.command,)
            latest.pop(key, None)
            latest[key] = found
    return [*latest.values(), *_begun_alone(results, known)]


def _asked(
    submissions: Iterable[ledger.Submission], results: Path
) -> tuple[dict[str, queue.SlurmJob], dict[str, queue.SlurmJob]]:
    """Returns what Slurm says of the jobs that are not done: of those in the queue, and of those that have ended."""
    open_ = [
        entry.job
        for submission in submissions
        if submission.launcher == "slurm"
        for entry in submission.entries
        if entry.job and not _done(entry, results)
    ]
    if not open_:
        return {}, {}
    waiting = queue.queued()
    rest = [number for number in open_ if number not in waiting]
    return waiting, queue.ended(rest) if rest else {}


def _done(entry: ledger.Started, results: Path) -> bool:
    return bool(entry.makes) and all(is_full(results, folder) for folder in entry.makes)


def _of_slurm(
    entry: ledger.Started, results: Path, waiting: dict[str, queue.SlurmJob], gone: dict[str, queue.SlurmJob]
) -> JobState:
    state: State
    if _done(entry, results):
        state, detail = "done", ""
    elif entry.job in waiting:
        job = waiting[entry.job]
        state, detail = ("running" if job.state == "running" else "queued"), job.detail
    elif entry.job in gone and (gone[entry.job].state == "failed" or not entry.makes):
        job = gone[entry.job]
        state = "failed" if job.state == "failed" else "done"
        detail = "; ".join(filter(None, (last_error(Path(entry.log)), job.detail)))
    else:
        told = last_error(Path(entry.log))
        state, detail = ("failed" if told else "stale"), told or "ended without what it was to make"
    return _state(entry, state, detail, results)


def _of_local(entry: ledger.Started, results: Path, ended: dict[str, int], *, alive: bool) -> JobState:
    state: State
    if _done(entry, results):
        state, detail = "done", ""
    elif is_locked(Path(entry.log)):  # by the process of the job
        state, detail = "running", ""
    elif entry.name in ended:
        status = ended[entry.name]
        state = "failed" if status else "stale"
        detail = last_error(Path(entry.log)) or (
            f"ended by signal {-status}" if status < 0 else f"exit status {status}"
        )
    elif alive:
        state, detail = "queued", ""
    else:
        state, detail = "stale", "what started it has ended; the same command resumes it"
    return _state(entry, state, detail, results)


def _state(entry: ledger.Started, state: State, detail: str, results: Path) -> JobState:
    progress = None
    if state in ("running", "queued", "stale"):
        progress = next(filter(None, (read_progress(results / folder) for folder in entry.makes)), None)
    return JobState(entry.name, state, detail, entry.command, entry.log, entry.job, progress)


def _alive(submission: ledger.Submission) -> bool:
    """Returns whether the process that started jobs of this machine is still there to wait for them."""
    if submission.host != platform.node():
        return True  # nothing can be known of it here
    try:
        os.kill(submission.process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _begun_alone(results: Path, known: set[str]) -> Iterator[JobState]:
    """Yields trainings that no job of the ledger stands for: those that ``run`` or ``pretrain`` began here."""
    for path in sorted((results / "stages" / "pretrain").glob(f"[!.]*/{STARTED}")):
        folder = path.parent
        if folder.relative_to(results).as_posix() in known or _is_done(folder):
            continue
        told = _read(path)
        running, pruned = is_locked(folder / ".lock"), _read(folder / PRUNED)
        state: State = "running" if running else "pruned" if pruned else "stale"
        detail = str(told.get("host", "")) if running else "stopped; the same command resumes it"
        if state == "pruned":
            detail = f"by trial {pruned.get('trial')} of sweep {pruned.get('sweep')} at step {pruned.get('step')}"
        name = f"{told.get('method', folder.name)} seed {told.get('seed', '?')} pretrain"
        yield JobState(name, state, detail, progress=read_progress(folder))


def _is_done(folder: Path) -> bool:
    """Returns whether a training is done; a damaged done.json is named, and its training is stale."""
    if not (folder / seal.DONE).exists():
        return False
    try:
        seal.read_done(folder)
    except InputError as error:
        log.warning("%s A run that needs it computes it again.", error)
        return False
    return True


def read_progress(folder: Path) -> TrainingProgress | None:
    """Returns how far the training in a folder is; None where there is none, or it is complete."""
    told = _read(folder / STARTED)
    if not told or is_full(folder.parent, folder.name):
        return None
    try:
        steps, batch = int(told["steps"]), int(told["batch_size"])
        row = _last_row(folder / "metrics.csv")
        if not row:
            return TrainingProgress(0, steps)
        step, rate = int(row["step"]), float(row["clips_per_s"] or 0)
        left = (steps - step) * batch / rate if rate else None
        return TrainingProgress(step, steps, float(row["loss"]), rate or None, left)
    except (KeyError, TypeError, ValueError):
        log.warning("%s: how far it is cannot be read.", folder)
        return None


def _last_row(path: Path) -> dict[str, str]:
    """Returns the last whole row of a table that may be growing."""
    try:
        with path.open("rb") as handle:
            header = handle.readline()
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(len(header), size - 4096))
            tail = handle.read()
    except OSError:
        return {}
    names = next(csv.reader([header.decode(errors="replace")]), [])
    lines = tail.decode(errors="replace").split("\n")[:-1]
    rows = [row for row in csv.reader(lines[-1:]) if len(row) == len(names)]
    return dict(zip(names, rows[-1], strict=True)) if rows else {}


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found: dict[str, Any] = read_json(path)
    except InputError as error:
        log.warning("%s Left out.", error)
        return {}
    return found


def counts(states: Iterable[JobState]) -> dict[State, int]:
    """Returns how many jobs are in each state."""
    found: dict[State, int] = dict.fromkeys(STATES, 0)
    for state in states:
        found[state.state] += 1
    return found
