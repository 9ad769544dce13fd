"""From runs that are wanted to the commands that do them: the one place where a command is spelled."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from avbench import registry
from avbench.launch.cost import Bill, Costs
from avbench.launch.job import Job, is_full
from avbench.running import folds
from avbench.running.options import ConfigOptions
from avbench.store.records import run_folder, usable_record

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.running.identity import Stage
    from avbench.running.plan import Plan
    from avbench.running.request import Request
    from avbench.running.runner import Runner

_WEIGHTS = "weights: "  # what ``avbench pretrain`` prints before the file


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What one command computes.

    Attributes:
        methods: Of which methods.
        tasks: Judged by which tasks; none: pretraining alone.
        seeds: Of which seeds.
        options: What else decides the numbers, and where they go.
        follows: How it takes the weights of what comes before it: judges them, starts from them, or not at all.
        counts: Which records of a run count: those of the trained model, of the model before training, or of both.
        folds: Whether it judges all published folds of the data, and them together.
        more: Further words of the command, which decide no number.
    """

    methods: tuple[str, ...]
    tasks: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    options: ConfigOptions
    follows: Literal["", "checkpoint", "init"] = ""
    counts: Literal["both", "trained", "untrained"] = "both"
    folds: bool = False
    more: tuple[str, ...] = ()

    def given(self, weights: Path | str | None) -> Wanted:
        """Returns the same with the weights that it follows."""
        if not self.follows or weights is None:
            return self
        if self.follows == "init":
            options = dataclasses.replace(self.options, init=str(weights))
        else:
            options = dataclasses.replace(self.options, checkpoint=Path(weights))
        return dataclasses.replace(self, options=options, follows="")

    def with_settings(self, settings: Sequence[str]) -> Wanted:
        """Returns the same with further settings ``key=value``."""
        more = (tuple(settings),) if settings else ()
        return dataclasses.replace(self, options=dataclasses.replace(self.options, set=(*self.options.set, *more)))

    @property
    def words(self) -> tuple[str, ...]:
        """What follows ``avbench``."""
        return (
            "run" if self.tasks else "pretrain",
            *(("--method", *methods) if (methods := self._named(encoders=False)) else ()),
            *(("--encoder", *encoders) if (encoders := self._named(encoders=True)) else ()),
            *(("--task", *self.tasks) if self.tasks else ()),
            *("--seeds", *map(str, self.seeds)),
            *self.options.arguments(),
            *(("--folds",) if self.folds else ()),
            *(("--skip-untrained",) if self.counts == "trained" else ()),
            *self.more,
        )

    def _named(self, *, encoders: bool) -> tuple[str, ...]:
        return tuple(name for name in self.methods if registry.is_encoder("method", name) == encoders)

    def requests(self) -> list[Request]:
        """Returns what is asked for, before anything is looked up; weights that are not made yet are none."""
        options = dataclasses.replace(self.options, init="none") if self.follows else self.options
        return options.requests(self.methods, self.tasks or ("",), self.seeds)

    def configs(self, runner: Runner) -> list[RunConfig]:
        """Returns the configurations of these.

        Raises:
            InputError: It cannot be run.
        """
        requests = self.requests()
        return runner.resolve_all(folds.in_all_folds(requests, runner) if self.folds else requests)

    def job(self, name: str, kind: str = "", **more: Any) -> Job:
        """Returns the command that does it; a pretraining may be shared by several processes.

        Args:
            name: Its name.
            kind: What it does, in a word; empty: ``run`` or ``pretrain``.
            **more: Further fields of the job.
        """
        kind = kind or ("run" if self.tasks else "pretrain")
        return Job(name, kind, self.words, together=not self.tasks, **more)


def weights_of(wanted: Wanted, runner: Runner) -> tuple[Path, bool]:
    """Returns the file of a pretraining's weights, and whether it is done."""
    from avbench.training.session import WEIGHTS

    (config,) = wanted.configs(runner)
    stage, _ = runner.plan_pretraining(config)
    return stage.folder / WEIGHTS, stage.done


def records(wanted: Wanted, runner: Runner) -> list[dict[str, Any] | None]:
    """Returns the records of a run that count, of each method, task and seed; None where there is none yet."""
    counted: list[Plan] = []
    for config in wanted.configs(runner):
        plans = runner.plans(config, with_untrained=wanted.counts != "trained")
        counted += plans[:1] if wanted.counts == "untrained" else plans
    ids = [plan.evaluation.id for plan in counted]
    ids += folds.pooled_ids(counted) if wanted.folds else []
    return [usable_record(runner.execution.results, id) for id in ids]


def shell(chains: Iterable[Sequence[Wanted]]) -> list[str]:
    """Returns the lines that a user would type for chains of runs, each line once.

    Args:
        chains: Runs wanted one after the other; what follows another takes the weights that this has made.
    """
    lines: dict[str, str] = {}  # the line of each command to the variable with its weights
    for chain in chains:
        weights = ""
        for wanted in chain:
            line = shlex.join(("avbench", *wanted.given(weights or None).words))
            line = line.replace(f"'{weights}'", f'"{weights}"') if weights else line
            if line not in lines:
                lines[line] = "" if wanted.tasks else f"$W{1 + sum(map(bool, lines.values()))}"
            weights = lines[line] or weights
    return [
        f"{weights.removeprefix('$')}=$({line} | sed -n 's/^{_WEIGHTS}//p')" if weights else line
        for line, weights in lines.items()
    ]


