"""``--launcher slurm``: what the commands that can run on a cluster share."""

from __future__ import annotations

import dataclasses
import functools
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from avbench.errors import InputError
from avbench.running.options import ConfigOptions

if TYPE_CHECKING:
    from avbench.config import Precision, RunConfig
    from avbench.launch.job import Finished, Job
    from avbench.launch.pool import Pool
    from avbench.launch.profile import Profile
    from avbench.launch.schedule import Chain
    from avbench.running.runner import Runner


Asked = tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]  # methods, tasks, seeds


@dataclass(frozen=True, kw_only=True)
class LauncherOptions:
    """Where work is done."""

    launcher: Literal["local", "slurm"] = "local"
    """Where runs are started: on this machine, or as jobs of a cluster."""
    cluster: str = "default"
    """With --launcher slurm: the cluster profile, a name or a YAML file; see docs/cluster.md."""
    dry_run: bool = False
    """Print the plan (stages, ids, what is reused, work, cost) and write nothing."""
    force: bool = False
    """Compute again what is done already."""

    @property
    def on_cluster(self) -> bool:
        """Whether to submit jobs.

        Raises:
            InputError: Together with --force.
        """
        if self.launcher == "slurm" and self.force:
            raise InputError(
                "--force: valid with --launcher local; for a cluster, delete the folders of what is to be made again."
            )
        return self.launcher == "slurm"


def open_profile(name: str) -> Profile:
    """Reads a cluster profile and checks it against the cluster.

    Raises:
        InputError: There is none, it cannot be used, or there is no such partition.
    """
    from avbench.launch import container, slurm
    from avbench.launch.profile import find_profile

    profile = find_profile(name)
    slurm.check(profile, name)
    container.check(profile.container, f"--cluster {name}")
    return profile


def open_pool(
    launcher: str, cluster: str, results: Path, device: str, configs: Sequence[RunConfig], count: int = 0
) -> tuple[Pool, list[str]]:
    """Returns where commands run, and settings that share the machine among them and change no number.

    Args:
        launcher: ``local`` or ``slurm``.
        cluster: Of the latter, the profile.
        results: The results folder.
        device: ``auto``, ``cpu`` or ``cuda``; of this machine.
        configs: What the commands compute.
        count: Commands at a time; 0: as many as there is room for.
    """
    from avbench.launch.local import LocalPool
    from avbench.launch.profile import find_profile
    from avbench.launch.slots import local_slots
    from avbench.launch.slurm_pool import SlurmPool
    from avbench.training.device import resolve_device

    if launcher == "slurm":
        return SlurmPool(find_profile(cluster), results, count), []
    slots, settings = local_slots(resolve_device(device), configs, count)
    return LocalPool(slots), settings


def run_chains(
    chains: Sequence[Chain],
    pool: Pool,
    runner: Runner | None,
    note: Callable[[Finished], None] = lambda finished: None,
) -> list[Chain]:
    """Runs chains of commands in a pool, says how far they are, and returns those that failed.

    Args:
        chains: The chains.
        pool: Where.
        runner: As for :class:`~avbench.launch.schedule.Schedule`.
        note: Called with each command as it ends.
    """
    from avbench.launch.schedule import Schedule

    total, count = sum(len(chain.wanted) for chain in chains), 0

    def report(finished: Finished) -> None:
        nonlocal count
        count += 1
        note(finished)
        minutes, seconds = divmod(round(finished.seconds), 60)
        outcome = "failed" if finished.status else "done"
        sys.stderr.write(f"[{count}/{total}] {finished.job.name}: {outcome} in {minutes} min {seconds} s\n")

    sys.stderr.write(f"{total} jobs, {pool.slots} at a time; their output is in {chains[0].log.parent}\n")
    return Schedule(pool, runner).run(chains, report)


def tell_failed(chains: Sequence[Chain]) -> int:
    """Says which chains failed and why; returns the exit status."""
    for chain in chains:
        sys.stderr.write(f"failed: {chain.name}: {chain.error}\n")
    return 1 if chains else 0


@dataclass(frozen=True, kw_only=True)
class ElsewhereOptions(ConfigOptions):
    """Options of runs whose device is another machine's and has been settled; ``unnamed``: its precision, too."""

    unnamed: bool = False

    @property
    def unnamed_precision(self) -> bool:
        """Whether nobody named a precision."""
        return self.unnamed

    def settled_precision(self) -> Precision:
        """Returns the precision that was settled."""
        return "fp32" if self.precision == "auto" else self.precision


def elsewhere(options: ConfigOptions, profile: Profile) -> ElsewhereOptions:
    """Returns the options as they are on a cluster's nodes, ``auto`` resolved here, as ids hold what it means.

    A GPU of a cluster is taken to have bf16; ``--precision fp16`` is for older ones.

    Raises:
        InputError: A device or precision that the profile's nodes do not have.
    """
    device = profile.device if options.device == "auto" else options.device
    if device == "cuda" and not profile.gpus_per_node:
        raise InputError("--device: found cuda, valid: cpu, or gpus_per_node of at least 1 in the cluster profile.")
    precision = options.precision
    if precision == "fp16" and device == "cpu":
        raise InputError("--precision: found fp16 on CPUs, valid there: auto, fp32, bf16.")
    if precision == "auto":
        precision = "bf16" if device == "cuda" else "fp32"
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(ConfigOptions)}
    unnamed = options.unnamed_precision
    return ElsewhereOptions(**{**given, "device": device, "precision": precision}, unnamed=unnamed)


