"""Reads sweeps from YAML, strictly: what is not known is refused, with the file and the key."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from avbench.data.locate import EMBEDDED
from avbench.errors import InputError, did_you_mean
from avbench.files import check_folder_name
from avbench.launch.space import OPTIONS, check_key, read_parameter
from avbench.launch.sweep import Evaluation, Objective, PrunerConfig, SamplerConfig, Sweep
from avbench.recipes.recipe import METHOD, Recipe, read
from avbench.settings import Settings, build, check_number, shown
from avbench.yaml_text import read_yaml

S = TypeVar("S", bound=Settings)
KEYS = (
    *("summary", "source", "method", "task", "data", "preset", "init", "set", "recipe", "evaluate"),
    *("space", "objectives", "sampler", "pruner", "trials", "seeds", "parallel"),
)
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
    values = read_yaml(path)
    default = values.get("data", EMBEDDED)
    if changes.name:
        check_folder_name("--name", changes.name)
    values = _for_data(values, changes.data, str(path))
    for key, change in (
        ("seeds", list(changes.seeds)),
        ("trials", changes.trials),
        ("parallel", changes.parallel),
        ("init", changes.init),
    ):
        if change not in (None, [], ""):
            values[key] = change
    if changes.preset:
        values["preset"] = [*_texts(values.get("preset", []), f"{path}: preset"), *changes.preset]
    name = path.stem if values["data"] == default else f"{path.stem}-{Path(values['data']).stem}"
    sweep = _sweep(changes.name or name, values, str(path))
    varied = {key for parameter in sweep.space for value in parameter.corners() for key in parameter.options(value)}
    settings = dict(sweep.set)
    for text in changes.sets:
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
    return dataclasses.replace(sweep, set=settings)


def _for_data(values: dict[str, Any], data: str | None, where: str) -> dict[str, Any]:
    """Returns the file's values with those of its section for the data on top."""
    _known(values, (*KEYS, ON), where)
    sections = _mapping(values.pop(ON, {}), f"{where}: {ON}")
    for name, section in sections.items():
        _known(_mapping(section, f"{where}: {ON}.{name}"), KEYS, f"{where}: {ON}.{name}")
    if data is not None:
        values["data"] = data
    name = _text(values.setdefault("data", EMBEDDED), f"{where}: data")
    for key, value in sections.get(name, {}).items():
        if key in _MERGED:
            merged = {
                **_mapping(values.get(key, {}), f"{where}: {key}"),
                **_mapping(value, f"{where}: {ON}.{name}.{key}"),
            }
            value = {k: v for k, v in merged.items() if v is not None}
        values[key] = value
    return values


def _sweep(name: str, values: Mapping[str, Any], where: str) -> Sweep:
    recipe = read_recipe(values.get("recipe", ""), f"{where}: recipe")
    if isinstance(recipe, Recipe) and recipe.method and "method" not in (values.get("space") or {}):
        values = {"method": recipe.method, **values}
    for key in ("summary", "method", "space", "objectives"):
        if key not in values and not (key == "method" and "method" in (values.get("space") or {})):
            raise InputError(f"{where}: found no '{key}', valid: one; see docs/sweeps.md.")
    space = _mapping(values["space"], f"{where}: space")
    if not space:
        raise InputError(
            f"{where}: space: found nothing, valid: one or more parameters, as method.lambda_c: [0.01, 0.1]."
        )
    if "method" in space and "method" in values:
        raise InputError(f"{where}: method: found it here and in space, valid: one of them.")
    task = _texts(values.get("task", []), f"{where}: task")
    evaluate = tuple(
        _evaluation(each, f"{where}: evaluate[{i}]")
        for i, each in enumerate(_list(values.get("evaluate", []), f"{where}: evaluate"))
    )
    if not evaluate:
        if not task:
            raise InputError(f"{where}: found neither 'task' nor 'evaluate', valid: tasks, as task: [retrieval].")
        evaluate = (Evaluation(task=task),)
    tasks = tuple(dict.fromkeys(name for each in evaluate for name in each.task))
    sweep = Sweep(
        name=name,
        summary=_text(values["summary"], f"{where}: summary"),
        source=_text(values.get("source", ""), f"{where}: source"),
        method=_text(values.get("method", ""), f"{where}: method"),
        task=task,
        data=_text(values["data"], f"{where}: data"),
        preset=_texts(values.get("preset", []), f"{where}: preset"),
        init=_text(values.get("init", ""), f"{where}: init"),
        set=_settings(values.get("set", {}), f"{where}: set"),
        recipe=recipe,
        evaluate=evaluate,
        space=tuple(read_parameter(str(key), value, f"{where}: space.{key}") for key, value in space.items()),
        objectives=_objectives(values["objectives"], tasks, f"{where}: objectives"),
        sampler=_part(SamplerConfig, values.get("sampler", {}), f"{where}: sampler"),
        pruner=_part(PrunerConfig, values.get("pruner", {}), f"{where}: pruner"),
        trials=_whole(values.get("trials", 0), f"{where}: trials", 0),
        seeds=_seeds(values.get("seeds", [0]), f"{where}: seeds"),
        parallel=_whole(values.get("parallel", 0), f"{where}: parallel", 0),
    )
    _check(sweep, where)
    return sweep


