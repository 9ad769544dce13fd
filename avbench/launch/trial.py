"""The commands of a trial, and what their records say of it."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from avbench.commands.options import ConfigOptions
from avbench.errors import InputError, RunError
from avbench.launch.space import OPTIONS, Scalar, text
from avbench.launch.sweep import Objective, PrunerConfig, Sweep
from avbench.launch.sweep_file import read_recipe
from avbench.recipes.recipe import Recipe, find
from avbench.store.records import read_record, stage_folder

if TYPE_CHECKING:
    from avbench.running.request import Request, RunConfig
    from avbench.running.runner import Runner

PRETRAIN = "pretrain"  # as ``init``: the weights of the sweep's own pretraining
METRICS = "metrics.csv"
_WEIGHTS = "weights: "  # what ``avbench pretrain`` prints before the file


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of a trial, for one seed or several.

    Attributes:
        command: Which half of the work, or all of it.
        method: Its method.
        tasks: Of ``run``.
        seeds: Of which.
        options: Its other options.
        follows: How it takes the weights that the step before made: judges them, starts from them, or not at all.
        untrained: What counts is the model as it was before training, which a run judges, too.
    """

    command: Literal["pretrain", "run"]
    method: str
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    options: ConfigOptions
    follows: Literal["", "checkpoint", "init"] = ""
    untrained: bool = False

    def given(self, weights: Path | str | None) -> Step:
        """Returns the step with the weights that it follows."""
        if not self.follows or weights is None:
            return self
        if self.follows == "init":
            options = dataclasses.replace(self.options, init=str(weights))
        else:
            options = dataclasses.replace(self.options, checkpoint=Path(weights))
        return dataclasses.replace(self, options=options, follows="")

    @property
    def words(self) -> tuple[str, ...]:
        """What follows ``avbench``."""
        tasks = ("--task", *self.tasks) if self.tasks else ()
        # Trials are compared with each other; the untrained model is the same for most of them.
        trained = self.command == "run" and self.options.checkpoint is None and not self.untrained and not self.follows
        return (
            *(self.command, "--method", self.method, *tasks),
            *("--seeds", *map(str, self.seeds)),
            *self.options.arguments(),
            *(("--skip-untrained",) if trained else ()),
        )

    def configs(self, runner: Runner) -> list[RunConfig]:
        """Returns what it computes: of each task and seed.

        Raises:
            InputError: It cannot be run.
        """
        return runner.resolve_all(self.requests())

    def requests(self) -> list[Request]:
        """Returns the same, before anything is looked up; weights that are not made yet are none."""
        options = dataclasses.replace(self.options, init="none") if self.follows else self.options
        return options.requests((self.method,), self.tasks or ("",), self.seeds)


def steps(sweep: Sweep, params: Mapping[str, Scalar], seeds: tuple[int, ...], common: ConfigOptions) -> list[Step]:
    """Returns the commands of a trial in order.

    Args:
        sweep: The sweep.
        params: The trial's parameters.
        seeds: Its seeds, or one of them.
        common: Results folder, device and precision.
    """
    chosen = sweep.options(params)
    varied = {key: value for key, value in chosen.items() if key not in OPTIONS}
    method, data = str(chosen.get("method", sweep.method)), str(chosen.get("data", sweep.data))
    init = str(chosen.get("init", sweep.init))
    preset = (*sweep.preset, *_words(chosen.get("preset", ())))
    recipe, goes_on = _recipe(sweep, chosen, method), init == PRETRAIN
    if goes_on and recipe is None:
        raise InputError("init: found pretrain, valid: with a recipe alone, whose weights it means.")
    # One that says nothing of data is what the run itself does, unless that is to go on from it.
    apart = recipe is not None and (goes_on or any(each.data for each in recipe.chain))
    chain = recipe.chain if recipe is not None and apart else ()

    def options(
        data: str, names: Sequence[str], settings: Mapping[str, Any], init: str = "", recipe: str = ""
    ) -> ConfigOptions:
        sets = tuple(f"{key}={text(value)}" for key, value in settings.items())
        sets = (*(text for group in common.set for text in group), *sets)
        words = tuple(dict.fromkeys((*preset, *names)))
        shared = dataclasses.replace(common, data=data, init=init, recipe=recipe)
        return dataclasses.replace(shared, preset=words, set=(sets,) if sets else ())

    found = []
    for i, each in enumerate(chain):
        own = _own(each)
        settings = _without({**sweep.set, **own.set, **varied}, "task")
        init_of = own.init if own.start is None else ""
        found.append(
            Step(
                command="pretrain",
                method=each.method or method,
                tasks=(),
                seeds=seeds,
                options=options(each.data or data, own.preset, settings, init_of, each.name),
                follows="init" if i else "",
            )
        )
    # How the weights were obtained belongs to the record: tables find it there.
    told = recipe if recipe is not None and recipe.method in ("", method) else Recipe()
    own = _own(told)
    inherited = _without(own.set, "data") if apart else own.set
    start = "" if chain else init or own.init
    for judged in sweep.evaluate:
        settings = {**sweep.set, **inherited, **varied, **judged.set, **chosen.get("run", {})}
        found.append(
            Step(
                command="run",
                method=method,
                tasks=judged.task,
                seeds=seeds,
                options=options(judged.data or data, (*own.preset, *judged.preset), settings, start, told.name),
                follows="init" if goes_on else "checkpoint" if chain else "",
                untrained="weights" in chosen,
            )
        )
    return found


