"""The runs of a trial, and what their records say of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from avbench.errors import InputError, RunError
from avbench.launch import planner
from avbench.launch.planner import Wanted
from avbench.launch.sweep.config import Goal, Params, PrunerConfig, Sweep
from avbench.launch.sweep.file import read_recipe
from avbench.launch.sweep.space import OPTIONS, Scalar, text
from avbench.recipes.recipe import Recipe, find
from avbench.running.options import ConfigOptions

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.running.request import Request
    from avbench.running.runner import Runner

PRETRAIN = "pretrain"  # as ``init``: the weights of the sweep's own pretraining
METRICS = "metrics.csv"


def wanted_of(
    sweep: Sweep, params: Mapping[str, Scalar], seeds: tuple[int, ...], common: ConfigOptions
) -> list[Wanted]:
    """Returns the runs of a trial in order.

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
    # One that says nothing of data is what the run itself does, unless that is to continue from it.
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
            Wanted(
                methods=(each.method or method,),
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
    # Trials are compared with each other; the untrained model is the same for most of them.
    trained: Literal["both", "trained"] = "both" if chain and not goes_on else "trained"
    for judged in sweep.evaluate:
        settings = {**sweep.set, **inherited, **varied, **judged.set, **chosen.get("run", {})}
        found.append(
            Wanted(
                methods=(method,),
                tasks=judged.task,
                seeds=seeds,
                options=options(judged.data or data, (*own.preset, *judged.preset), settings, start, told.name),
                follows="init" if goes_on else "checkpoint" if chain else "",
                counts="untrained" if "weights" in chosen else trained,
            )
        )
    return found


def commands(sweep: Sweep, params: Mapping[str, Scalar], common: ConfigOptions) -> list[str]:
    """Returns the lines that a user would type for a trial.

    Args:
        sweep: The sweep.
        params: Values of the trial.
        common: Options of all trials.
    """
    # Weights are of one seed; what needs none is one command for all.
    alone = any(wanted.follows for wanted in wanted_of(sweep, params, sweep.seeds, common))
    groups = [(seed,) for seed in sweep.seeds] if alone else [sweep.seeds]
    return planner.shell(wanted_of(sweep, params, seeds, common) for seeds in groups)


def check(sweep: Sweep, common: ConfigOptions, path: str) -> tuple[Runner, list[RunConfig]]:
    """Resolves what trials compute, before any begins: all of a grid, else the ends of what is drawn from.

    Args:
        sweep: The sweep.
        common: Options of all trials.
        path: The sweep's file, named in errors.

    Raises:
        InputError: A trial could not be run; the message says which.
    """
    from avbench.running.runner import Execution, Runner

    runner = Runner(Execution(results=common.results))  # which looks things up and computes nothing
    return runner, _resolved(sweep, common, path, runner.resolve_all)


def not_ready(sweep: Sweep, common: ConfigOptions, path: str) -> list[str]:
    """Resolves the settings of trials alone; returns what data are missing, each once.

    Args:
        sweep: The sweep.
        common: Options of all trials.
        path: The sweep's file, named in errors.

    Raises:
        InputError: A trial has settings that cannot be used; the message says which.
    """
    from avbench.data.locate import locate
    from avbench.running.request import resolve

    missing: dict[str, None] = {}
    for config in _resolved(sweep, common, path, lambda requests: list(map(resolve, requests))):
        try:
            locate(config.data, config.input)
            locate(config.data.judged, config.input, option="data.eval_source")
        except InputError as error:
            missing[str(error)] = None
    return list(missing)


def _resolved(
    sweep: Sweep, common: ConfigOptions, path: str, resolve: Callable[[list[Request]], list[RunConfig]]
) -> list[RunConfig]:
    configs: list[RunConfig] = []
    for params in sweep.grid() if sweep.sampler.name == "grid" else sweep.corners():
        for wanted in wanted_of(sweep, params, sweep.seeds[:1], common):  # another seed changes nothing here
            try:
                configs += resolve(wanted.requests())
            except InputError as error:
                raise InputError(f"{path}: trial {named(params)}: {error}") from None
    return configs


def named(params: Params) -> str:
    """Returns a trial's parameters as text."""
    return ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in params.items()
    )


def watched(wanted: Wanted, pruner: PrunerConfig, runner: Runner) -> Path | None:
    """Returns the metrics.csv that tells how a trial does, if this run writes it.

    Args:
        wanted: The trial's run.
        pruner: Decides on its figures.
        runner: Knows the results and the data.
    """
    if pruner.name == "none":
        return None
    if not wanted.tasks:
        return planner.weights_of(wanted, runner)[0].parent / METRICS if pruner.stage == "pretrain" else None
    for config in wanted.configs(runner):
        plan = runner.plans(config, with_untrained=False)[-1]
        if pruner.stage == "pretrain" and plan.pretrain is not None:
            return plan.pretrain.folder / METRICS
        if config.task_name == pruner.stage:
            return plan.finetunings[0].folder / METRICS if plan.finetunings else None  # of several the first
    return None


def value(objective: Goal, found: Sequence[Mapping[str, Any] | None]) -> float:
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
    """Returns how the weights of a trial are obtained; None: in the run, by the sweep's settings alone."""
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
