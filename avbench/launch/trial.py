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
from avbench.launch.sweep_file import read_pretraining
from avbench.store.records import read_record

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.running.request import Request
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
        """Returns the same, before anything is looked up."""
        return self.options.requests((self.method,), self.tasks or ("",), self.seeds)


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
    chain = read_pretraining(chosen["pretrain"], "pretrain") if "pretrain" in chosen else sweep.pretrain

    def options(data: str, preset: Sequence[str], settings: Mapping[str, Any], init: str = "") -> ConfigOptions:
        sets = tuple(f"{key}={text(value)}" for key, value in settings.items())
        sets = (*(text for group in common.set for text in group), *sets)
        names = tuple(dict.fromkeys(preset))
        return dataclasses.replace(common, data=data, preset=names, init=init, set=(sets,) if sets else ())

    found = []
    for i, each in enumerate(chain):
        settings = _without({**sweep.set, **each.set, **varied}, "task")
        found.append(
            Step(
                command="pretrain",
                method=each.method or method,
                tasks=(),
                seeds=seeds,
                options=options(each.data or data, (*preset, *each.preset), settings, each.init),
                follows="init" if i else "",
            )
        )
    # How the weights were obtained belongs to the record: tables find it there.
    inherited = _without(chain[-1].set, "data") if chain else {}
    goes_on = init == PRETRAIN
    if goes_on and not chain:
        raise InputError("init: found pretrain, valid: with a list 'pretrain' alone, whose weights it means.")
    for judged in sweep.evaluate:
        settings = {**sweep.set, **inherited, **varied, **judged.set, **chosen.get("run", {})}
        names = (*preset, *(chain[-1].preset if chain else ()), *judged.preset)
        found.append(
            Step(
                command="run",
                method=method,
                tasks=judged.task,
                seeds=seeds,
                options=options(judged.data or data, names, settings, "" if chain else init),
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
    stage = plan_pretraining(config, runner.corpus(config), runner.execution.results)
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
            return plan.finetunings[0].folder / METRICS if plan.finetunings else None  # of several the first
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


def _words(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value))


def _without(settings: Mapping[str, Any], section: str) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if not key.startswith(f"{section}.")}
