"""The stages of a run and their ids.

A stage's id is the hash of all that can change its output, and holds the ids it builds on: all tasks of a checkpoint
share one pretraining, those of a command one extraction, and a change recomputes what depends on it, only.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from avbench import registry
from avbench.config import FinetuneConfig, RunConfig
from avbench.files import sha256_text
from avbench.running import encoded
from avbench.settings import Settings, to_dict
from avbench.store import seal
from avbench.store.archive import holding
from avbench.store.extracted import Kind
from avbench.store.records import SCHEMA, content_id, run_folder, stage_folder

if TYPE_CHECKING:
    from avbench.data.corpus.changed import Change
    from avbench.data.corpus.clips import Clips
    from avbench.tasks.subject import Part

# Raised by whoever changes what a stage computes; old results are then not taken for new ones.
PRETRAIN_SCHEMA, EXTRACTION_SCHEMA, FINETUNE_SCHEMA = 2, 2, 1
_JUDGING = ("modes", "frames", "missing", "absent", "resamples", "bootstrap_seed")  # of fine-tuned weights, not making


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """One step of a run.

    Attributes:
        name: What it does: ``pretrain``, ``vectors``, ``tokens``, ``finetune`` or ``evaluate``.
        id: Of everything that can change its output.
        folder: Where that goes.
        key: What the id is the hash of.
        work: How much it is, in words.
        config: The run.
        after: The stages whose output it reads.
    """

    name: str
    id: str
    folder: Path
    key: dict[str, Any]
    work: str
    config: RunConfig
    after: tuple[Stage, ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stage) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def done(self) -> bool:
        """Whether its output is complete on disk."""
        judges = self.name == "evaluate"
        # A Path each costs a second of planning thousands of runs.
        if os.path.exists(f"{self.folder}/{'record.json' if judges else 'done.json'}"):  # noqa: PTH110
            return True
        return judges and holding(self.folder.parent.parent, self.id) is not None


@dataclass(frozen=True, eq=False, kw_only=True)
class Pretraining(Stage):
    """Trains a method; ``tune`` are the clips that choose among its weights, if any do."""

    train: Clips
    tune: Clips | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Extraction(Stage):
    """Computes vectors or tokens of clips, as a change leaves them if any; the task reads those of ``read``."""

    kind: Kind
    part: Part
    clips: Clips
    read: Clips
    change: Change | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Finetuning(Stage):
    """Trains a method's encoder and a new head on the labels of the training clips, in one mode."""

    mode: str
    options: FinetuneConfig
    train: Clips
    evaluated: Clips


def pretraining(config: RunConfig, train: Clips, tune: Clips | None, results: Path) -> Pretraining:
    """Returns the stage that trains a method.

    Args:
        config: The run, its batch fitted to the clips.
        train: The clips to train on.
        tune: Those that choose among its weights, where the run asks for it.
        results: The results folder.
    """
    key: dict[str, Any] = {
        "stage": "pretrain",
        "schema": PRETRAIN_SCHEMA,
        **model_key(config),
        "train": identified(config.train),
        "init": _init_key(config.train.init),
        "clips": train.sha256,
        "tune": tune.sha256 if tune is not None else None,
    }
    steps, batch = training_steps(config, len(train)), config.train.batch_size
    work = f"{steps} steps of {batch} clips ({steps * batch / len(train):.1f} passes over {len(train)} clips)"
    stage_id, folder = _place("pretrain", key, results)
    return Pretraining(
        name="pretrain", id=stage_id, folder=folder, key=key, work=work, config=config, train=train, tune=tune
    )


def weights_key(config: RunConfig, pretrain: Pretraining | None) -> dict[str, Any]:
    """Returns what identifies the weights of a run."""
    if pretrain is not None:
        return {"pretrain": pretrain.id}
    if config.checkpoint is not None:
        return {"checkpoint": seal.sha256(config.checkpoint)}
    return {"untrained": encoded.drawn(config)}


def extraction(
    config: RunConfig, kind: Kind, part: Part, clips: Clips, pretrain: Pretraining | None, results: Path
) -> Extraction:
    """Returns the stage that computes vectors or tokens.

    Args:
        config: The run.
        kind: What to compute.
        part: The split the clips are of.
        clips: As the encoder is to see them.
        pretrain: Where the weights come from, if from a pretraining.
        results: The results folder.
    """
    streams, _, name = kind.rpartition(" ")
    key = {
        "stage": name,
        "schema": EXTRACTION_SCHEMA,
        **model_key(config, evaluation=True),
        **({"streams": streams} if streams else {}),
        "weights": weights_key(config, pretrain),
        "clips": clips.sha256,
    }
    stage_id, folder = _place(name, key, results)
    return Extraction(
        name=name,
        id=stage_id,
        folder=folder,
        key=key,
        work=f"{len(clips)} clips through the encoder",
        config=config,
        after=() if pretrain is None else (pretrain,),
        kind=kind,
        part=part,
        clips=clips,
        read=clips,
    )


