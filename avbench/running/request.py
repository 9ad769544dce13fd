"""From what the user typed to one complete configuration.

Layers, each over the one before: the defaults (the paper's), the data's own preset, ``--recipe``, ``--preset`` from
left to right, the sizes of a ``--checkpoint``, ``--config FILE.yaml``, ``--set key=value``.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avbench import registry
from avbench.config import DataConfig, InputConfig, ModelConfig, Precision, RunConfig, TrainConfig, Weights
from avbench.data.locate import EMBEDDED, SOUNDSHAPES
from avbench.errors import InputError
from avbench.recipes import presets, recipe
from avbench.running import encoded
from avbench.running.asked import Request
from avbench.running.layers import apply, nested, read_layers, read_sections, split_set, task_class
from avbench.settings import Settings, change

__all__ = ["Request", "data_options", "fitted", "frames_of", "resolve", "task_options", "vary"]
log = logging.getLogger("avbench")


def resolve(request: Request) -> RunConfig:
    """Returns the complete configuration of a request.

    Raises:
        InputError: An unknown name or key, a wrong type, or a value out of range.
    """
    method = registry.find("method", request.method)
    trained = bool(method.card.get("objectives"))
    if request.task:
        _check_pair(method, registry.find("task", request.task))
        if method.encoder and request.recipe:
            raise InputError(f"--recipe {request.recipe}: not used with an encoder; leave it out.")
    elif not trained:
        if method.encoder:
            raise InputError(f"encoder '{method.name}': found nothing to pretrain, valid: avbench run --encoder.")
        raise InputError(f"method '{method.name}': found no objectives in its CARD, so there is nothing to pretrain.")
    user = read_layers(request.config, request.sets, method=request.method, task=request.task)
    chosen = recipe.find(request.recipe, request.method) if request.recipe else recipe.Recipe()
    source = request.data or next(
        (layer["data"]["source"] for layer in reversed(user) if "source" in layer.get("data", {})),
        chosen.data or DataConfig().source,
    )
    names = (*chosen.preset, *request.presets)
    if source in [*EMBEDDED]:  # a source that is no text is refused later
        names = names if names[:1] == (SOUNDSHAPES,) else (SOUNDSHAPES, *names)
    elif not names and request.checkpoint is None and not method.encoder:
        names = ("starter",)
    layers: list[tuple[str, Mapping[str, Any]]] = [(f"preset {name}", presets.load(name)) for name in names]
    layers.insert(len(names) - len(request.presets), (f"recipe {chosen.name}", chosen.sections))
    sections: dict[str, Settings] = {
        "data": encoded.frames(request.method, user) if method.encoder else frames_of(method.card),
        "input": InputConfig(),
        "model": ModelConfig(),
        method.section: method.config_class(),
        "train": TrainConfig(),
        "task": task_class(request.task)(),
    }
    fits_batch = False
    for name, preset in layers:
        if "batch_size" in preset.get("train", {}):
            fits_batch = name == "preset starter"
        lenient = ("task",) if name.startswith("recipe ") else ("method", "task")
        for layer in (preset, preset.get(presets.METHODS, {}).get(request.method, {})):
            sections = apply(sections, layer, f"{name}: ", lenient=lenient)
        by_task = preset.get(presets.TASKS, {})
        if preset.keys() == {"summary", presets.TASKS} and request.task not in by_task:
            raise InputError(
                f"--{name}: found task '{request.task}', valid: {', '.join(by_task)}, whose settings it holds."
            )
        of_task = {"task": by_task.get(request.task, {})}
        sections = apply(sections, of_task, f"{name}: ")
    if chosen.start is not None and request.checkpoint is None:
        _check_start(chosen, user)
    if method.encoder:
        sections, fits_batch = encoded.of_presets(sections, user), False
    elif request.checkpoint is not None:
        given = [f"{name}.{key}" for layer in user for name, values in layer.items() for key in values]
        sizes = _checkpoint_sizes(request.checkpoint, request.method, given)
        sections = apply(sections, sizes, f"{request.checkpoint}: ")
    for layer in user:
        sections = apply(sections, layer, "")
    named = {"source": source} | ({} if request.eval_data is None else {"eval_source": request.eval_data})
    sections["data"] = change(sections["data"], named)
    if not method.encoder:
        _check_frame(sections["data"], sections["input"])
    sections["method"] = sections.pop(method.section)
    weights: Weights = "checkpoint" if request.checkpoint else "pretrained" if trained else "untrained"
    return RunConfig(
        method_name=request.method,
        task_name=request.task,
        seed=request.seed,
        precision=_precision(request, sections["model"], trained=trained),
        weights=encoded.GIVEN if method.encoder else weights,
        checkpoint=request.checkpoint,
        presets=names,
        fits_batch=fits_batch and not any("batch_size" in layer.get("train", {}) for layer in user),
        **sections,  # type: ignore[arg-type]  # each section has the type its default was made with
    )


def _precision(request: Request, model: Settings, *, trained: bool) -> Precision:
    """Returns the arithmetic of a run; of ``auto`` on a CPU, weights that are given keep float32, as published numbers.

    Args:
        request: What the user asked for.
        model: The sizes.
        trained: Whether the method is one that is pretrained.
    """
    if request.precision != "auto":
        return request.precision
    if request.checkpoint is not None or not trained or not isinstance(model, ModelConfig):
        return "fp32"
    from avbench.training.precision import bf16_instructions, on_cpu

    found = on_cpu(model.embed_dim)
    if found == "bf16":
        _say_once(
            f"precision: bf16, as this processor has {bf16_instructions()} and the model is {model.embed_dim} wide;"
            " --precision fp32 computes in float32"
        )
    return found


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

    Args:
        task: The task.
        config: The user's YAML file.
        sets: Single settings.

    Raises:
        InputError: An unknown key, a wrong value, or a setting of another section.
    """
    options: Settings = registry.find("task", task).config_class()
    layers = [read_sections(config)] if config is not None else []
    for text in sets:
        key, value = split_set(text)
        section, dot, field = key.partition(".")
        layers.append(nested(*((section, field) if dot else ("task", key)), value))
    for layer in layers:
        for name in layer:
            if name != "task":
                raise InputError(f"{name}: cannot change features that are given, valid: settings of section task.")
        options = change(options, layer.get("task", {}), "task")
    return options


def data_options(source: str, labels: str, sets: tuple[str, ...]) -> tuple[DataConfig, InputConfig]:
    """Returns the sections data and input alone, for commands that look at data without a method.

    Args:
        source: The data.
        labels: A CSV of labels.
        sets: Single settings.

    Raises:
        InputError: An unknown key, a wrong value, or a setting of another section.
    """
    sections: dict[str, Settings] = {"data": DataConfig(source=source, labels=labels), "input": InputConfig()}
    if source in EMBEDDED:
        preset = presets.load(SOUNDSHAPES)
        sections = apply(sections, {name: preset.get(name, {}) for name in sections}, "")
    for text in sets:
        key, value = split_set(text)
        section, _, field = key.partition(".")
        if section not in sections:
            raise InputError(f"--set {key}: valid: data.KEY=VALUE or input.KEY=VALUE.")
        sections = apply(sections, nested(section, field, value), "--set ")
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
