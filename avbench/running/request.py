"""From what the user typed to one complete configuration.

Layers, each over the one before: the defaults (the paper's), the data's own preset, ``--recipe``, ``--preset`` from
left to right, the sizes of a ``--checkpoint``, ``--config FILE.yaml``, ``--set key=value``.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from avbench import registry
from avbench.config import DataConfig, InputConfig, ModelConfig, Precision, TrainConfig
from avbench.data.locate import EMBEDDED
from avbench.errors import InputError, did_you_mean, unknown
from avbench.recipes import presets, recipe
from avbench.settings import Settings, change, shown, to_dict
from avbench.yaml_text import NotYaml, parse_yaml, read_yaml

log = logging.getLogger("avbench")
Weights = Literal["pretrained", "untrained", "checkpoint"]
SECTIONS = presets.SECTIONS


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything one run needs, defaults included. ``method`` and ``task`` hold the options of those named."""

    method_name: str
    task_name: str
    data: DataConfig
    input: InputConfig
    model: ModelConfig
    method: Settings
    train: TrainConfig
    task: Settings
    seed: int
    precision: Precision
    weights: Weights
    checkpoint: Path | None = None
    presets: tuple[str, ...] = ()
    fits_batch: bool = False  # the batch size is a default of ours: fewer clips make a smaller one

    def to_dict(self) -> dict[str, Any]:
        """Returns the configuration as JSON values, for records and ``--dry-run``."""
        sections = {name: to_dict(getattr(self, name)) for name in ("data", "input", "model", "train")}
        return {
            "method": {"name": self.method_name, **to_dict(self.method)},
            "task": {"name": self.task_name, **to_dict(self.task)},
            **sections,
            "seed": self.seed,
            "precision": self.precision,
            "weights": self.weights,
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
            "presets": list(self.presets),
        }


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for, before anything is looked up."""

    method: str
    task: str = "retrieval"  # empty: pretraining alone
    data: str | None = None
    eval_data: str | None = None
    checkpoint: Path | None = None
    recipe: str = ""
    presets: tuple[str, ...] = ()
    config: Path | None = None
    sets: tuple[str, ...] = ()
    seed: int = 0
    precision: Precision = "fp32"


def resolve(request: Request) -> RunConfig:
    """Returns the complete configuration of a request.

    Raises:
        InputError: An unknown name or key, a wrong type, or a value out of range.
    """
    method = registry.find("method", request.method)
    trained = bool(method.card.get("objectives"))
    if request.task:
        _check_pair(method, registry.find("task", request.task))
    elif not trained:
        raise InputError(f"method '{method.name}': found no objectives in its CARD, so there is nothing to pretrain.")
    user = _user_layers(request)
    chosen = recipe.find(request.recipe, request.method) if request.recipe else recipe.Recipe()
    source = request.data or next(
        (layer["data"]["source"] for layer in reversed(user) if "source" in layer.get("data", {})),
        chosen.data or DataConfig().source,
    )
    names = (*chosen.preset, *request.presets)
    if not names and request.checkpoint is None:
        names = (EMBEDDED if source == EMBEDDED else "starter",)
    elif source == EMBEDDED:
        names = names if names[:1] == (EMBEDDED,) else (EMBEDDED, *names)
    layers: list[tuple[str, Mapping[str, Any]]] = [(f"preset {name}", presets.load(name)) for name in names]
    layers.insert(len(names) - len(request.presets), (f"recipe {chosen.name}", chosen.sections))
    sections: dict[str, Settings] = {
        "data": frames_of(method.card),
        "input": InputConfig(),
        "model": ModelConfig(),
        "method": method.load().CONFIG(),
        "train": TrainConfig(),
        "task": _task_class(request.task)(),
    }
    fits_batch = False
    for name, preset in layers:
        if "batch_size" in preset.get("train", {}):
            fits_batch = name == "preset starter"
        lenient = ("task",) if name.startswith("recipe ") else ("method", "task")
        for layer in (preset, preset.get(presets.METHODS, {}).get(request.method, {})):
            sections = _apply(sections, layer, f"{name}: ", lenient=lenient)
        by_task = preset.get(presets.TASKS, {})
        if preset.keys() == {"summary", presets.TASKS} and request.task not in by_task:
            raise InputError(
                f"--{name}: found task '{request.task}', valid: {', '.join(by_task)}, whose settings it holds."
            )
        of_task = {"task": by_task.get(request.task, {})}
        sections = _apply(sections, of_task, f"{name}: ")
    if chosen.start is not None and request.checkpoint is None:
        _check_start(chosen, user)
    if request.checkpoint is not None:
        given = [f"{name}.{key}" for layer in user for name, values in layer.items() for key in values]
        sizes = _checkpoint_sizes(request.checkpoint, request.method, given)
        sections = _apply(sections, sizes, f"{request.checkpoint}: ")
    for layer in user:
        sections = _apply(sections, layer, "")
    named = {"source": source} | ({} if request.eval_data is None else {"eval_source": request.eval_data})
    sections["data"] = change(sections["data"], named)
    _check_frame(sections["data"], sections["input"])
    return RunConfig(
        method_name=request.method,
        task_name=request.task,
        seed=request.seed,
        precision=request.precision,
        weights="checkpoint" if request.checkpoint else "pretrained" if trained else "untrained",
        checkpoint=request.checkpoint,
        presets=names,
        fits_batch=fits_batch and not any("batch_size" in layer.get("train", {}) for layer in user),
        **sections,  # type: ignore[arg-type]  # each section has the type its default was made with
    )


def _check_start(chosen: recipe.Recipe, user: list[dict[str, Any]]) -> None:
    """Refuses a recipe that starts from the weights of another, where nobody says which file these are."""
    if not any("init" in layer.get("train", {}) for layer in user):
        raise InputError(
            f"--recipe {chosen.name}: found no weights of recipe {chosen.init}, which it starts from, valid: --init"
            f" FILE; 'avbench pretrain --recipe {chosen.init}' makes them."
        )


def frames_of(card: Mapping[str, Any]) -> DataConfig:
    """Returns the section data as a method's paper has it: how many frames of a clip, and when."""
    count, sampling = card.get("frames", (DataConfig.n_frames, DataConfig.sampling))
    return change(DataConfig(), {"n_frames": count, "sampling": sampling}, "data")


