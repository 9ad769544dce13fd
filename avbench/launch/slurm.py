"""Submits jobs to Slurm, through submitit: as job arrays that wait for the arrays they need."""

from __future__ import annotations

import logging
import re
import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import InputError, RunError, did_you_mean
from avbench.launch import ledger, queue
from avbench.launch.job import Job, is_full
from avbench.launch.payload import Payload
from avbench.launch.profile import Profile
from avbench.processes import environment, locked

if TYPE_CHECKING:
    from submitit.slurm.slurm import SlurmExecutor

log = logging.getLogger("avbench")
# What sbatch says where there is no room for more jobs of the user, or of anyone.
_FULL = re.compile(
    r"(MaxSubmitJob|MaxJobCount|job submit limit|Slurm temporarily unable to accept job|Resource temporarily unavail)",
    re.IGNORECASE,
)
# A batch script ends through this: what failed while the job was still to run is queued again, so often. It outlives
# the processes of the job, whatever kills them. A status of 2 is the user's to mend.
_RETRY = """avbench_retry() {{
  status=$?
  failures={folder}/$SLURM_JOB_ID.failures
  state=$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)
  if [ $status -ne 0 ] && [ $status -ne 2 ] && [ "$state" = RUNNING ] &&
     [ "$(cat "$failures" 2>/dev/null | wc -l)" -lt {retries} ]; then
    echo $status >> "$failures"
    echo "queued again after exit status $status"
    scontrol requeue "$SLURM_JOB_ID"
  fi
}}
trap avbench_retry EXIT"""


@dataclass(frozen=True)
class Array:
    """Jobs that were submitted by one call.

    Attributes:
        number: The scheduler's.
        jobs: What its jobs are, in order.
        after: The numbers of the arrays it waits for.
    """

    number: str
    jobs: tuple[Job, ...]
    after: tuple[str, ...]

    def job(self, index: int) -> str:
        """Returns the number of one of its jobs."""
        return f"{self.number}_{index}" if len(self.jobs) > 1 else self.number


@dataclass
class Submitted:
    """What became of jobs that were to be submitted.

    Attributes:
        arrays: Those that were accepted, in order.
        known: Jobs that were queued or running already.
        left: Jobs that found no room in the queue.
        refusal: What the scheduler said then.
    """

    arrays: list[Array] = field(default_factory=list)
    known: list[Job] = field(default_factory=list)
    left: list[Job] = field(default_factory=list)
    refusal: str = ""


def check(profile: Profile, name: str) -> None:
    """Checks what can be known of a profile before anything is submitted.

    Raises:
        InputError: There is no Slurm here, or no such partition.
    """
    found = queue.partitions()
    if profile.partition and profile.partition not in found:
        raise InputError(
            f"--cluster {name}: partition: found '{profile.partition}', valid: {', '.join(found)}."
            f"{did_you_mean(profile.partition, found)}"
        )


def active(results: Path) -> dict[str, str]:
    """Returns the job that each folder or command of the ledger waits for, of jobs that are queued or running."""
    jobs = queue.queued()
    by_name: dict[str, dict[str, queue.SlurmJob]] = defaultdict(dict)
    for job in jobs.values():
        by_name[job.name][job.number] = job
    found = {}
    for submission in ledger.submissions(results):
        if submission.launcher != "slurm":
            continue
        numbers = [entry.job for entry in submission.entries]
        if not all(numbers):  # this program ended before it could note them
            alive = by_name.get(submission.id, {})
            array = next((number.partition("_")[0] for number in alive), "")
            numbers = [f"{array}_{i}" if len(numbers) > 1 else array for i in range(len(numbers))]
        for entry, number in zip(submission.entries, numbers, strict=True):
            if number in jobs:
                found.update(dict.fromkeys((*entry.makes, entry.command), number))
    return found