def _check(sweep: Sweep, where: str) -> None:
    """Refuses what does not fit together."""
    if sweep.pruner.name != "none" and len(sweep.objectives) > 1:
        raise InputError(
            f"{where}: pruner: found {sweep.pruner.name} with {len(sweep.objectives)} objectives, valid: none, or one"
            " objective, as no trial is worse than another in all of several."
        )
    tasks = {task for each in sweep.evaluate for task in each.task}
    if sweep.pruner.name != "none" and sweep.pruner.stage == "classification" and "classification" not in tasks:
        raise InputError(f"{where}: pruner.stage: found classification, valid: pretrain, as no trial is fine-tuned.")
    if sweep.sampler.name != "grid" and not sweep.trials:
        raise InputError(f"{where}: trials: found none, valid: how many, as the sampler is {sweep.sampler.name}.")
    for parameter in sweep.space:
        for value in parameter.corners():
            for key, option in parameter.options(value).items():
                here = f"{where}: space.{parameter.key}.{value}.{key}"
                if key == "recipe":
                    read_recipe(option, here)
                elif key == "run":
                    _settings(option, here)
                elif key == "preset":
                    _texts(option, here)
                elif key in OPTIONS:
                    _text(option, here)
                if key == "weights" and option != "untrained":
                    raise InputError(f"{here}: found {option}, valid: untrained.")
        if sweep.sampler.name == "grid":
            try:
                parameter.grid()
            except InputError as error:
                raise InputError(f"{where}: space.{parameter.key}: {error}") from None


def read_recipe(value: Any, where: str) -> str | Recipe:
    """Reads a recipe, or the name of one; with ``{method}`` in it, it is looked up with a trial's method.

    Raises:
        InputError: It is something else.
    """
    if isinstance(value, str) and (not value or METHOD in value):
        return value
    return read(value, where)


def _evaluation(value: Any, where: str) -> Evaluation:
    _known(_mapping(value, where), ("task", "data", "preset", "set"), where)
    task = _texts(value.get("task", []), f"{where}.task")
    if not task:
        raise InputError(f"{where}.task: found nothing, valid: one or more tasks.")
    return Evaluation(
        task=task,
        data=_text(value.get("data", ""), f"{where}.data"),
        preset=_texts(value.get("preset", []), f"{where}.preset"),
        set=_settings(value.get("set", {}), f"{where}.set"),
    )


def _objectives(values: Any, tasks: tuple[str, ...], where: str) -> tuple[Objective, ...]:
    found = []
    for name, direction in _mapping(values, where).items():
        task, space, metric = str(name).partition(" ")
        if not space or task not in tasks:
            raise InputError(
                f"{where}: found '{name}', valid: a task and a metric of it, as '{tasks[0]} joint/mAP'."
                f"{did_you_mean(task, tasks)} Tasks: {', '.join(tasks)}."
            )
        if direction not in DIRECTIONS:
            near = did_you_mean(str(direction), DIRECTIONS)
            raise InputError(f"{where}.{name}: found {shown(direction)}, valid: {' or '.join(DIRECTIONS)}.{near}")
        found.append(Objective(task, metric.strip(), direction))
    if not found:
        raise InputError(f"{where}: found nothing, valid: one or more, as 'retrieval a2v/R@1: maximize'.")
    return tuple(found)


def _part(cls: type[S], value: Any, where: str) -> S:
    """Reads a sampler or a pruner: a name, or a mapping of settings."""
    settings = {"name": value} if isinstance(value, str) else _mapping(value, where)
    try:
        return build(cls, settings)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _known(values: Mapping[str, Any], valid: Iterable[str], where: str) -> None:
    names = tuple(valid)
    for key in values:
        if key not in names:
            raise InputError(f"{where}: unknown key '{key}'.{did_you_mean(str(key), names)} Valid: {', '.join(names)}.")


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: found {shown(value)}, valid: a mapping.")
    return cast(Mapping[str, Any], value)


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{where}: found {shown(value)}, valid: a list.")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: found {shown(value)}, valid: text.")
    return value


def _texts(value: Any, where: str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(_text(each, where) for each in _list(value, where))


def _settings(value: Any, where: str) -> dict[str, Any]:
    settings = dict(_mapping(value, where))
    for key in settings:
        check_key(str(key), where)
        if key in OPTIONS:
            raise InputError(f"{where}: found '{key}', valid: settings, as train.steps; '{key}' is a key beside 'set'.")
    return settings


def _whole(value: Any, where: str, least: int) -> int:
    return int(check_number(value, where, int, ge=least))


def _seeds(value: Any, where: str) -> tuple[int, ...]:
    seeds = tuple(dict.fromkeys(_whole(each, where, 0) for each in _list(value, where)))
    if not seeds:
        raise InputError(f"{where}: found nothing, valid: one or more.")
    return seeds