def _check_frame(data: Settings, inputs: Settings) -> None:
    if isinstance(data, DataConfig) and isinstance(inputs, InputConfig) and inputs.eval_frame >= data.n_frames:
        raise InputError(
            f"input.eval_frame: found {inputs.eval_frame}, valid: 0 to {data.n_frames - 1}, the frames of"
            f" data.n_frames={data.n_frames}, or -1, the middle of the clip."
        )


def fitted(config: RunConfig, n_train: int) -> RunConfig:
    """Returns a configuration whose batch is no larger than the training set, where nobody asked for its size.

    A folder of a few videos can so be tried with the starter preset; what it got is said, and in the record.
    """
    train = config.train
    size = n_train // train.accumulate * train.accumulate
    if not config.fits_batch or not 2 <= size < train.batch_size:
        return config
    _say_once(
        f"train.batch_size: {size} instead of the starter preset's {train.batch_size}, as {config.data.source} has"
        f" {n_train} training clips"
    )
    return dataclasses.replace(config, train=change(train, {"batch_size": size}, "train"))


@functools.cache
def _say_once(text: str) -> None:
    log.warning("%s", text)


def vary(config: RunConfig, sections: Mapping[str, Mapping[str, Any]]) -> RunConfig:
    """Returns a configuration with other settings in some sections.

    Raises:
        InputError: An unknown key or a wrong value.
    """
    changed: dict[str, Any] = {name: change(getattr(config, name), values, name) for name, values in sections.items()}
    return dataclasses.replace(config, **changed)


def task_options(task: str, config: Path | None, sets: tuple[str, ...]) -> Settings:
    """Returns a task's options alone, for evaluating features that no model here made.

    Raises:
        InputError: An unknown key, a wrong value, or a setting of another section.
    """
    options: Settings = registry.find("task", task).load().CONFIG()
    layers = [_read_sections(config)] if config is not None else []
    for text in sets:
        key, value = _split_set(text)
        section, dot, field = key.partition(".")
        layers.append(_nested(*((section, field) if dot else ("task", key)), value))
    for layer in layers:
        for name in layer:
            if name != "task":
                raise InputError(f"{name}: cannot change features that are given, valid: settings of section task.")
        options = change(options, layer.get("task", {}), "task")
    return options


def data_options(source: str, labels: str, sets: tuple[str, ...]) -> tuple[DataConfig, InputConfig]:
    """Returns the sections data and input alone, for commands that look at data without a method.

    Raises:
        InputError: An unknown key, a wrong value, or a setting of another section.
    """
    sections: dict[str, Settings] = {"data": DataConfig(source=source, labels=labels), "input": InputConfig()}
    if source == EMBEDDED:
        preset = presets.load(EMBEDDED)
        sections = _apply(sections, {name: preset.get(name, {}) for name in sections}, "")
    for text in sets:
        key, value = _split_set(text)
        section, _, field = key.partition(".")
        if section not in sections:
            raise InputError(f"--set {key}: valid: data.KEY=VALUE or input.KEY=VALUE.")
        sections = _apply(sections, _nested(section, field, value), "--set ")
    data, inputs = sections["data"], sections["input"]
    if not isinstance(data, DataConfig) or not isinstance(inputs, InputConfig):
        raise TypeError("sections changed their type")  # only a mistake in _apply gets here
    return data, inputs


