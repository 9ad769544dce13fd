"""What one run consists of: stages, each with an id of its own, and which of them are already done.

A stage's id is the hash of everything that can change its output, and holds the ids it builds on. All tasks of a
checkpoint therefore share one pretraining and one extraction, and a change recomputes what depends on it, only.
"""

from __future__ import annotations

import functools
import logging
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avbench import registry, store
from avbench.errors import InputError
from avbench.files import sha256_file
from avbench.resolve import RunConfig, vary
from avbench.rng import stream_seed
from avbench.settings import Settings, to_dict

if TYPE_CHECKING:
    import numpy.typing as npt

    from avbench.data.clips import Clips

log = logging.getLogger("avbench")
# Raised by whoever changes what a stage computes; old results are then not taken for new ones.
PRETRAIN_SCHEMA = 2
EXTRACTION_SCHEMA = 2
# The splits of clips that are open: thousands of runs share them, and hashing their rows for each would take longer
# than all else.
_PARTS: weakref.WeakKeyDictionary[Clips, dict[tuple[float, str], Clips | None]] = weakref.WeakKeyDictionary()
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
        clips: Everything the source has.
        train: The clips of the training split; None where there are none.
        tune: The tuning split, likewise.
        evaluated: The clips that are judged, of split ``split``.
        weights: What identifies the weights.
        pretrain: None where nothing is trained.
        extractions: What the task asks for: ``vectors`` or ``tokens`` of the training or the evaluated clips.
        variants: The same run with other settings, as the task asks for.
        evaluation: The task.
    """

    config: RunConfig
    clips: Clips
    train: Clips | None
    tune: Clips | None
    evaluated: Clips
    split: str
    weights: dict[str, Any]
    pretrain: Stage | None
    extractions: tuple[Stage, ...]
    variants: tuple[Plan, ...]
    evaluation: Stage

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages in the order in which they are computed."""
        own = (self.pretrain,) if self.pretrain is not None else ()
        others = (stage for variant in self.variants for stage in variant.stages[:-1])
        return (*own, *self.extractions, *others, self.evaluation)


def make_plan(config: RunConfig, clips: Clips, results: Path, *, with_variants: bool = True) -> Plan:
    """Works out the stages of one run.

    Args:
        config: The run.
        clips: Everything its source has.
        results: The results folder.
        with_variants: Plan the other pretrainings that the task asks for, too.

    Raises:
        InputError: A split that the run needs has no clips, or fewer than a batch.
    """
    entry = registry.find("task", config.task_name)
    task, needs = entry.load().TASK, entry.card["needs"]
    evaluated, split = _evaluated(config, clips, warn=with_variants)
    train, tune = _split(config, clips, "train"), _split(config, clips, "tune")
    pretrain = _pretrain(config, clips, results)[0] if config.weights == "pretrained" else None
    if TRAINING_CLIPS in needs and train is None:
        raise InputError(
            f"--data {config.data.source}: found no clips of split 'train', which task '{config.task_name}' trains on."
        )
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
        "schema": store.SCHEMA,
        **_model_key(config, evaluation=True),
        "weights": weights,
        "clips": evaluated.sha256,
        "train": train.sha256 if train is not None and TRAINING_CLIPS in needs else None,
        "task": config.task_name,
        "task_version": task.version,
        **_sources("task_source", entry),
        "options": _identity(config.task),
        "files": task.files(config.task),
        "seed": config.seed,
    }
    run_id = store.content_id(key)
    return Plan(
        config=config,
        clips=clips,
        train=train,
        tune=tune,
        evaluated=evaluated,
        split=split,
        weights=weights,
        pretrain=pretrain,
        extractions=tuple(extractions),
        variants=tuple(
            make_plan(vary(config, sections), clips, results, with_variants=False)
            for sections in (task.variants(config.task) if with_variants else ())
        ),
        evaluation=Stage("evaluate", run_id, store.run_folder(results, run_id), key, f"task {config.task_name}"),
    )


def plan_pretraining(config: RunConfig, clips: Clips, results: Path) -> tuple[Stage, Clips, Clips | None]:
    """Works out the first half alone, which needs no clips to evaluate on."""
    return _pretrain(config, clips, results)


