"""Layers of settings: what a YAML file and ``--set`` say, by section, and laying one over another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avbench import registry
from avbench.config import DataConfig, InputConfig, ModelConfig, TrainConfig
from avbench.errors import InputError, did_you_mean
from avbench.recipes.presets import SECTIONS
from avbench.settings import Settings, change, shown
from avbench.yaml_text import NotYaml, parse_yaml, read_yaml


def apply(
    sections: Mapping[str, Settings], layer: Mapping[str, Any], where: str, *, lenient: tuple[str, ...] = ()
) -> dict[str, Settings]:
    """Returns the sections with one layer's values on top; in ``lenient`` ones unknown fields are left out.

    Args:
        sections: What is set so far.
        layer: What comes on top.
        where: Names the layer in errors.
        lenient: Sections whose unknown keys are left out.
    """
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


def read_layers(config: Path | None, sets: Sequence[str], *, method: str, task: str) -> list[dict[str, Any]]:
    """Returns what a user sets, each layer over the one before.

    Args:
        config: The file of ``--config``.
        sets: Each ``key=value`` of ``--set``; the section may be left out where only one has such a setting.
        method: The method named.
        task: The task named; empty: none.

    Raises:
        InputError: An unknown section or key, or text that is not ``key=value``.
    """
    layers = [] if config is None else [read_sections(config, _valid(method))]
    return layers + [_parse_set(text, method, task) for text in sets]


def _valid(method: str) -> tuple[str, ...]:
    """Returns the sections that there are: a method's, or an encoder's."""
    own = registry.find("method", method).section
    return tuple(own if section == "method" else section for section in SECTIONS)


def read_sections(path: Path, valid: tuple[str, ...] = SECTIONS) -> dict[str, Any]:
    """Returns the sections of a YAML file.

    Args:
        path: The file.
        valid: The sections it may have.

    Raises:
        InputError: It has something else.
    """
    layer = read_yaml(path)
    for key, values in layer.items():
        if key not in valid:
            raise InputError(f"{path}: unknown section '{key}'.{did_you_mean(key, valid)} Valid: {', '.join(valid)}.")
        if not isinstance(values, Mapping):
            raise InputError(f"{path}: {key}: found {shown(values)}, valid: a mapping of settings.")
    return layer


def _parse_set(text: str, method: str, task: str) -> dict[str, Any]:
    """Turns ``section.key=value`` (or ``key=value`` where only one section has it) into a layer."""
    key, value = split_set(text)
    section, dot, field = key.partition(".")
    valid = _valid(method)
    if not dot and key in valid:
        raise InputError(f"--set {key}: found a section, valid: a setting of it, as {key}.KEY=VALUE.")
    if not dot:
        owners = _owners(key, method, task)
        if len(owners) > 1:
            raise InputError(f"--set {key}: found in several sections, valid: {' or '.join(owners)}.")
        if not owners:
            near = did_you_mean(key, [each.partition(".")[2] for each in _all_keys(method, task)])
            raise InputError(f"unknown setting '{key}'.{near} See: avbench list settings.")
        section, field = owners[0].split(".")
    if section not in valid:
        raise InputError(
            f"--set {key}: unknown section '{section}'.{did_you_mean(section, valid)} Valid: {', '.join(valid)}."
        )
    return nested(section, field, value)


def nested(section: str, field: str, value: Any) -> dict[str, Any]:
    """Returns a layer of one setting, or of one within settings, such as task.finetune.epochs.

    Args:
        section: The section.
        field: The setting, with dots where it lies within another.
        value: Its value.
    """
    for name in reversed(field.split(".")):
        value = {name: value}
    return {section: value}


def split_set(text: str) -> tuple[str, Any]:
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


def task_class(task: str) -> type[Settings]:
    """Returns the class of a task's options; of no task, one without any."""
    return registry.find("task", task).config_class if task else Settings


def _all_keys(method: str, task: str) -> list[str]:
    entry = registry.find("method", method)
    classes = {
        "data": DataConfig,
        "input": InputConfig,
        "model": ModelConfig,
        "train": TrainConfig,
        entry.section: entry.config_class,
        "task": task_class(task),
    }
    return [f"{section}.{field.name}" for section, cls in classes.items() for field in dataclasses.fields(cls)]


def _owners(leaf: str, method: str, task: str) -> list[str]:
    return [key for key in _all_keys(method, task) if key.partition(".")[2] == leaf]
