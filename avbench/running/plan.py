"""What one run consists of: stages, each with an id of its own, and which of them are already done.

A stage's id is the hash of everything that can change its output, and holds the ids it builds on. All tasks of a
checkpoint therefore share one pretraining and one extraction, and a change recomputes what depends on it, only.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from avbench import registry
from avbench.data.corpus.pair import Corpus, remembered
from avbench.errors import InputError
from avbench.files import sha256_file
from avbench.running.division import Division, divide, training_clips
from avbench.running.exposure import Exposure, seen
from avbench.running.request import RunConfig, fitted, vary
from avbench.settings import Settings, to_dict
from avbench.store.records import SCHEMA, content_id, run_folder, stage_folder

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.tasks.base import Annotated

# Raised by whoever changes what a stage computes; old results are then not taken for new ones.
PRETRAIN_SCHEMA = 2
EXTRACTION_SCHEMA = 2
STARTED = "started.json"  # what a training that has begun leaves, for ``avbench status``
TRAINING_CLIPS = "training clips"  # what a task's card lists among its needs where it trains on them


@dataclass(frozen=True, eq=False)
class Stage:
    """One step of a run."""

    name: str
    id: str
    folder: Path
    key: dict[str, Any]
    work: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stage) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def done(self) -> bool:
        """Whether its output is complete on disk."""
        return (self.folder / "done.json").exists() or (self.folder / "record.json").exists()


@dataclass(frozen=True)
class Plan:
    """The stages of a run and the clips they work on.

    Attributes:
        config: The run.
        division: Which clips train, and which are judged.
        exposures: What is known of the judged clips in the weights' past.
        weights: What identifies the weights.
        pretrain: None where nothing is trained.
        extractions: What the task asks for: ``vectors`` or ``tokens`` of the training or the evaluated clips.
        variants: The same run with other settings, as the task asks for.
        evaluation: The task.
    """

    config: RunConfig
    division: Division
    exposures: tuple[Exposure, ...]
    weights: dict[str, Any]
    pretrain: Stage | None
    extractions: tuple[Stage, ...]
    variants: tuple[Plan, ...]
    evaluation: Stage

    @property
    def train(self) -> Clips | None:
        """The clips of the training split; None where there are none."""
        return self.division.train

    @property
    def tune(self) -> Clips | None:
        """The clips of the tuning split, likewise."""
        return self.division.tune

    @property
    def evaluated(self) -> Clips:
        """The clips that are judged."""
        return self.division.evaluated

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages in the order in which they are computed."""
        own = (self.pretrain,) if self.pretrain is not None else ()
        others = (stage for variant in self.variants for stage in variant.stages[:-1])
        return (*own, *self.extractions, *others, self.evaluation)


def make_plan(config: RunConfig, clips: Clips | Corpus, results: Path, *, with_variants: bool = True) -> Plan:
    """Works out the stages of one run.

    Args:
        config: The run.
        clips: Everything its source has, or its sources.
        results: The results folder.
        with_variants: Plan the other pretrainings that the task asks for, too.

    Raises:
        InputError: A split that the run needs has no clips, or fewer than a batch; or the task would be judged on clips
            that it trains on.
    """
    entry = registry.find("task", config.task_name)
    task, needs = entry.load().TASK, entry.card["needs"]
    corpus, files, given = Corpus.of(clips), task.files(config.task), task.given_weights(config.task)
    trains = TRAINING_CLIPS in needs and not given
    annotated = remembered(
        corpus.judged,
        ("annotations", config.task_name, config.task, tuple(files.items())),
        lambda: task.annotated(config, corpus.judged.ids),
    )
    division = divide(config, corpus, annotated=annotated, trains=trains, warn=with_variants)
    train, evaluated = division.train, division.evaluated
    config = fitted(config, len(train) if train is not None else 0)
    pretrain = _pretrain(config, train, division.tune, results, annotated) if config.weights == "pretrained" else None
    if TRAINING_CLIPS in needs:
        if train is None:
            raise InputError(
                f"--data {config.data.source}: found no clips of split 'train', which task '{config.task_name}' trains"
                " on."
            )
        if corpus.paired:
            task.check_classes(train, evaluated, config.task)
    weights = _weights_key(config, pretrain)
    parts = [part for part in (train, evaluated) if part is not None and (part is evaluated or TRAINING_CLIPS in needs)]
    extractions = [
        extraction_stage(config, kind, part, weights, results)
        for kind in ("vectors", "tokens")
        if kind in needs
        for part in parts
    ]
    key = {
        "stage": "evaluation",
        "schema": SCHEMA,
        **_model_key(config, evaluation=True),
        "weights": weights,
        "clips": evaluated.sha256,
        "train": train.sha256 if train is not None and TRAINING_CLIPS in needs else None,
        "task": config.task_name,
        "task_version": task.version,
        **_sources("task_source", entry),
        "options": _identity(config.task),
        "files": files,
        "seed": config.seed,
    }
    run_id = content_id(key)
    return Plan(
        config=config,
        division=division,
        exposures=tuple(seen(config, division, given)),
        weights=weights,
        pretrain=pretrain,
        extractions=tuple(extractions),
        variants=tuple(
            make_plan(vary(config, sections), corpus, results, with_variants=False)
            for sections in (task.variants(config.task) if with_variants else ())
        ),
        evaluation=Stage("evaluate", run_id, run_folder(results, run_id), key, f"task {config.task_name}"),
    )


