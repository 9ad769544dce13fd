"""A task's numbers of a features file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import InputError
from avbench.settings import to_dict
from avbench.store.features import Features, read_features
from avbench.tasks.base import C, Task, TaskResult

if TYPE_CHECKING:
    pass


def evaluate_features(path: Path, task: Task[C], config: C) -> dict[str, Any]:
    """Evaluates a features file, whoever made it.

    Args:
        path: The .npz; see :mod:`avbench.store.features`.
        task: The task.
        config: Its options.

    Returns:
        JSON values: task, n, ids_sha256, metrics, chance, ci95 and config; the config is what the file says of itself
        with the options used under ``task``.

    Raises:
        InputError: The file or the options cannot be used.
    """
    result, features = judge_features(path, task, config)
    return described(task, result, config, features.config)


def judge_features(path: Path, task: Task[C], config: C) -> tuple[TaskResult, Features]:
    """Returns what a task finds in a features file, and what was in it.

    Args:
        path: The .npz; see :mod:`avbench.store.features`.
        task: The task.
        config: Its options.

    Raises:
        InputError: The file or the options cannot be used.
    """
    features = read_features(path)
    try:
        return task.evaluate(features, config), features
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def described(task: Task[C], result: TaskResult, config: C, source: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a result as JSON values, with the options used and what the file evaluated says of itself.

    Args:
        task: The task.
        result: What it found.
        config: Its options.
        source: What the file says of itself.
    """
    options = {"name": task.name, "version": task.version, **to_dict(config)}
    return {"task": task.name, **result.to_dict(), "config": {**source, "task": options}}
