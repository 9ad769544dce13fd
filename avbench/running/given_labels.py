"""Anybody's vectors or scores of labelled clips, handed to tasks as a method's would be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from avbench import registry
from avbench.data.corpus.label_list import COLUMNS, LabelledIds
from avbench.errors import InputError
from avbench.settings import Settings
from avbench.store.vectors_file import SCORES, STREAMS, Vectors, read_vectors
from avbench.tasks.base import TRAINING_CLIPS
from avbench.tasks.subject import Part, Subject

if TYPE_CHECKING:
    from avbench.running.given import Judged
    from avbench.store.extracted import Pooled
    from avbench.store.features import Features

_IN_FILES = {"features", "vectors", "training vectors", TRAINING_CLIPS}  # needs that a file and labels meet


@dataclass(frozen=True)
class GivenConfig:
    """What tasks read of a run's configuration."""

    method_name: str
    task_name: str
    seed: int = 0


class GivenSubject:
    """The clips of a file, divided by the splits of their labels; see :class:`~avbench.tasks.subject.Subject`.

    Args:
        vectors: The file.
        clips: Its clips, in its order.
        task: The task.
        name: What made the file, for errors.
    """

    device, progress, tune = "cpu", False, None
    folder = Path()

    def __init__(self, vectors: Vectors, clips: LabelledIds, task: str, name: str) -> None:
        self._vectors = vectors
        splits = np.array(clips.splits)
        test = splits == "test" if (splits == "test").any() else splits == ""
        self._rows = {"train": np.flatnonzero(splits == "train"), "evaluated": np.flatnonzero(test)}
        if not test.any():
            raise InputError(f"--labels {clips.root}: found no clip to judge, valid: split test, or none, for some.")
        self.train, self.evaluated = (clips.select(rows) for rows in self._rows.values())
        seed = vectors.config.get("seed")
        self.config = GivenConfig(name, task, seed if type(seed) is int and seed >= 0 else 0)
        self.modalities = tuple(name for name in STREAMS[:2] if name in vectors.streams)

    def embeddings(self) -> Features:
        """Returns the embeddings of the judged clips."""
        return self._vectors.embeddings(self._rows["evaluated"])

    def pooled(self, part: Part) -> Pooled:
        """Returns one vector a stream for each clip of a split."""
        return self._vectors.pooled(self._rows[part])

    def scores(self) -> dict[str, npt.NDArray[Any]]:
        """Returns the class scores of the judged clips by stream, (n, C)."""
        return {stream: values[self._rows["evaluated"]] for stream, values in self._vectors.scores.items()}


def judge_labelled(path: Path, labels: Path, task_name: str, options: Settings) -> Judged:
    """Returns what a task finds in a file of vectors or scores, and the pairs in it where there are such.

    Args:
        path: The .npz; see :mod:`avbench.store.vectors_file`.
        labels: The CSV of labels and splits.
        task_name: The task: one of vectors and labels, or one that judges scores.
        options: Its options.

    Raises:
        InputError: The files cannot be used, or not for this task.
    """
    entry = registry.find("task", task_name)
    task = entry.load().TASK
    if not takes_labels(entry):
        valid = ", ".join(name for name, each in registry.entries("task").items() if takes_labels(each))
        raise InputError(f"--labels: not used by task '{task_name}', valid: {valid}.")
    needs, scored = set(entry.card["needs"]), SCORES in entry.card["needs"]
    vectors = read_vectors(path)
    if not (vectors.scores if scored else vectors.streams):
        wanted = f"{SCORES} (n, C)" if scored else f"any of {', '.join(STREAMS)}"
        raise InputError(f"{path}: found none of what task '{task_name}' judges, valid: {wanted}.")
    clips = LabelledIds.read(labels, vectors.ids, vectors.classes if scored else None)
    subject = GivenSubject(vectors, clips, task_name, path.stem)
    if scored:
        return task.evaluate_scores(subject.scores(), subject.evaluated, options), None
    if TRAINING_CLIPS in needs and not len(subject.train):
        raise InputError(
            f"--labels {labels}: found no clip of split train, which task '{task_name}' learns from, valid:"
            f" {COLUMNS} with train and test."
        )
    task.check_clips(subject.train if TRAINING_CLIPS in needs else None, subject.evaluated, options)
    result = task.run(cast(Subject, subject), options)
    try:
        return result, vectors.embeddings()
    except InputError:  # no pairs, or of unlike widths: nothing to rank again
        return result, None


def takes_labels(task: registry.Component) -> bool:
    """Returns whether a task judges vectors or scores of labelled clips."""
    needs = set(task.card["needs"])
    return needs <= _IN_FILES or SCORES in needs
