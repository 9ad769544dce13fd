"""Reads sweeps from YAML, strictly: what is not known is refused, with the file and the key."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from avbench.data.locate import SOUNDSHAPES
from avbench.errors import InputError, did_you_mean
from avbench.files.paths import check_folder_name
from avbench.launch.sweep.comparable import check_metric, check_pruner
from avbench.launch.sweep.config import Evaluation, Goal, Sweep
from avbench.launch.sweep.space import OPTIONS, check_settings, read_parameter
from avbench.recipes.recipe import METHOD, Recipe, read
from avbench.settings import build, shown
from avbench.yaml_text import read_yaml

KEYS = tuple(field.name for field in dataclasses.fields(Sweep) if field.name != "name")
ON = "on_data"  # plain ``on`` is what YAML calls true
_MERGED = ("set", "space")  # a section for other data changes them entry by entry; null takes one away
DIRECTIONS = ("maximize", "minimize")


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What the command line says over the file. None, 0 or nothing: as the file says."""

    data: str | None = None
    name: str = ""
    preset: tuple[str, ...] = ()
    init: str = ""
    sets: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    trials: int | None = None
    parallel: int | None = None


def read_sweep(path: Path, changes: Changes) -> Sweep:
    """Reads a sweep.

    Raises:
        InputError: The file, or what the command changes, cannot be used.
    """
    if changes.name:
        check_folder_name("--name", changes.name)
    values = read_yaml(path)
    default = values.get("data", SOUNDSHAPES)
    try:
        sweep = _sweep(_for_data(values, changes.data))
        given = {key: getattr(changes, key) for key in ("seeds", "trials", "parallel", "init")}
        sweep = dataclasses.replace(
            sweep, **{key: value for key, value in given.items() if value not in (None, (), "")}
        )
        _check(sweep)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    name = path.stem if sweep.data == default else f"{path.stem}-{Path(sweep.data).stem}"
    return dataclasses.replace(
        sweep,
        name=changes.name or name,
        preset=(*sweep.preset, *changes.preset),
        seeds=tuple(dict.fromkeys(sweep.seeds)),
        set={**sweep.set, **_sets(sweep, changes.sets, path)},
    )


def _sets(sweep: Sweep, texts: Sequence[str], path: Path) -> dict[str, str]:
    """Returns the settings of ``--set``."""
    varied = {key for parameter in sweep.space for value in parameter.corners() for key in parameter.options(value)}
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or "." not in key:
            raise InputError(
                f"--set {text}: found no section or value, valid: section.key=value, as method.lambda_c=0.1."
            )
        if not value.strip():
            raise InputError(f"--set {text}: found nothing after '=', valid: a value; for empty text {key}='\"\"'.")
        if key in varied:
            raise InputError(f"--set {text}: {path} varies it, valid: other settings; change the file's space.")
        settings[key] = value
    return settings


def _for_data(values: dict[str, Any], data: str | None) -> dict[str, Any]:
    """Returns the file's values with those of its section for the data on top."""
    sections = _mapping(values.pop(ON, {}), ON)
    for where, keys in (("", values), *((f"{ON}.{name}", section) for name, section in sections.items())):
        for key in _mapping(keys, where):
            if key not in KEYS:
                valid = (*KEYS, *(() if where else (ON,)))
                raise InputError(
                    f"{where}{': ' if where else ''}unknown key '{key}'.{did_you_mean(str(key), valid)}"
                    f" Valid: {', '.join(valid)}."
                )
    if data is not None:
        values["data"] = data
    name = str(values.setdefault("data", SOUNDSHAPES))
    for key, value in sections.get(name, {}).items():
        if key in _MERGED:
            merged = {**_mapping(values.get(key, {}), key), **_mapping(value, f"{ON}.{name}.{key}")}
            value = {k: v for k, v in merged.items() if v is not None}
        values[key] = value
    return values