def submit(jobs: Sequence[Job], profile: Profile, results: Path) -> Submitted:
    """Submits jobs that are not queued or running already.

    Args:
        jobs: Those that others need come before these.
        profile: What to ask for.
        results: The results folder; the ledger, logs and submitit's files are in its folder ``jobs``.

    Raises:
        InputError: Slurm refused the first of them for another reason than a full queue; nothing was submitted.
        RunError: It refused a later one.
    """
    # Another terminal must not submit between the look and the submission; it finds these in the queue.
    with locked(results / ledger.FOLDER, lambda: log.info("waiting for another command that submits jobs")):
        return _submit(jobs, profile, results)


def _submit(jobs: Sequence[Job], profile: Profile, results: Path) -> Submitted:
    known = active(results)  # what ended since the jobs were planned is in no queue any more
    jobs = [job for job in jobs if not (job.makes and all(is_full(results, folder) for folder in job.makes))]
    outcome = Submitted()
    todo: list[Job] = []
    for job in jobs:
        (outcome.known if any(name in known for name in job.names) else todo).append(job)
    largest = queue.largest_array()
    places: dict[str, tuple[Array, int]] = {}  # of what fills each folder
    for level in _levels(todo):
        for group in _groups(level, todo, places):
            after = [places[name] for name in group[0].needs if name in places]
            earlier = sorted({known[name] for job in group for name in job.needs if name in known})
            rest = group
            while rest and not outcome.refusal:
                part = rest[:largest]
                whole = len(part) == len(group)
                array = _fitting(part, profile, results, _waits(group, after, earlier, places, whole=whole), outcome)
                if array is None:
                    break
                outcome.arrays.append(array)
                for index, job in enumerate(array.jobs):
                    places.update(dict.fromkeys(job.names, (array, index)))
                rest = rest[len(array.jobs) :]
            outcome.left += rest
    return outcome


def _levels(jobs: Sequence[Job]) -> list[list[Job]]:
    """Divides jobs into those that need none of the others, those that need these, and so on."""
    makers = {name: job for job in jobs for name in job.names}
    depth: dict[str, int] = {}

    def of(job: Job) -> int:
        if job.command not in depth:
            depth[job.command] = 1 + max((of(makers[name]) for name in job.needs if name in makers), default=-1)
        return depth[job.command]

    levels: dict[int, list[Job]] = defaultdict(list)
    for job in jobs:
        levels[of(job)].append(job)
    return [levels[number] for number in sorted(levels)]


def _groups(level: Sequence[Job], jobs: Sequence[Job], places: dict[str, tuple[Array, int]]) -> list[list[Job]]:
    """Divides jobs that may begin at the same time into arrays.

    Those that the same kinds of jobs wait for go together: the n-th job of what follows then waits for the n-th job
    here alone.
    """
    followers: dict[str, set[str]] = defaultdict(set)
    for job in jobs:
        for name in job.needs:
            followers[name].add(job.kind)
    groups: dict[tuple[Any, ...], list[Job]] = defaultdict(list)
    for job in level:
        waiting = sorted(kind for name in job.names for kind in followers[name])
        arrays = tuple(places[name][0].number if name in places else "" for name in job.needs)
        groups[(job.kind, job.together, tuple(waiting), arrays)].append(job)
    return list(groups.values())


def _waits(
    group: Sequence[Job],
    after: Sequence[tuple[Array, int]],
    earlier: Sequence[str],
    places: dict[str, tuple[Array, int]],
    *,
    whole: bool,
) -> list[str]:
    """Returns the dependencies of an array, as sbatch has them."""
    found = []
    for place, (array, _) in enumerate(after):
        needed = [[places[name] for name in job.needs if name in places][place] for job in group]
        own = len(array.jobs) > 1 and whole and [index for _, index in needed] == list(range(len(array.jobs)))
        found.append(f"{'aftercorr' if own else 'afterok'}:{array.number}")
    return [*dict.fromkeys(found), *(f"afterok:{number}" for number in earlier)]


