"""What every task is: from features (or, later, heatmaps) to metrics with intervals, chance and per-sample outputs.

A task file assigns ``CARD`` (literal arguments only: it is read without importing the file), ``CONFIG`` (its settings
class) and ``TASK`` (one object of its class). It imports no torch.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy.typing as npt

from avbench.errors import InputError
from avbench.features import Features, read_features
from avbench.settings import Settings, to_dict

if TYPE_CHECKING:
    from avbench.resolve import RunConfig
    from avbench.subject import Subject

C = TypeVar("C", bound=Settings)


@dataclass(frozen=True, kw_only=True)
class TaskCard:
    """What ``avbench list tasks`` says of a task."""

    summary: str
    needs: tuple[str, ...]  # of: features (a file of them suffices), vectors, tokens, weights, training clips
    modalities: tuple[str, ...] = ()  # those a method must take
    columns: tuple[str, ...] = ()  # last parts of metric keys that the printed table shows; none: all


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What a task found. Metrics are fractions or ranks, keyed alike in ``metrics``, ``chance`` and ``ci95``."""

    n: int  # samples evaluated
    ids_sha256: str  # hash of their sorted ids
    metrics: dict[str, float]
    chance: dict[str, float]
    ci95: dict[str, tuple[float, float]]  # low and high end
    per_sample: dict[str, npt.NDArray[Any]]  # ``id`` and one array an output, (n,) each, in the order of the features

    def to_dict(self) -> dict[str, Any]:
        """Returns all but the per-sample outputs as JSON values."""
        return {
            "n": self.n,
            "ids_sha256": self.ids_sha256,
            "metrics": dict(self.metrics),
            "chance": dict(self.chance),
            "ci95": {name: list(interval) for name, interval in self.ci95.items()},
        }


class Task(abc.ABC, Generic[C]):
    """Base of all tasks. ``version`` is raised whenever the same input would give other numbers."""

    name: ClassVar[str]
    version: ClassVar[int]
    config_type: type[C]

    def check(self, config: RunConfig) -> None:
        """Refuses what a run cannot do, before any work is begun; here nothing.

        Raises:
            InputError: The configuration cannot be used with this task.
        """
        return

    def run(self, subject: Subject, config: C) -> TaskResult:
        """Evaluates a model with weights; here its embeddings.

        Raises:
            InputError: The data or the options cannot be used.
            RunError: The work failed.
        """
        return self.evaluate(subject.embeddings(), config)

    def evaluate(self, features: Features, config: C) -> TaskResult:
        """Evaluates the embeddings of a set of clips, whoever made them.

        Raises:
            InputError: The features or the options cannot be used, or the task needs more than features.
        """
        raise InputError(f"task '{self.name}': cannot be done with features alone; give --checkpoint or avbench run.")

    def variants(self, config: C) -> tuple[Mapping[str, Mapping[str, Any]], ...]:
        """Returns the other settings, by section, that it asks :meth:`Subject.variant` for: here none."""
        return ()

    def files(self, config: C) -> dict[str, str]:
        """Returns the hashes of files that its options name, such as annotations, by option: here none."""
        return {}


def evaluate_features(path: Path, task: Task[C], config: C) -> dict[str, Any]:
    """Evaluates a features file, whoever made it.

    Args:
        path: The .npz; see :mod:`avbench.features`.
        task: The task.
        config: Its options.

    Returns:
        JSON values: task, n, ids_sha256, metrics, chance, ci95 and config; the config is what the file says of itself
        with the options used under ``task``.

    Raises:
        InputError: The file or the options cannot be used.
    """
    features = read_features(path)
    try:
        result = task.evaluate(features, config)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return described(task, result, config, features.config)


def described(task: Task[C], result: TaskResult, config: C, source: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a result as JSON values, with the options used and what the file evaluated says of itself."""
    options = {"name": task.name, "version": task.version, **to_dict(config)}
    return {"task": task.name, **result.to_dict(), "config": {**source, "task": options}}