def _check_pair(method: registry.Component, task: registry.Component) -> None:
    reason = registry.why_not(method, task)
    if reason:
        able, others = ", ".join(registry.methods_for(task)), ", ".join(registry.tasks_of(method))
        raise InputError(f"{reason} Valid methods: {able or 'none'}. Tasks of {method.name}: {others or 'none'}.")


def _checkpoint_sizes(path: Path, method: str, given: list[str]) -> dict[str, dict[str, Any]]:
    from avbench.training.checkpoints import sizes

    return sizes(path, method=method, given=given)


def _apply(
    sections: Mapping[str, Settings], layer: Mapping[str, Any], where: str, *, lenient: tuple[str, ...] = ()
) -> dict[str, Settings]:
    """Returns the sections with one layer's values on top; in ``lenient`` ones unknown fields are left out."""
    changed = dict(sections)
    for name, values in layer.items():
        if name not in sections:
            continue
        known = {field.name for field in dataclasses.fields(sections[name])}
        chosen = {k: v for k, v in values.items() if name not in lenient or k in known}
        try:
            changed[name] = change(sections[name], chosen, name)
        except InputError as error:
            raise InputError(f"{where}{error}") from None
    return changed


def _user_layers(request: Request) -> list[dict[str, Any]]:
    layers = []
    if request.config is not None:
        layers.append(_read_sections(request.config))
    layers += [_parse_set(text, request) for text in request.sets]
    return layers


def _read_sections(path: Path) -> dict[str, Any]:
    layer = read_yaml(path)
    for key, values in layer.items():
        if key not in SECTIONS:
            raise InputError(
                f"{path}: unknown section '{key}'.{did_you_mean(key, SECTIONS)} Valid: {', '.join(SECTIONS)}."
            )
        if not isinstance(values, Mapping):
            raise InputError(f"{path}: {key}: found {shown(values)}, valid: a mapping of settings.")
    return layer


def _parse_set(text: str, request: Request) -> dict[str, Any]:
    """Turns ``section.key=value`` (or ``key=value`` where only one section has it) into a layer."""
    key, value = _split_set(text)
    section, dot, field = key.partition(".")
    if not dot and key in SECTIONS:
        raise InputError(f"--set {key}: found a section, valid: a setting of it, as {key}.KEY=VALUE.")
    if not dot:
        owners = _owners(key, request)
        if len(owners) > 1:
            raise InputError(f"--set {key}: found in several sections, valid: {' or '.join(owners)}.")
        if not owners:
            raise unknown("setting", key, _all_keys(request))
        section, field = owners[0].split(".")
    if section not in SECTIONS:
        raise InputError(
            f"--set {key}: unknown section '{section}'.{did_you_mean(section, SECTIONS)} Valid: {', '.join(SECTIONS)}."
        )
    return _nested(section, field, value)


def _nested(section: str, field: str, value: Any) -> dict[str, Any]:
    """Returns a layer of one setting, or of one within settings, such as task.finetune.epochs."""
    for name in reversed(field.split(".")):
        value = {name: value}
    return {section: value}


def _split_set(text: str) -> tuple[str, Any]:
    """Returns the key and the value of ``key=value``; what is not YAML is text, such as a path with a colon."""
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set {text}: found no '=', valid: key=value, for example method.lambda_c=0.1.")
    if not all(key.split(".")):
        raise InputError(f"--set {text}: found '{key}' as the key, valid: section.key, for example method.lambda_c.")
    try:
        if not value.strip():  # mostly a variable of the shell that is not set
            raise InputError(f"--set {text}: found nothing after '=', valid: a value; for empty text {key}='\"\"'.")
        return key, parse_yaml(value, f"--set {key}")
    except NotYaml:
        return key, value


def _task_class(task: str) -> type[Settings]:
    """Returns the class of a task's options; of no task, one without any."""
    cls: type[Settings] = registry.find("task", task).load().CONFIG if task else Settings
    return cls


def _all_keys(request: Request) -> list[str]:
    classes = {
        "data": DataConfig,
        "input": InputConfig,
        "model": ModelConfig,
        "train": TrainConfig,
        "method": registry.find("method", request.method).load().CONFIG,
        "task": _task_class(request.task),
    }
    return [f"{section}.{field.name}" for section, cls in classes.items() for field in dataclasses.fields(cls)]


def _owners(leaf: str, request: Request) -> list[str]:
    return [key for key in _all_keys(request) if key.partition(".")[2] == leaf]