def fitting(runner: Runner, configs: Sequence[RunConfig], *, planning: bool, lenient: bool) -> list[RunConfig]:
    """Returns the runs that the data can give, and says which are left out; see :func:`avbench.running.possible`."""
    from avbench.running.possible import possible

    fit, left_out = possible(runner, configs, planning=planning, lenient=lenient)
    for text in left_out:
        sys.stderr.write(f"left out: {text}\n")
    return fit


def prepared(runner: Runner, configs: Sequence[RunConfig]) -> None:
    """Makes the embedded set here where it is not there; other data must be prepared, which takes a job of its own.

    Raises:
        InputError: It is not.
    """
    for source in dict.fromkeys(source for config in configs for source in runner.sources(config)):
        if not source.ready and source.counts is None:
            raise InputError(
                f"--data {source.videos}: found videos that are not prepared, valid with --launcher slurm: a prepared"
                f" folder; 'avbench data prepare {shlex.quote(str(source.videos))} --out {source.clips}"
                " --launcher slurm' makes it."
            )
    runner.prepare(configs)


def submit(jobs: Sequence[Job], profile: Profile, results: Path) -> int:
    """Submits jobs, says what became of them, and returns the exit status: 1 where the queue is full.

    Args:
        jobs: What to submit.
        profile: The cluster.
        results: The results folder.
    """
    from avbench.launch import slurm

    outcome = slurm.submit(jobs, profile, results)
    for array in outcome.arrays:
        kind = array.jobs[0].kind
        after = f", after {', '.join(array.after)}" if array.after else ""
        what = "job" if len(array.jobs) == 1 else "array"
        sys.stdout.write(f"{what} {array.number}: {len(array.jobs)} x {kind}{after}\n")
    count = sum(len(array.jobs) for array in outcome.arrays)
    known = f", {len(outcome.known)} queued or running already" if outcome.known else ""
    hours = [job.hours for array in outcome.arrays for job in array.jobs if job.hours is not None]
    cost = f", about {sum(hours):.2f} device-hours" if hours and len(hours) == count else ""
    sys.stdout.write(f"{count} jobs submitted in {len(outcome.arrays)} calls{known}{cost}\n")
    sys.stdout.write(f"avbench status{_where(results)} says how far they are; this command again prints what is done\n")
    if outcome.left:
        sys.stderr.write(
            f"failed: the queue is full: {len(outcome.left)} jobs were not submitted ({outcome.refusal}); the same"
            " command again submits them when there is room.\n"
        )
        return 1
    return 0


def _where(results: Path) -> str:
    return "" if results == Path("results") else f" --results {shlex.quote(str(results))}"


def check_world(configs: Sequence[RunConfig], profile: Profile) -> None:
    """Checks that the processes of a pretraining can share its batches.

    Raises:
        InputError: They cannot.
    """
    from avbench.training.group import ProcessGroup
    from avbench.training.share import Share

    for config in configs:
        if config.weights == "pretrained":
            together = getattr(config.method, "negatives", "") == "local"
            train = config.train
            Share(train.batch_size, train.accumulate, together=together, group=ProcessGroup(0, profile.world))


def launch(
    options: ConfigOptions,
    launcher: LauncherOptions,
    asked: Sequence[Asked],
    own: Sequence[str] = (),
    *,
    pretraining_only: bool = False,
    lenient: bool = False,
    in_folds: bool = False,
) -> tuple[Runner, list[RunConfig], int | None]:
    """Submits what runs need; what is done, queued or running already is left out.

    Args:
        options: What decides the numbers.
        launcher: The cluster, and whether to submit at all.
        asked: Methods, tasks and seeds; each combination of one element.
        own: Options of the evaluations alone; of the pretrainings, where there is nothing else.
        pretraining_only: Leave the tasks out.
        lenient: Leave out, with a line, what the data cannot give.
        in_folds: Of all folds of the data.

    Returns:
        What planned the runs, the runs, and the exit status; None: there was nothing to submit, or it is only planned.

    Raises:
        InputError: They cannot be run there; nothing was submitted.
    """
    from avbench.launch.planner import jobs_of_pretrainings, jobs_of_runs
    from avbench.running.folds import in_all_folds
    from avbench.running.runner import Execution, Runner

    profile = open_profile(launcher.cluster)
    there = elsewhere(options, profile)
    runner = Runner(Execution(results=options.results, device=there.device))
    planning = launcher.dry_run
    requests = [request for each in asked for request in there.requests(*each)]
    requests = in_all_folds(requests, runner) if in_folds else requests
    configs = runner.resolve_all(requests, planning=planning, lenient=lenient)
    check_world(configs, profile)
    if not planning:
        prepared(runner, configs)
    if not pretraining_only:
        configs = fitting(runner, configs, planning=planning, lenient=lenient)
    plan = jobs_of_pretrainings if pretraining_only else functools.partial(jobs_of_runs, in_folds=in_folds)
    if planning:
        if profile.container and all(source.ready for config in configs for source in runner.sources(config)):
            from avbench.launch.container import show

            sys.stderr.write(show(profile.container, plan(runner, configs, there, own), gpus=profile.gpus_per_node > 0))
        return runner, configs, None
    jobs = plan(runner, configs, there, own)
    return runner, configs, submit(jobs, profile, options.results) if jobs else None
