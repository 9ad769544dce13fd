"""What every task is: from features (or, later, heatmaps) to metrics with intervals, chance and per-sample outputs.

A task file assigns ``CARD`` (literal arguments only: it is read without importing the file), ``CONFIG`` (its settings
class) and ``TASK`` (one object of its class). It imports no torch.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import InitVar, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError, unknown
from avbench.metrics.evidence import Evidence
from avbench.settings import Settings
from avbench.store.features import Features

if TYPE_CHECKING:
    from avbench.config import FinetuneConfig, RunConfig
    from avbench.data.corpus.changed import Change
    from avbench.data.corpus.clips import Clips
    from avbench.tasks.annotated import Annotated
    from avbench.tasks.subject import Subject

C = TypeVar("C", bound=Settings)
Outputs = Mapping[str, npt.NDArray[Any]]  # ``id`` and one array a per-sample output, (n, ...)
Embeddings = Callable[[Sequence[str]], Features]  # ids -> those of these clips, in this order

# What a task may list among its needs. Files suffice for a task of ``features``, ``scores`` or ``heatmaps``; all else a
# run computes before the task begins: vectors and tokens of the clips that are judged or train, models, a pretraining.
WEIGHTS = "weights"  # the method itself
TRAINING_LOG = "training log"
JOINT = "joint stream"  # among the vectors: all have it, unless every task of a command is spared it
TRAINING_CLIPS = "training clips"  # it trains on them, or on what was made of them
FINETUNED = "finetuned"
EXTRACTED = ("vectors", "training vectors", "changed vectors", "tokens", "training tokens", "changed tokens")
MODELS = (WEIGHTS, TRAINING_LOG, TRAINING_CLIPS, FINETUNED)
NEEDS = ("features", "heatmaps", "scores", "annotations", *EXTRACTED, *MODELS)


@dataclass(frozen=True, kw_only=True)
class TaskCard:
    """What ``avbench list tasks`` says of a task, and what it asks of a method: it names none."""

    summary: str
    needs: tuple[str, ...]  # of NEEDS: all that it may ask a subject for
    modalities: tuple[str, ...] = ()  # those a method must take
    abilities: tuple[str, ...] = ()  # those a method must have; see avbench.methods.base.Card
    title: str = ""  # its proper name, as in kNN; none: ``name`` in words
    columns: tuple[str, ...] = ()  # last parts of metric keys that the printed table shows; none: all
    units: InitVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})  # of its own metrics: avbench.metrics.units

    def __post_init__(self, units: Mapping[str, Mapping[str, Any]]) -> None:
        """Checks what it needs.

        Raises:
            InputError: An unknown need.
        """
        for need in self.needs:
            if need not in NEEDS:
                raise unknown("need of a task", need, NEEDS)


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What a task found: metrics, shares as fractions, keyed alike in ``metrics``, ``chance`` and ``ci95``."""

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
    resampled: ClassVar[str] = "clips are resampled"  # what a bootstrap of its metrics does
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

    def evaluate_scores(self, scores: Mapping[str, npt.NDArray[Any]], clips: Clips, config: C) -> TaskResult:
        """Evaluates class scores of n labelled clips, by stream (n, C), whoever made them.

        Args:
            scores: Larger is likelier.
            clips: Those that are scored, with C classes.
            config: Its options.

        Raises:
            InputError: The scores cannot be used, or the task needs more than them.
        """
        raise InputError(f"task '{self.name}': cannot be done with scores alone; give --checkpoint or avbench run.")

    def variants(self, config: C) -> tuple[Mapping[str, Mapping[str, Any]], ...]:
        """Returns the other settings, by section, that it asks :meth:`Subject.variant` for: here none."""
        return ()

    def spared(self, config: C) -> frozenset[str]:
        """Returns those of its card's needs, or ``JOINT``, that it does without under some options: here none."""
        return frozenset()

    def changes(self, config: RunConfig) -> tuple[Change, ...]:
        """Returns the changes of the judged clips that it asks :meth:`Subject.on` for: here none."""
        return ()

    def framed(self, clips: Clips, config: RunConfig) -> Clips:
        """Returns clips as the encoder is to see them, with a ``sha256`` of its own if that differs: here as they are.

        Args:
            clips: The clips of a split.
            config: The run.
        """
        return clips

    def finetuning(self, config: C) -> FinetuneConfig:
        """Returns the recipe of the fine-tuned models that it needs.

        Raises:
            InputError: It has none.
        """
        raise InputError(f"task '{self.name}': needs fine-tuned models, valid: with their recipe; define finetuning.")

    def check_clips(self, train: Clips | None, evaluated: Clips, config: C) -> None:
        """Refuses clips that it cannot use, such as those without labels, before anything is computed; here nothing.

        Args:
            train: The clips of the training split.
            evaluated: Those to judge.
            config: Its options.

        Raises:
            InputError: They cannot be used.
        """
        return

    def files(self, config: C) -> dict[str, str]:
        """Returns the hashes of files that its options name, such as annotations, by option: here none."""
        return {}

    def annotated(self, config: RunConfig, ids: Collection[str]) -> Annotated | None:
        """Returns which of some clips it can judge at all, where annotations decide that; here any.

        Such clips are held out from all training where the data names no split.

        Args:
            config: The run.
            ids: Of the clips there are.

        Raises:
            InputError: The annotations cannot be read.
        """
        return None

    def given_weights(self, config: C) -> str:
        """Returns the file of weights that its options give in place of its own training: here none."""
        return ""

    def evidence(self, outputs: Outputs, config: C) -> Evidence:
        """Returns what the metrics are made of, from the per-sample outputs of a run: here no metrics.

        Args:
            outputs: Per-sample outputs, of all samples or as :meth:`select` gives them.
            config: The options of the run.
        """
        return Evidence(outputs["id"])

    def probabilities(self, outputs: Outputs, stream: str) -> npt.NDArray[Any]:
        """Returns the class probabilities of a stream, (n, C), from the per-sample outputs of a run: here none.

        Args:
            outputs: Per-sample outputs.
            stream: Such as ``audio``.

        Raises:
            InputError: The run keeps none.
        """
        raise InputError(f"task '{self.name}': found no class probabilities of '{stream}', valid: a classifier's.")

    def select(
        self, outputs: Outputs, rows: npt.NDArray[np.integer[Any]], config: C, embeddings: Embeddings
    ) -> dict[str, npt.NDArray[Any]]:
        """Returns the per-sample outputs as a run on some of the samples would have them: here those rows.

        Args:
            outputs: Per-sample outputs of all samples.
            rows: (k,) which samples, in which order, each once.
            config: The options of the run.
            embeddings: Looks up the embeddings that were compared, where outputs depend on which other clips there are.

        Raises:
            InputError: The embeddings are needed and gone.
        """
        return {name: values[rows] for name, values in outputs.items()}

    def recompute(
        self, per_sample: Outputs, keep_ids: Sequence[str], config: C, embeddings: Embeddings | None = None
    ) -> dict[str, float]:
        """Returns the metrics of some of the samples from what a run keeps of each; of all samples, those of the run.

        What does not come from samples, such as a training loss, is left out.

        Args:
            per_sample: The per-sample outputs.
            keep_ids: Which samples.
            config: The options of the run.
            embeddings: See :meth:`select`.

        Raises:
            InputError: Ids that the outputs lack, or none; or embeddings are needed and gone.
        """
        rows = positions(per_sample["id"], keep_ids)
        chosen = self.select(per_sample, rows, config, embeddings or no_embeddings)
        return dict(self.evidence(chosen, config).values)


def positions(ids: npt.NDArray[Any], wanted: Sequence[str]) -> npt.NDArray[np.int64]:
    """Returns the rows of some ids, (k,).

    Raises:
        InputError: No ids, an id that is not there, or one that is there twice.
    """
    place = {name: row for row, name in enumerate(ids.tolist())}
    if len(place) < len(ids):
        raise InputError(f"per-sample outputs: found {len(ids)} ids, {len(place)} distinct, valid: each sample once.")
    missing = [name for name in wanted if name not in place]
    if missing or not len(wanted):
        found = f"{len(missing)} ids without outputs, such as {missing[0]}" if missing else "no ids"
        raise InputError(f"per-sample outputs: found {found}, valid: one or more of the {len(ids)} samples.")
    return np.array([place[name] for name in wanted], np.int64)


def no_embeddings(ids: Sequence[str]) -> Features:
    """Stands for embeddings where there are none: raises InputError."""
    raise InputError(f"found no embeddings to rank {len(ids)} clips among each other by, valid: those of the run.")
