"""The ledger of a results folder: which jobs were started for it, where and by which command.

One file a submission, ``RESULTS/jobs/ID.json``, written before the jobs begin and again when their numbers are known.
What became of them is asked of the scheduler, or of the folders they fill; only jobs of this machine note it beside the
file, a line each.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from avbench.files import Damaged, parse_json, read_json, write_sealed
from avbench.files.unwritten import writing
from avbench.launch.job import Finished, Job

FOLDER = "jobs"
log = logging.getLogger("avbench")


@dataclass(frozen=True)
class Started:
    """One job as it was started.

    Attributes:
        name: What it is, in few words.
        command: What it runs, as a user would type it.
        makes: Folders below the results that it fills.
        log: The file its output goes to.
        job: The scheduler's number, such as 123_4; empty before it is known, and on this machine.
    """

    name: str
    command: str
    makes: tuple[str, ...]
    log: str
    job: str = ""


@dataclass(frozen=True)
class Submission:
    """Jobs that were started together.

    Attributes:
        path: Its file.
        launcher: Where they run.
        created: When, in UTC.
        host: The machine that started them.
        process: The process that did; on this machine it waits for them.
        entries: The jobs.
    """

    path: Path
    launcher: Literal["local", "slurm"]
    created: str
    host: str
    process: int
    entries: tuple[Started, ...]

    @property
    def id(self) -> str:
        """Its name: also that of the scheduler's job."""
        return self.path.stem

    def write(self) -> None:
        """Writes the file."""
        values = {name: value for name, value in asdict(self).items() if name != "path"}
        write_sealed(self.path, values)

    def numbered(self, jobs: Sequence[str], logs: Sequence[str]) -> Submission:
        """Returns the submission with the scheduler's numbers of its jobs, and their logs."""
        entries = [replace(entry, job=job, log=log) for entry, job, log in zip(self.entries, jobs, logs, strict=True)]
        return replace(self, entries=tuple(entries))

    def note(self, finished: Finished) -> None:
        """Notes that a job of this machine has ended."""
        line = json.dumps({"name": finished.job.name, "status": finished.status, "seconds": round(finished.seconds, 1)})
        with writing(self._ended), self._ended.open("ab+") as handle:
            handle.seek(-min(1, handle.tell()), os.SEEK_END)
            torn = handle.read(1) not in (b"\n", b"")  # a line that a full disk cut off
            handle.write(f"{chr(10) * torn}{line}\n".encode())

    def ended(self) -> dict[str, int]:
        """Returns the exit status of each job of this machine that has ended, by name."""
        if not self._ended.exists():
            return {}
        lines = self._ended.read_bytes().split(b"\n")[:-1]  # a torn last line has no end
        ended = {}
        for number, line in enumerate(lines, 1):
            try:
                told = parse_json(line, self._ended)
                ended[str(told["name"])] = int(told["status"])
            except (Damaged, KeyError, TypeError, ValueError):
                log.warning("%s: line %d is not what was written; left out", self._ended, number)
        return ended

    @property
    def _ended(self) -> Path:
        return self.path.with_suffix(".ended")


def begin(results: Path, launcher: Literal["local", "slurm"], jobs: Sequence[Job]) -> Submission:
    """Notes that jobs are about to be started, and returns the submission.

    Args:
        results: The results folder.
        launcher: What starts them.
        jobs: The jobs.
    """
    now = datetime.datetime.now(datetime.UTC)
    path = results / FOLDER / f"{now:%Y%m%d-%H%M%S-%f}.json"
    entries = [Started(job.name, job.command, job.makes, str(job.log) if job.log.name else "") for job in jobs]
    submission = Submission(
        path, launcher, now.isoformat(timespec="seconds"), platform.node(), os.getpid(), tuple(entries)
    )
    submission.write()
    return submission


def submissions(results: Path) -> Iterator[Submission]:
    """Yields what was started for a results folder, the earliest first; what is damaged is named and left out."""
    for path in sorted((results / FOLDER).glob("[!.]*.json")):
        try:
            values: dict[str, Any] = read_json(path)
            entries = [Started(**{**entry, "makes": tuple(entry["makes"])}) for entry in values.pop("entries")]
            yield Submission(path=path, entries=tuple(entries), **values)
        except Damaged as damage:
            log.warning("%s Left out.", damage)
        except (KeyError, TypeError):
            log.warning("%s: found no list of jobs. Left out.", path)


def discard(submission: Submission) -> None:
    """Forgets a submission that the scheduler refused."""
    submission.path.unlink(missing_ok=True)
