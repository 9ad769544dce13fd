"""A sweep: what is varied, what it is judged by, and how trials are chosen."""

from __future__ import annotations

import itertools
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from avbench.data.locate import SOUNDSHAPES
from avbench.errors import InputError, did_you_mean
from avbench.launch.sweep.space import Parameter, Scalar, check_settings
from avbench.metrics.units import Unit, unit
from avbench.recipes.recipe import Recipe
from avbench.settings import Settings, setting

Params = dict[str, Scalar]  # of a trial: name of the parameter to its value


@dataclass(frozen=True, kw_only=True)
class _Part(Settings):
    """Settings of which ``set`` holds settings of commands, and a list of names may be one name."""

    def __post_init__(self) -> None:
        """Checks every field, and the keys of ``set``.

        Raises:
            InputError: A field or a key cannot be used.
        """
        for key in ("task", "preset"):
            value: Any = getattr(self, key, ())
            if isinstance(value, str):
                object.__setattr__(self, key, (value,))
        super().__post_init__()
        check_settings(getattr(self, "set"), "set")  # noqa: B009  # of those that derive from this


@dataclass(frozen=True, kw_only=True)
class Evaluation(_Part):
    """One ``avbench run`` of a trial: tasks with the data, presets and settings they share."""

    task: tuple[str, ...] = setting((), "the tasks")
    data: str = setting("", "what they judge; empty: the sweep's")
    preset: tuple[str, ...] = setting((), "named configurations")
    set: Mapping[str, Any] = setting({}, "single settings")


@dataclass(frozen=True)
class Goal:
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
class Sweep(_Part):
    """One sweep, as it is run: the file with the section for its data, and what the command changed."""

    summary: str = setting("", "what it is, in a line")
    source: str = setting("", "the paper's table or figure")
    method: str = setting("", "of trials, unless it is varied")
    task: tuple[str, ...] = setting((), "tasks of one 'avbench run', where evaluate names none")
    data: str = setting(SOUNDSHAPES, "the data")
    preset: tuple[str, ...] = setting((), "of every command")
    init: str = setting("", "weights that runs which pretrain start from")
    set: Mapping[str, Any] = setting({}, "settings of every command")
    recipe: str | Recipe = setting(
        "", "how the weights are obtained, or its name; empty: the run pretrains on its data"
    )
    evaluate: tuple[Evaluation, ...] = setting((), "commands of a trial")
    space: tuple[Parameter, ...] = setting((), "what is varied")
    objectives: tuple[Goal, ...] = setting((), "what trials are judged by")
    sampler: SamplerConfig = setting(SamplerConfig(), "how they are chosen")
    pruner: PrunerConfig = setting(PrunerConfig(), "when they are stopped")
    trials: int = setting(0, "how many; 0: all of a grid", ge=0)
    seeds: tuple[int, ...] = setting((0,), "each trial is run once for each", ge=0)
    parallel: int = setting(0, "jobs at a time; 0: as many as there is room for", ge=0)
    name: str = setting("", "of its folder in the results")

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
        Path(__file__).resolve().parents[3] / "sweeps",
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