def job_of(wanted: Wanted, name: str, log: Path, runner: Runner, configs: Iterable[RunConfig]) -> Job:
    """Returns the job that does all that some runs need, one after the other, with the folders it fills.

    Args:
        wanted: What it does.
        name: Its name.
        log: Where its output goes.
        runner: Knows the results and the data.
        configs: The runs it serves.
    """
    results = runner.execution.results
    plans = [plan for config in configs for plan in runner.plans(config)]
    stages = [stage for plan in plans for stage, _ in _pretrainings(plan)]
    makes = dict.fromkeys(_folder(results, stage) for stage in (*stages, *(plan.evaluation for plan in plans)))
    return wanted.job(name, makes=tuple(makes), log=log)


def jobs_of_runs(
    runner: Runner,
    configs: Iterable[RunConfig],
    options: ConfigOptions,
    more: Sequence[str] = (),
    *,
    in_folds: bool = False,
) -> list[Job]:
    """Returns the jobs of runs: every pretraining once, then every evaluation, the done ones left out.

    Args:
        runner: Knows the results and the data, which must be prepared.
        configs: The runs.
        options: What all of them share.
        more: Further words of the evaluations' commands alone.
        in_folds: The runs are of all folds of their data: those of one model, task and seed are one job, which extracts
            the clips once and judges the folds together.
    """
    results = runner.execution.results
    bill = Bill(Costs(results))
    found: dict[tuple[str, ...], Job] = {}
    jobs: dict[RunConfig, list[RunConfig]] = {}
    for config in configs:
        jobs.setdefault(folds.without_fold(config) if in_folds else config, []).append(config)
    for group in jobs.values():
        plans = [plan for config in group for plan in runner.plans(config)]
        makes = [_folder(results, plan.evaluation) for plan in plans]
        makes += [f"{run_folder(Path(), id)}" for id in folds.pooled_ids(plans)] if in_folds else []
        if all(plan.evaluation.done for plan in plans) and all(is_full(results, each) for each in makes[len(plans) :]):
            continue
        needs, trained = [], [plan for plan in plans if plan.config.weights == group[0].weights]
        for config, plan in zip(group, trained, strict=True):
            bill.add(plan)
            # 'avbench pretrain' knows of no annotations: where they say what is held out, the run pretrains by itself.
            apart = plan.division.held_out != "annotations"
            for stage, sets in _pretrainings(plan) if apart else ():
                folder = _folder(results, stage)
                needs.append(folder)
                if (folder,) not in found and not stage.done:
                    sets = {**sets, "data.fold": config.data.fold} if in_folds else sets
                    found[(folder,)] = _pretraining(config, folder, options, sets, bill.hours(stage.id))
        config, known = group[0], [bill.hours(plan.evaluation.id) for plan in trained]
        hours = sum(each for each in known if each is not None) if any(known) else None
        wanted = dataclasses.replace(_wanted(config, options, (config.task_name,), more), folds=in_folds)
        name = f"{config.method_name} seed {config.seed} {config.task_name}"
        found[tuple(makes)] = wanted.job(name, config.task_name, makes=tuple(makes), needs=tuple(needs), hours=hours)
    return list(found.values())


def jobs_of_pretrainings(
    runner: Runner, configs: Iterable[RunConfig], options: ConfigOptions, more: Sequence[str] = ()
) -> list[Job]:
    """Returns the jobs that pretrain, the done ones left out; the arguments as for :func:`jobs_of_runs`."""
    results = runner.execution.results
    bill = Bill(Costs(results))
    found = []
    for config in configs:
        stage, train = runner.plan_pretraining(config)
        bill.add_pretraining(config, stage, train)
        if not stage.done:
            found.append(_pretraining(config, _folder(results, stage), options, {}, bill.hours(stage.id), more))
    return found


def _pretraining(
    config: RunConfig,
    folder: str,
    options: ConfigOptions,
    sets: Mapping[str, Any],
    hours: float | None,
    more: Sequence[str] = (),
) -> Job:
    words = tuple(f"{key}={value}" for key, value in sets.items())
    options = dataclasses.replace(options, set=(*options.set, words)) if words else options
    changed = "".join(f" {key.rpartition('.')[2]} {value}" for key, value in sets.items())
    name = f"{config.method_name} seed {config.seed} pretrain{changed}"
    return _wanted(config, options, (), more).job(name, f"pretrain{changed}", makes=(folder,), hours=hours)


def _wanted(config: RunConfig, options: ConfigOptions, tasks: tuple[str, ...], more: Sequence[str]) -> Wanted:
    if registry.is_encoder("method", config.method_name):  # whose precision may be another than that of methods
        options = dataclasses.replace(options, precision=config.precision)
    return Wanted(methods=(config.method_name,), tasks=tasks, seeds=(config.seed,), options=options, more=tuple(more))


def _pretrainings(plan: Plan) -> Iterator[tuple[Stage, dict[str, Any]]]:
    """Yields the pretrainings of a run and of the variants its task asks for, with the settings these change."""
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