def _fitting(
    jobs: Sequence[Job], profile: Profile, results: Path, waits: Sequence[str], outcome: Submitted
) -> Array | None:
    """Submits as many of the jobs as the queue takes: all, or else the first half of them, and so on."""
    while jobs:
        try:
            return _submit_array(jobs, profile, results, waits)
        except _Refused as refusal:
            if not _FULL.search(str(refusal)):
                raise _explained(refusal, begun=bool(outcome.arrays)) from None
            if len(jobs) == 1:
                outcome.refusal = str(refusal)
                return None
        jobs = jobs[: len(jobs) // 2]
        # An array that is cut cannot wait for its counterpart job by job.
        waits = [wait.replace("aftercorr", "afterok") for wait in waits]
    return None


class _Refused(Exception):
    """Sbatch did not take a job."""


def _explained(refusal: _Refused, *, begun: bool) -> InputError | RunError:
    text = f"sbatch refused the job: {refusal}"
    if begun:
        return RunError(f"{text}; what was submitted before stays, the same command again submits the rest.")
    return InputError(f"{text}; change the cluster profile. Nothing was submitted.")


def _submit_array(jobs: Sequence[Job], profile: Profile, results: Path, waits: Sequence[str]) -> Array:
    from submitit.core.utils import FailedJobError

    submission = ledger.begin(results, "slurm", jobs)
    folder = (results / ledger.FOLDER / "slurm").resolve()
    executor = _executor(folder, profile, submission.id, together=jobs[0].together, waits=waits)
    code = environment()
    try:
        with executor.batch():
            submitted = [executor.submit(Payload.of(job, profile, code)) for job in jobs]
    except FailedJobError as error:
        ledger.discard(submission)
        raise _Refused(_reason(str(error))) from None
    numbers = [str(job.job_id) for job in submitted]
    submission.numbered(numbers, [str(job.paths.stdout) for job in submitted]).write()
    after = tuple(dict.fromkeys(wait.partition(":")[2] for wait in waits))
    return Array(numbers[0].partition("_")[0], tuple(jobs), after)


def _executor(folder: Path, profile: Profile, name: str, *, together: bool, waits: Sequence[str]) -> SlurmExecutor:
    from submitit.slurm.slurm import SlurmExecutor

    logging.getLogger("submitit").setLevel(logging.CRITICAL)  # what it says of refusals is said here, once
    folder.mkdir(parents=True, exist_ok=True)
    executor = SlurmExecutor(folder, max_num_timeout=profile.timeouts)
    given = {
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "gpus_per_node": profile.gpus_per_node if together else min(1, profile.gpus_per_node),
        "mem": f"{profile.memory_gb * 1024:.0f}M" if profile.memory_gb else "",
        "dependency": ",".join(waits),
    }
    extra = dict(text.split("=", 1) for text in profile.extra)
    executor.update_parameters(
        **{key: value for key, value in given.items() if value},
        job_name=name,
        nodes=profile.nodes if together else 1,
        ntasks_per_node=profile.tasks_per_node if together else 1,
        cpus_per_task=profile.cpus_per_process,
        time=profile.minutes,
        signal_delay_s=profile.signal_seconds,
        array_parallelism=profile.array_parallelism,
        setup=[*profile.setup, _RETRY.format(folder=shlex.quote(str(folder)), retries=profile.retries)],
        stderr_to_stdout=True,
        srun_args=["--kill-on-bad-exit=1"],  # one process that fails ends the others
        additional_parameters={"requeue": True, **({"kill-on-invalid-dep": "yes"} if waits else {}), **extra},
    )
    return executor


def _reason(text: str) -> str:
    """Returns what sbatch said, out of submitit's account of it."""
    said = [line.split("error: ", 1)[-1] for line in text.splitlines() if line.startswith("sbatch: ")]
    return "; ".join(dict.fromkeys(said)) or " ".join(text.split())
