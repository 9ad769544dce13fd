"""A unit of work: one command, the folders it fills, and those that must be full before it can begin."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.launch.cost import Bill, Costs

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.launch.job import Job
    from avbench.running.identity import Stage
    from avbench.running.plan import Plan
    from avbench.running.runner import Runner

_MARKS = ("record.json", "done.json", "prepare.json")  # what a folder that is full holds


@dataclass(frozen=True)
class Unit:
    """One command.

    Attributes:
        name: What it is, in few words.
        kind: Units of a kind form arrays: ``pretrain``, with what a task changes in it, or the task.
        arguments: What follows ``avbench``.
        makes: Folders below the results that it fills.
        needs: Folders that other units fill first, or the commands of such units.
        together: Whether several processes may do it.
        hours: Device-hours it takes by what was measured; None: nothing like it was.
    """

    name: str
    kind: str
    arguments: tuple[str, ...]
    makes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    together: bool = False
    hours: float | None = None

    @property
    def command(self) -> str:
        """The command as a user would type it."""
        return shlex.join(("avbench", *self.arguments))

    @property
    def names(self) -> tuple[str, ...]:
        """What others may need of it: the folders and the command."""
        return (*self.makes, self.command)


def is_full(results: Path, folder: str) -> bool:
    """Returns whether a folder below the results holds what its unit leaves there."""
    return any((results / folder / mark).exists() for mark in _MARKS)


def unit_of_job(job: Job, runner: Runner, configs: Iterable[RunConfig]) -> Unit:
    """Returns the unit of a job that does all that some runs need, one after the other."""
    results = runner.execution.results
    plans = [plan for config in configs for plan in runner.plans(config)]
    stages = [stage for plan in plans for stage, _ in _pretrainings(plan)]
    makes = dict.fromkeys(_folder(results, stage) for stage in (*stages, *(plan.evaluation for plan in plans)))
    return Unit(name=job.name, kind="run", arguments=job.arguments, makes=tuple(makes))


def units_of_runs(
    runner: Runner, configs: Iterable[RunConfig], arguments: Sequence[str], own: Sequence[str] = ()
) -> list[Unit]:
    """Returns the units of runs: every pretraining once, then every evaluation, the done ones left out.

    Args:
        runner: Knows the results and the data, which must be prepared.
        configs: The runs.
        arguments: The options that all of them share, as a user would type them.
        own: Those of the evaluations alone.
    """
    results = runner.execution.results
    bill = Bill(Costs(results))
    found: dict[tuple[str, ...], Unit] = {}
    for config in configs:
        plans = runner.plans(config)
        makes = tuple(_folder(results, plan.evaluation) for plan in plans)
        if all(plan.evaluation.done for plan in plans):
            continue
        bill.add(plans[-1])
        needs = []
        # 'avbench pretrain' knows of no annotations: where they say what is held out, the run pretrains by itself.
        apart = plans[-1].division.held_out != "annotations"
        for stage, sets in _pretrainings(plans[-1]) if apart else ():
            folder = _folder(results, stage)
            needs.append(folder)
            if (folder,) not in found and not stage.done:
                found[(folder,)] = _pretraining(config, folder, arguments, sets, bill.hours(stage.id))
        words = ["run", "--method", config.method_name, "--task", config.task_name, "--seeds", str(config.seed)]
        found[makes] = Unit(
            name=f"{config.method_name} seed {config.seed} {config.task_name}",
            kind=config.task_name,
            arguments=(*words, *arguments, *own),
            makes=makes,
            needs=tuple(needs),
            hours=bill.hours(plans[-1].evaluation.id),
        )
    return list(found.values())


def units_of_pretrainings(
    runner: Runner, configs: Iterable[RunConfig], arguments: Sequence[str], own: Sequence[str] = ()
) -> list[Unit]:
    """Returns the units that pretrain, the done ones left out; the arguments as for :func:`units_of_runs`."""
    arguments = (*arguments, *own)
    results = runner.execution.results
    bill = Bill(Costs(results))
    found = []
    for config in configs:
        stage, train = runner.plan_pretraining(config)
        bill.add_pretraining(config, stage, train)
        if not stage.done:
            found.append(_pretraining(config, _folder(results, stage), arguments, {}, bill.hours(stage.id)))
    return found


def _pretraining(
    config: RunConfig, folder: str, arguments: Sequence[str], sets: Mapping[str, Any], hours: float | None
) -> Unit:
    extra = ["--set", *(f"{key}={value}" for key, value in sets.items())] if sets else []
    words = ["pretrain", "--method", config.method_name, "--seeds", str(config.seed), *arguments, *extra]
    changed = "".join(f" {key.rpartition('.')[2]} {value}" for key, value in sets.items())
    return Unit(
        name=f"{config.method_name} seed {config.seed} pretrain{changed}",
        kind=f"pretrain{changed}",
        arguments=tuple(words),
        makes=(folder,),
        together=True,
        hours=hours,
    )


def _pretrainings(plan: Plan) -> Iterator[tuple[Stage, dict[str, Any]]]:
    """Yields the pretrainings of a run and of the variants its task asks for, with the settings these change."""
    from avbench import registry

    if plan.pretrain is not None:
        yield plan.pretrain, {}
    config = plan.config
    for variant, sections in zip(
        plan.variants, registry.find("task", config.task_name).load().TASK.variants(config.task), strict=True
    ):
        if variant.pretrain is not None:
            yield (
                variant.pretrain,
                {f"{name}.{key}": value for name, keys in sections.items() for key, value in keys.items()},
            )


def _folder(results: Path, stage: Stage) -> str:
    return stage.folder.relative_to(results).as_posix()
