"""Named, partial configurations: strict YAML files in this folder.

A preset has a ``summary`` and any of the sections data, input, model, method, train and task. Values in its
``method`` section apply where the chosen method has that field, so that one preset serves the whole family. Its section
``methods`` holds, by method name, sections for that method alone, which go on top; its section ``tasks``, by task
name, settings of that task.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from avbench.errors import InputError, did_you_mean, unknown
from avbench.yaml_text import read_yaml

SECTIONS = ("data", "input", "model", "method", "train", "task")
METHODS = "methods"  # sections for one method alone, by its name
TASKS = "tasks"  # settings for one task alone, by its name
FOLDER = Path(__file__).parent / "presets"


@functools.cache
def names() -> tuple[str, ...]:
    """Returns the names of all presets."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load(name: str) -> dict[str, Any]:
    """Returns a preset's sections and summary.

    Raises:
        InputError: No such preset, or a key that is not a section.
    """
    if name not in names():
        raise unknown("preset", name, names())
    preset = read_yaml(FOLDER / f"{name}.yaml")
    for key in preset:
        if key not in (*SECTIONS, METHODS, TASKS, "summary"):
            raise InputError(f"preset {name}: unknown section '{key}'.{did_you_mean(key, SECTIONS)}")
    for method, sections in preset.get(METHODS, {}).items():
        for key in sections:
            if key not in SECTIONS:
                raise InputError(f"preset {name}: unknown section '{key}' of {method}.{did_you_mean(key, SECTIONS)}")
    return preset


def layers(preset: dict[str, Any], method: str, task: str) -> tuple[dict[str, Any], ...]:
    """Returns a preset's sections for a method and a task, later over earlier.

    Args:
        preset: What :func:`load` returned.
        method: Whose own sections go on top.
        task: Whose settings do; "": no task's.
    """
    return preset, preset.get(METHODS, {}).get(method, {}), {"task": preset.get(TASKS, {}).get(task, {})}