def plan_pretraining(config: RunConfig, clips: Clips | Corpus, results: Path) -> tuple[Stage, Clips, Clips | None]:
    """Works out the first half alone, which needs no clips to evaluate on."""
    train, tune = training_clips(config, Corpus.of(clips))
    stage = _pretrain(fitted(config, len(train) if train is not None else 0), train, tune, results)
    return stage, cast("Clips", train), tune if config.train.select == "best" else None


def _pretrain(
    config: RunConfig, train: Clips | None, tune: Clips | None, results: Path, annotated: Annotated | None = None
) -> Stage:
    count, batch = len(train) if train is not None else 0, config.train.batch_size
    kept = "" if annotated is None else f" without the {len(annotated.clips)} annotated ones, which are judged"
    if count < 2:
        raise InputError(
            f"--data {config.data.source}: found {count} {'clip' if count == 1 else 'clips'} to pretrain on (split"
            f" 'train'{kept}), valid: at least 2; add clips, or give --checkpoint FILE."
        )
    if train is None or count < batch:
        raise InputError(
            f"train.batch_size: found {batch}, valid: at most {count}, the clips of split 'train' in"
            f" {config.data.source}{kept}; --set train.batch_size=N, add clips, or give --checkpoint FILE."
        )
    tune = tune if config.train.select == "best" else None
    if config.train.select == "best" and (tune is None or len(tune) < 2):
        raise InputError("train.select: found best, valid: last, as the data has no clips of split 'tune'.")
    key: dict[str, Any] = {
        "stage": "pretrain",
        "schema": PRETRAIN_SCHEMA,
        **_model_key(config),
        "train": _identity(config.train),
        "init": _init_key(config.train.init),
        "clips": train.sha256,
        "tune": tune.sha256 if tune is not None else None,
    }
    steps = training_steps(config, len(train))
    work = f"{steps} steps of {batch} clips ({steps * batch / len(train):.1f} passes over {len(train)} clips)"
    return _stage("pretrain", key, results, work)


def _init_key(source: str) -> dict[str, Any] | None:
    if not source:
        return None
    from avbench.training.initialization import identity

    return identity(source)


def _weights_key(config: RunConfig, pretrain: Stage | None) -> dict[str, Any]:
    if pretrain is not None:
        return {"pretrain": pretrain.id}
    if config.checkpoint is not None:
        return {"checkpoint": sha256_file(config.checkpoint)}
    return {"untrained": config.seed}


def extraction_stage(config: RunConfig, kind: str, clips: Clips, weights: dict[str, Any], results: Path) -> Stage:
    """Returns the stage that computes ``vectors`` or ``tokens`` of some clips."""
    key = {
        "stage": kind,
        "schema": EXTRACTION_SCHEMA,
        **_model_key(config, evaluation=True),
        "weights": weights,
        "clips": clips.sha256,
    }
    return _stage(kind, key, results, f"{len(clips)} clips through the encoder")


def _stage(name: str, key: dict[str, Any], results: Path, work: str) -> Stage:
    stage_id = content_id(key)
    return Stage(name, stage_id, stage_folder(results, name, stage_id), key, work)


@functools.lru_cache(maxsize=256)
def _identity(settings: Settings) -> dict[str, Any]:
    """Returns the fields of an id; the same object for equal settings, so it is for reading only."""
    return to_dict(settings, identity_only=True)


def _model_key(config: RunConfig, *, evaluation: bool = False) -> dict[str, Any]:
    inputs = dict(_identity(config.input))
    if not evaluation:
        del inputs["eval_frame"]
    key = {
        "method": config.method_name,
        "options": _identity(config.method),
        "model": _identity(config.model),
        "input": inputs,
        "precision": config.precision,
        **_sources("source", registry.find("method", config.method_name)),
    }
    return key if evaluation else {**key, "seed": config.seed}


def _sources(name: str, entry: registry.Component) -> dict[str, Any]:
    """Returns what an id holds of code from outside the package: nothing of the package's own, which has versions."""
    found = entry.sources
    return {name: found} if found else {}


def training_steps(config: RunConfig, n_train: int) -> int:
    """Returns the number of optimiser steps; the last, smaller batch of an epoch is dropped (as the reference)."""
    return config.train.steps or config.train.epochs * (n_train // config.train.batch_size)


def clips_per_contrast(config: RunConfig) -> int | None:
    """Returns how many clips are each other's negatives, one apiece the match; None where nothing is contrasted.

    The paper contrasts within each of its four GPUs' shares of a batch: ``train.accumulate`` forward passes a step
    are the same, in however many processes.
    """
    card = registry.find("method", config.method_name).card
    if "contrast" not in card.get("objectives", ()) or getattr(config.method, "lambda_c", 1.0) == 0:
        return None
    return config.train.batch_size // config.train.accumulate