def commands(sweep: Sweep, params: Mapping[str, Scalar], common: ConfigOptions) -> list[str]:
    """Returns the lines that a user would type for a trial."""
    lines: list[str] = []
    # Weights are of one seed; what needs none is one command for all.
    alone = any(step.follows for step in steps(sweep, params, sweep.seeds, common))
    for seeds in [(seed,) for seed in sweep.seeds] if alone else [sweep.seeds]:
        weights = ""
        for step in steps(sweep, params, seeds, common):
            line = shlex.join(("avbench", *step.given(weights or None).words))
            line = line.replace(f"'{weights}'", f'"{weights}"') if weights else line
            if step.command == "pretrain":
                weights = f"$W{int(weights.removeprefix('$W') or 0) + 1}"
                line = f"{weights.removeprefix('$')}=$({line} | sed -n 's/^{_WEIGHTS}//p')"
            lines.append(line)
    return lines


def weights_of(step: Step, runner: Runner) -> tuple[Path, bool]:
    """Returns the file of a pretraining's weights, and whether it is done."""
    from avbench.running.plan import plan_pretraining
    from avbench.training.session import WEIGHTS

    (config,) = step.configs(runner)
    stage = plan_pretraining(config, runner.corpus(config), runner.execution.results)[0]
    return stage.folder / WEIGHTS, stage.done


def records(step: Step, runner: Runner) -> list[dict[str, Any] | None]:
    """Returns the records of a run that count, of each task and seed; None where there is none yet."""
    found = []
    for config in step.configs(runner):
        plan = runner.plans(config, with_untrained=step.untrained)[0 if step.untrained else -1]
        found.append(read_record(runner.execution.results, plan.evaluation.id))
    return found


def watched(step: Step, pruner: PrunerConfig, runner: Runner) -> Path | None:
    """Returns the metrics.csv that tells how a trial does, if this step writes it."""
    if pruner.name == "none":
        return None
    if step.command == "pretrain":
        return weights_of(step, runner)[0].parent / METRICS if pruner.stage == "pretrain" else None
    for config in step.configs(runner):
        plan = runner.plans(config, with_untrained=False)[-1]
        if pruner.stage == "pretrain" and plan.pretrain is not None:
            return plan.pretrain.folder / METRICS
        if config.task_name == pruner.stage:
            # One folder for each model that is fine-tuned; the first is watched.
            folder = stage_folder(runner.execution.results, config.task_name, plan.evaluation.id)
            return folder / "*" / METRICS
    return None


def value(objective: Objective, found: Sequence[Mapping[str, Any] | None]) -> float:
    """Returns an objective from the records of one seed.

    Raises:
        RunError: They have no such metric.
    """
    for record in found:
        if record is not None and record["task"] == objective.task:
            if objective.metric not in record["metrics"]:
                known = ", ".join(sorted(record["metrics"]))
                raise RunError(f"{objective.name}: record {record['id']} has no such metric, valid: {known}.")
            return float(record["metrics"][objective.metric])
    raise RunError(f"{objective.name}: no record of task {objective.task} was written.")


def _recipe(sweep: Sweep, chosen: Mapping[str, Any], method: str) -> Recipe | None:
    """Returns how the weights of a trial come about; None: in the run, by the sweep's settings alone."""
    recipe = read_recipe(chosen["recipe"], "recipe") if "recipe" in chosen else sweep.recipe
    if isinstance(recipe, Recipe):
        return recipe
    return find(recipe, method) if recipe else None


def _own(recipe: Recipe) -> Recipe:
    """Returns what a command must say of a recipe: of one with a name, the name says it all."""
    return Recipe() if recipe.name else recipe


def _words(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value))


def _without(settings: Mapping[str, Any], section: str) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if not key.startswith(f"{section}.")}