def finetuning(
    config: RunConfig,
    options: FinetuneConfig,
    mode: str,
    clips: tuple[Clips, Clips],
    pretrain: Pretraining | None,
    results: Path,
) -> Finetuning:
    """Returns the stage that fine-tunes one model; what only concerns how it is judged is no part of its id.

    Args:
        config: The run.
        options: The recipe.
        mode: Which modalities the model takes.
        clips: The training clips, and those to judge, whose class names count.
        pretrain: Where the weights come from, if from a pretraining.
        results: The results folder.
    """
    train, evaluated = clips
    recipe = {name: value for name, value in identified(options).items() if name not in _JUDGING}
    key = {
        "stage": "finetune",
        "schema": FINETUNE_SCHEMA,
        **model_key(config),
        "weights": weights_key(config, pretrain),
        "clips": train.sha256,
        "classes": sha256_text("\n".join(dict.fromkeys((*train.class_names, *evaluated.class_names)))),
        "mode": mode,
        "recipe": recipe,
    }
    stage_id, folder = _place("finetune", key, results)
    steps = options.steps or options.epochs * (len(train) // options.batch_size)
    return Finetuning(
        name="finetune",
        id=stage_id,
        folder=folder,
        key=key,
        work=f"{mode}, {steps} steps of {options.batch_size} clips",
        config=config,
        after=() if pretrain is None else (pretrain,),
        mode=mode,
        options=options,
        train=train,
        evaluated=evaluated,
    )


def evaluation(
    config: RunConfig,
    evaluated: Clips,
    train: Clips | None,
    pretrain: Pretraining | None,
    files: Mapping[str, str],
    after: tuple[Stage, ...],
    results: Path,
) -> Stage:
    """Returns the stage that judges: the run itself, whose id it gives.

    Args:
        config: The run.
        evaluated: The clips that are judged.
        train: Those that the task trains on; None: on none.
        pretrain: Where the weights come from, if from a pretraining.
        files: Hashes of the files that the task's options name.
        after: The stages whose output the task reads.
        results: The results folder.
    """
    entry = registry.find("task", config.task_name)
    key = {
        "stage": "evaluation",
        "schema": SCHEMA,
        **model_key(config, evaluation=True),
        "weights": weights_key(config, pretrain),
        "clips": evaluated.sha256,
        "train": train.sha256 if train is not None else None,
        "task": config.task_name,
        "task_version": entry.load().TASK.version,
        **sources("task_source", entry),
        "task_options": identified(config.task),
        "files": dict(files),
        "seed": config.seed,
    }
    run_id, work = content_id(key), f"task {config.task_name}"
    folder = run_folder(results, run_id)
    return Stage(name="evaluate", id=run_id, folder=folder, key=key, work=work, config=config, after=after)


def _place(name: str, key: dict[str, Any], results: Path) -> tuple[str, Path]:
    return (stage_id := content_id(key)), stage_folder(results, name, stage_id)


def _init_key(source: str) -> dict[str, Any] | None:
    if not source:
        return None
    from avbench.training.initialization import identity

    return cast("dict[str, Any]", identity(source))


@functools.lru_cache(maxsize=256)
def identified(settings: Settings) -> dict[str, Any]:
    """Returns the fields of an id; the same object for equal settings, so it is for reading only."""
    return to_dict(settings, identity_only=True)


def model_key(config: RunConfig, *, evaluation: bool = False) -> dict[str, Any]:
    """Returns what an id holds of a model: of what judges, or of what trains, which has the seed and no frame."""
    own = encoded.key(config, identified(config.method))
    key = own or {
        "method": config.method_name,
        "options": identified(config.method),
        "model": identified(config.model),
        "input": {name: v for name, v in identified(config.input).items() if evaluation or name != "eval_frame"},
        "precision": config.precision,
        **sources("source", registry.find("method", config.method_name)),
    }
    return key if evaluation else {**key, "seed": config.seed}


def sources(name: str, entry: registry.Component) -> dict[str, Any]:
    """Returns what an id holds of code from outside the package: nothing of the package's own, which has versions."""
    return {name: entry.sources} if entry.sources else {}


def training_steps(config: RunConfig, n_train: int) -> int:
    """Returns the number of optimiser steps; the last, smaller batch of an epoch is dropped (as the reference)."""
    return config.train.steps or config.train.epochs * (n_train // config.train.batch_size)