def _pretrain(config: RunConfig, clips: Clips, results: Path) -> tuple[Stage, Clips, Clips | None]:
    train = _split(config, clips, "train")
    count, batch = len(train) if train is not None else 0, config.train.batch_size
    if train is None or count < batch:
        raise InputError(
            f"train.batch_size: found {batch}, valid: at most {count}, the clips of split 'train' in"
            f" {config.data.source}; --set train.batch_size=N, add clips, or give --checkpoint FILE."
        )
    tune = _split(config, clips, "tune") if config.train.select == "best" else None
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
    return _stage("pretrain", key, results, work), train, tune


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
    stage_id = store.content_id(key)
    return Stage(name, stage_id, store.stage_folder(results, name, stage_id), key, work)


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


def _sources(name: str, entry: registry.Entry) -> dict[str, Any]:
    """Returns what an id holds of code from outside the package: nothing of the package's own, which has versions."""
    found = entry.sources
    return {name: found} if found else {}


def training_steps(config: RunConfig, n_train: int) -> int:
    """Returns the number of optimiser steps; the last, smaller batch of an epoch is dropped (as the reference)."""
    return config.train.steps or config.train.epochs * (n_train // config.train.batch_size)


def _splits(config: RunConfig, clips: Clips) -> npt.NDArray[np.str_]:
    """Returns each clip's split, holding clips out by the hash of their id where the data names none."""
    splits = np.asarray(clips.splits, dtype=np.str_)
    if (splits != "").any():
        return splits
    draws = np.array([stream_seed(0, "held out", *_words(name)) for name in clips.ids], dtype=np.float64) / 2**63
    held_out = draws < config.data.test_fraction
    # Small folders: the two lowest draws are held out whatever the fraction, so that retrieval has candidates.
    held_out[np.argsort(draws, kind="stable")[:2]] = True
    return np.where(held_out, "test", "train")


def _split(config: RunConfig, clips: Clips, split: str) -> Clips | None:
    """Returns the clips of a split, or None where there are none; the same object each time."""
    known = _PARTS.setdefault(clips, {})
    key = (config.data.test_fraction, split)
    if key not in known:
        chosen = np.flatnonzero(_splits(config, clips) == split)
        known[key] = clips.select(chosen) if len(chosen) else None
    return known[key]


def _words(name: str) -> tuple[int, ...]:
    return tuple(name.encode())


def _evaluated(config: RunConfig, clips: Clips, *, warn: bool) -> tuple[Clips, str]:
    """Returns the clips to judge, and the name of their split."""
    chosen, split = _of_split(config, clips)
    return (_listed(config, chosen, warn=warn) if config.data.subset else chosen), split


def _listed(config: RunConfig, clips: Clips, *, warn: bool) -> Clips:
    """Returns those of the clips that ``data.subset`` lists, in their own order."""
    from avbench.data.catalogue.subset import read_subset

    text = config.data.subset
    wanted = set(read_subset(text, config.data.source, clips.root))
    chosen = [i for i, name in enumerate(clips.ids) if name in wanted]
    if not chosen:
        raise InputError(
            f"data.subset: found none of the {len(wanted)} clips of '{text}', valid: a list of ids such as"
            f" '{clips.ids[0]}'; data.split may leave them out."
        )
    if warn and len(chosen) < len(wanted):
        log.warning("data.subset: %d of the %d clips of '%s' are here", len(chosen), len(wanted), text)
    return clips.select(chosen)


def _of_split(config: RunConfig, clips: Clips) -> tuple[Clips, str]:
    split = config.data.split
    if split == "auto":
        named = any(name != "" for name in clips.splits)
        split = "test" if named or config.weights != "checkpoint" else "all"
    if split == "all":
        return clips, split
    chosen = _split(config, clips, split)
    if chosen is None:
        found = ", ".join(sorted(set(_splits(config, clips).tolist())))
        raise InputError(f"data.split: found {split}, valid: all, {found}, the splits {config.data.source} has.")
    return chosen, split