def _sweep(values: Mapping[str, Any]) -> Sweep:
    recipe = read_recipe(values.get("recipe", ""), "recipe")
    if isinstance(recipe, Recipe) and recipe.method and "method" not in (values.get("space") or {}):
        values = {"method": recipe.method, **values}
    for key in ("summary", "method", "space", "objectives"):
        if key not in values and not (key == "method" and "method" in (values.get("space") or {})):
            raise InputError(f"found no '{key}', valid: one; see docs/sweeps.md.")
    space = _mapping(values["space"], "space")
    if not space:
        raise InputError("space: found nothing, valid: one or more parameters, as method.lambda_c: [0.01, 0.1].")
    if "method" in space and "method" in values:
        raise InputError("method: found it here and in space, valid: one of them.")
    named = {key: {"name": values[key]} for key in ("sampler", "pruner") if isinstance(values.get(key), str)}
    read = {
        "recipe": recipe,
        "space": tuple(read_parameter(str(key), value, f"space.{key}") for key, value in space.items()),
        "objectives": (),
    }
    sweep = build(Sweep, {**values, **named, **read})
    for i, each in enumerate(sweep.evaluate):
        if not each.task:
            raise InputError(f"evaluate[{i}].task: found nothing, valid: one or more tasks.")
    if not sweep.evaluate and not sweep.task:
        raise InputError("found neither 'task' nor 'evaluate', valid: tasks, as task: [retrieval].")
    evaluate = sweep.evaluate or (Evaluation(task=sweep.task),)
    tasks = tuple(dict.fromkeys(name for each in evaluate for name in each.task))
    return dataclasses.replace(sweep, evaluate=evaluate, objectives=_objectives(values["objectives"], tasks))


def _check(sweep: Sweep) -> None:
    """Refuses what does not fit together."""
    if not sweep.seeds:
        raise InputError("seeds: found nothing, valid: one or more.")
    if sweep.pruner.name != "none" and len(sweep.objectives) > 1:
        raise InputError(
            f"pruner: found {sweep.pruner.name} with {len(sweep.objectives)} objectives, valid: none, or one"
            " objective, as no trial is worse than another in all of several."
        )
    tasks = {task for each in sweep.evaluate for task in each.task}
    if sweep.pruner.name != "none" and sweep.pruner.stage == "classification" and "classification" not in tasks:
        raise InputError("pruner.stage: found classification, valid: pretrain, as no trial is fine-tuned.")
    check_pruner(sweep)
    if sweep.sampler.name != "grid" and not sweep.trials:
        raise InputError(f"trials: found none, valid: how many, as the sampler is {sweep.sampler.name}.")
    for parameter in sweep.space:
        where = f"space.{parameter.key}"
        for value in parameter.corners():
            for key, option in parameter.options(value).items():
                _check_option(key, option, f"{where}.{value}")
        if sweep.sampler.name == "grid":
            try:
                parameter.grid()
            except InputError as error:
                raise InputError(f"{where}: {error}") from None


def _check_option(key: str, option: Any, where: str) -> None:
    """Refuses an option of a trial that is not what its key takes."""
    if key == "recipe":
        read_recipe(option, f"{where}.{key}")
    elif key == "run":
        check_settings(_mapping(option, f"{where}.{key}"), f"{where}.{key}")
    elif key == "weights":
        if option != "untrained":
            raise InputError(f"{where}.{key}: found {option}, valid: untrained.")
    elif key in OPTIONS:
        build(Sweep, {key: option}, where)


def read_recipe(value: Any, where: str) -> str | Recipe:
    """Reads a recipe, or the name of one; with ``{method}`` in it, it is looked up with a trial's method.

    Raises:
        InputError: It is something else.
    """
    if isinstance(value, str) and (not value or METHOD in value):
        return value
    return read(value, where)


def _objectives(values: Any, tasks: tuple[str, ...]) -> tuple[Goal, ...]:
    found = []
    for name, direction in _mapping(values, "objectives").items():
        task, space, metric = str(name).partition(" ")
        if not space or task not in tasks:
            raise InputError(
                f"objectives: found '{name}', valid: a task and a metric of it, as '{tasks[0]} joint/mAP'."
                f"{did_you_mean(task, tasks)} Tasks: {', '.join(tasks)}."
            )
        if direction not in DIRECTIONS:
            near = did_you_mean(str(direction), DIRECTIONS)
            raise InputError(f"objectives.{name}: found {shown(direction)}, valid: {' or '.join(DIRECTIONS)}.{near}")
        check_metric(task, metric.strip())
        found.append(Goal(task, metric.strip(), direction))
    if not found:
        raise InputError("objectives: found nothing, valid: one or more, as 'retrieval a2v/R@1: maximize'.")
    return tuple(found)


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: found {shown(value)}, valid: a mapping.")
    return cast(Mapping[str, Any], value)
