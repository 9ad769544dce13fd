"""A sweep: what is varied, what it is judged by, and how trials are chosen."""

from __future__ import annotations

import itertools
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from avbench.errors import InputError, did_you_mean
from avbench.launch.space import Parameter, Scalar
from avbench.metrics.units import Unit, unit
from avbench.recipes.recipe import Recipe
from avbench.settings import Settings, setting

Params = dict[str, Scalar]  # of a trial: name of the parameter to its value


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One ``avbench run`` of a trial: tasks with the data, presets and settings they share."""

    task: tuple[str, ...]
    data: str = ""
    preset: tuple[str, ...] = ()
    set: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Objective:
    """A number that trials are judged by: the mean over their seeds."""

    task: str
    metric: str
    direction: Literal["maximize", "minimize"]

    @property
    def name(self) -> str:
        """Task and metric, as in the file."""
        return f"{self.task} {self.metric}"

    @property
    def unit(self) -> Unit:
        """How its values are read."""
        return unit(self.metric, self.task)


@dataclass(frozen=True, kw_only=True)
class SamplerConfig(Settings):
    """How the parameters of a trial are chosen."""

    name: Literal["grid", "random", "tpe"] = setting(
        "grid", "grid: every combination; random; tpe: guided by finished trials"
    )
    seed: int = setting(0, "seed of random and tpe", ge=0)
    startup: int = setting(10, "tpe: random trials at the start", ge=1)


@dataclass(frozen=True, kw_only=True)
class PrunerConfig(Settings):
    """When a trial is stopped early, by a column of its first seed's metrics.csv."""

    name: Literal["none", "median", "halving"] = setting(
        "none", "median: worse than half of the others at that step; halving: successive halving"
    )
    stage: Literal["pretrain", "classification"] = setting("pretrain", "whose metrics.csv is watched")
    column: str = setting("loss", "column of it: loss, a part of the loss, tuning_loss")
    direction: Literal["minimize", "maximize"] = setting("minimize", "which values of the column are good")
    startup: int = setting(3, "median: trials that must end before one is stopped", ge=1)
    warmup: int = setting(0, "median: steps before which no trial is stopped", ge=0)
    least: int = setting(1, "halving: steps that each trial gets at least", ge=1)
    factor: int = setting(3, "halving: one trial in N continues", ge=2)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One sweep, as it is run: the file with the section for its data, and what the command changed.

    Attributes:
        name: Of its folder in the results.
        summary: What it is, in a line.
        source: The paper's table or figure.
        method: Of trials, unless it is varied.
        task: Tasks of one ``avbench run``, where ``evaluate`` names none.
        data: The data.
        preset: Of every command.
        init: Weights that runs which pretrain start from.
        set: Settings of every command.
        recipe: How the weights come about, or its name, in which ``{method}`` stands for the trial's; "": the run
            pretrains on its data.
        evaluate: Commands of a trial.
        space: What is varied.
        objectives: What trials are judged by.
        sampler: How they are chosen.
        pruner: When they are stopped.
        trials: How many; 0: all of a grid.
        seeds: Each trial is run once for each.
        parallel: Jobs at a time; 0: as many as there is room for.
    """

    name: str
    summary: str
    source: str
    method: str
    task: tuple[str, ...]
    data: str
    preset: tuple[str, ...]
    init: str
    set: Mapping[str, Any]
    recipe: str | Recipe
    evaluate: tuple[Evaluation, ...]
    space: tuple[Parameter, ...]
    objectives: tuple[Objective, ...]
    sampler: SamplerConfig
    pruner: PrunerConfig
    trials: int
    seeds: tuple[int, ...]
    parallel: int

    def grid(self) -> list[Params]:
        """Returns the parameters of every trial of a grid, the first parameter varying slowest."""
        keys = [parameter.key for parameter in self.space]
        points = [
            dict(zip(keys, values, strict=True))
            for values in itertools.product(*(parameter.grid() for parameter in self.space))
        ]
        return points[: self.trials or None]

    def corners(self) -> list[Params]:
        """Returns parameters that show whether trials can be run: each value of one beside the first of the others."""
        first = {parameter.key: parameter.corners()[0] for parameter in self.space}
        points = [{**first, parameter.key: value} for parameter in self.space for value in parameter.corners()]
        return [point for i, point in enumerate(points) if point not in points[:i]]

    def options(self, params: Mapping[str, Scalar]) -> dict[str, Any]:
        """Returns the options that a trial's parameters stand for."""
        found: dict[str, Any] = {}
        for parameter in self.space:
            found.update(parameter.options(params[parameter.key]))
        return found


def folders() -> tuple[Path, ...]:
    """Returns where the sweeps that come with the program are: in the repository, or in the installation."""
    return (
        Path(__file__).resolve().parents[2] / "sweeps",
        Path(sysconfig.get_path("data")) / "share" / "avbench" / "sweeps",
    )


def names() -> list[str]:
    """Returns the names of the sweeps that come with the program."""
    return sorted({path.stem for folder in folders() for path in folder.glob("*.yaml")})


def find(name: str) -> Path:
    """Returns the file of a sweep: a path, or the name of one that comes with the program.

    Raises:
        InputError: There is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    # ``sweeps/lambda_c.yaml`` is what the documentation says, wherever one stands.
    if path.suffix in ("", ".yaml") and path.parent in (Path(), Path("sweeps")):
        for folder in folders():
            shipped = folder / f"{path.stem}.yaml"
            if shipped.is_file():
                return shipped
    raise InputError(
        f"sweep {name}: no such file or name.{did_you_mean(path.stem, names())} Valid: a YAML file (docs/sweeps.md), or"
        f" one of {', '.join(names()) or '(none)'}."
    )
