"""What one run consists of: all its stages in the order in which they are computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench import registry
from avbench.config import RunConfig
from avbench.data.corpus.changed import changed
from avbench.data.corpus.folds import has_folds
from avbench.data.corpus.pair import Corpus, remembered
from avbench.errors import InputError
from avbench.running import identity, modalities
from avbench.running.division import Division, divide, labelled, training_clips
from avbench.running.exposure import Exposure, seen
from avbench.running.identity import Extraction, Finetuning, Pretraining, Stage
from avbench.running.request import fitted, vary
from avbench.store.extracted import Kind
from avbench.tasks.base import FINETUNED, JOINT, TRAINING_CLIPS, TRAINING_LOG, WEIGHTS

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.tasks.annotated import Annotated
    from avbench.tasks.base import Task
    from avbench.tasks.subject import Part

EXTRACTIONS: dict[str, tuple[Kind, Part, bool]] = {  # by what a task's card needs; last: of changed clips
    "training vectors": ("vectors", "train", False),
    "vectors": ("vectors", "evaluated", False),
    "changed vectors": ("vectors", "evaluated", True),
    "training tokens": ("tokens", "train", False),
    "tokens": ("tokens", "evaluated", False),
    "changed tokens": ("tokens", "evaluated", True),
}


@dataclass(frozen=True)
class Plan:
    """The stages of a run and the clips they work on.

    Attributes:
        config: The run.
        division: Which clips train, and which are judged.
        exposures: What is known of the judged clips in the weights' past.
        needs: What is ready for the task when it begins.
        pretrain: None where nothing is trained.
        extractions: What the task reads of the training or the evaluated clips.
        finetunings: The fine-tuned models that the task judges.
        variants: The same run with other settings, as the task asks for.
        evaluation: The task.
    """

    config: RunConfig
    division: Division
    exposures: tuple[Exposure, ...]
    needs: frozenset[str]
    pretrain: Pretraining | None
    extractions: tuple[Extraction, ...]
    finetunings: tuple[Finetuning, ...]
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
        """All stages in the order in which they are computed, each once; the last is the evaluation."""
        return tuple(dict.fromkeys(_before(self.evaluation)))


def _before(stage: Stage) -> Iterator[Stage]:
    """Yields a stage behind all those whose output it reads."""
    for each in stage.after:
        yield from _before(each)
    yield stage


def make_plan(
    config: RunConfig,
    clips: Clips | Corpus,
    results: Path,
    *,
    with_variants: bool = True,
    judges: bool = True,
    joint: bool = True,
) -> Plan:
    """Works out the stages of one run.

    Args:
        config: The run.
        clips: Everything its source has, or its sources.
        results: The results folder.
        with_variants: Plan the other pretrainings that the task asks for, too.
        judges: Whether the task judges the clips; what only embeds them needs none of its labels.
        joint: Whether this task, or another of the same command, reads vectors of the joint stream.

    Raises:
        InputError: A split that the run needs has no clips, or fewer than a batch; or the task would be judged on clips
            that it trains on.
    """
    entry = registry.find("task", config.task_name)
    task = entry.load().TASK
    needs = frozenset(entry.card["needs"]) - task.spared(config.task)
    corpus, files, given = Corpus.of(clips), task.files(config.task), task.given_weights(config.task)
    modalities.check(config, corpus)
    annotated = remembered(
        corpus.judged,
        ("annotations", config.task_name, config.task, tuple(files.items())),
        lambda: task.annotated(config, corpus.judged.ids),
    )
    trains = TRAINING_CLIPS in needs and not given
    division = divide(config, corpus, annotated=annotated, trains=trains, warn=with_variants)
    train = division.train
    config = fitted(config, len(train) if train is not None else 0)
    pretrain = _pretrain(config, train, division.tune, results, annotated) if config.weights == "pretrained" else None
    # Of what pretraining has seen nothing changes, whatever part of it a task may train on.
    supervised = labelled(config, division) if trains else division
    if config.data.corruption:
        from avbench.data.corpus.corrupted import damaged

        supervised = dataclasses.replace(supervised, evaluated=damaged(division.evaluated, config.data.corruption))
    train, evaluated = supervised.train, supervised.evaluated
    if TRAINING_CLIPS in needs and train is None:
        raise InputError(
            f"--data {config.data.source}: found no clips of split 'train', which task '{config.task_name}' trains on."
        )
    if judges:
        _check_clips(config, task, supervised)
    extractions = _extractions(config, task, needs, corpus, supervised, pretrain, results, joint=joint)
    finetunings = _finetunings(config, task, supervised, pretrain, results) if FINETUNED in needs else ()
    variants = tuple(
        make_plan(vary(config, sections), corpus, results, with_variants=False, joint=joint)
        for sections in (task.variants(config.task) if with_variants else ())
    )
    own = (pretrain,) if pretrain is not None and needs & {WEIGHTS, TRAINING_LOG} else ()
    return Plan(
        config=config,
        division=supervised,
        exposures=tuple(seen(config, division, given)),
        needs=needs,
        pretrain=pretrain,
        extractions=extractions,
        finetunings=finetunings,
        variants=variants,
        evaluation=identity.evaluation(
            config,
            evaluated,
            train if TRAINING_CLIPS in needs else None,
            pretrain,
            files,
            (*own, *extractions, *finetunings, *(stage for each in variants for stage in each.evaluation.after)),
            results,
        ),
    )


def _check_clips(config: RunConfig, task: Task[Any], division: Division) -> None:
    """Refuses what a task cannot do with the clips, or what nobody can do to them."""
    train, judged = division.train, division.evaluated

    def check() -> None:
        task.check_clips(train, judged, config.task)
        for change in task.changes(config):
            change.check(judged)

    of_train = None if train is None else train.sha256
    remembered(judged, ("checked", config.task_name, config.task, config.input, of_train), check)


def plan_pretraining(config: RunConfig, clips: Clips | Corpus, results: Path) -> Pretraining:
    """Works out the first half alone, which needs no clips to evaluate on.

    Args:
        config: The run.
        clips: Its clips.
        results: The results folder.
    """
    modalities.check(config, Corpus.of(clips))
    train, tune = training_clips(config, Corpus.of(clips))
    return _pretrain(fitted(config, len(train) if train is not None else 0), train, tune, results)


def _pretrain(
    config: RunConfig, train: Clips | None, tune: Clips | None, results: Path, annotated: Annotated | None = None
) -> Pretraining:
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
    return identity.pretraining(config, train, tune, results)


def _extractions(
    config: RunConfig,
    task: Task[Any],
    needs: frozenset[str],
    corpus: Corpus,
    division: Division,
    pretrain: Pretraining | None,
    results: Path,
    *,
    joint: bool,
) -> tuple[Extraction, ...]:
    found = []
    for need, (kind, part, other) in EXTRACTIONS.items():
        clips, source = (division.train, corpus.train) if part == "train" else (division.evaluated, corpus.judged)
        # What is made of a clip depends on no fold: all clips once, of which each fold reads its own.
        damages = part == "evaluated" and config.data.corruption  # training clips stay clean
        whole = has_folds(source) and not (other or damages or config.data.subset)
        if need in needs:
            if clips is None:
                raise InputError(f"--data {config.data.source}: found no clips of split 'train'.")
            for change in task.changes(config) if other else (None,):
                seen = task.framed(clips if change is None else changed(clips, change), config)
                computed = task.framed(source, config) if whole else seen
                stage = identity.extraction(config, kind, part, computed, pretrain, results)
                if kind == "vectors" and not joint and not stage.done and _has_joint(config, computed):
                    stage = identity.extraction(config, "single vectors", part, computed, pretrain, results)
                told = stage.work if change is None else f"{stage.work}, {change}"
                found.append(dataclasses.replace(stage, read=seen, change=change, work=told))
    return tuple(found)


def _has_joint(config: RunConfig, clips: Clips) -> bool:
    """Returns whether vectors of a joint stream are made of clips, by a method of the package.

    Which vectors another's code gives is known when it is called: they are all kept.
    """
    entry = registry.find("method", config.method_name)
    return not entry.encoder and not entry.sources and len(modalities.shared(config, clips)) > 1


def reads_joint(config: RunConfig) -> bool:
    """Returns whether the task of a run reads vectors of the joint stream."""
    task = registry.find("task", config.task_name)
    reads = any(need.endswith("vectors") for need in task.card["needs"])
    return reads and JOINT not in task.load().TASK.spared(config.task)


def _finetunings(
    config: RunConfig, task: Task[Any], division: Division, pretrain: Pretraining | None, results: Path
) -> tuple[Finetuning, ...]:
    options = task.finetuning(config.task)
    if division.train is None:
        raise InputError(f"--data {config.data.source}: found no clips of split 'train' to fine-tune on.")
    if len(division.train) < options.batch_size:
        raise InputError(
            f"task.batch_size: found {options.batch_size}, valid: at most {len(division.train)}, the clips of split"
            f" 'train' in {config.data.source} to fine-tune on; --set task.batch_size=N, or add clips."
        )
    clips = division.train, division.evaluated
    modes = options.modes_for(modalities.shared(config, *clips), config.method_name)
    return tuple(identity.finetuning(config, options, mode, clips, pretrain, results) for mode in modes)


def clips_per_contrast(config: RunConfig) -> int | None:
    """Returns how many clips are each other's negatives, one apiece the match; None where nothing is contrasted.

    The paper contrasts within each of its four GPUs' shares of a batch: ``train.accumulate`` forward passes a step
    are the same, in however many processes.
    """
    card = registry.find("method", config.method_name).card
    if "contrast" not in card.get("objectives", ()) or getattr(config.method, "lambda_c", 1.0) == 0:
        return None
    return config.train.batch_size // config.train.accumulate
