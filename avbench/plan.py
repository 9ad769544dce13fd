"""What one run consists of: three stages, each with an id of its own, and which of them are already done.

A stage's id is the hash of everything that can change its output, and holds the ids it builds on. All tasks of a
checkpoint therefore share one pretraining and one extraction, and a change recomputes what depends on it, only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench import store
from avbench.errors import InputError
from avbench.files import sha256_file
from avbench.resolve import RunConfig
from avbench.rng import stream_seed
from avbench.settings import to_dict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from avbench.data.clips import Clips

# Raised by whoever changes what a stage computes; old results are then not taken for new ones.
PRETRAIN_SCHEMA = 1
FEATURES_SCHEMA = 1


@dataclass(frozen=True)
class Stage:
    """One step of a run."""

    name: str
    id: str
    folder: Path
    key: dict[str, Any]
    work: str

    @property
    def done(self) -> bool:
        """Whether its output is complete on disk."""
        return (self.folder / "done.json").exists() or (self.folder / "record.json").exists()


@dataclass(frozen=True)
class Plan:
    """The stages of a run and the clips they work on. ``pretrain`` is None where nothing is trained."""

    config: RunConfig
    train: Clips | None
    tune: Clips | None
    evaluated: Clips
    split: str
    pretrain: Stage | None
    features: Stage
    evaluation: Stage


def make_plan(config: RunConfig, clips: Clips, results: Path) -> Plan:
    """Works out the stages of one run.

    Raises:
        InputError: A split that the run needs has no clips, or fewer than a batch.
    """
    evaluated, split = _evaluated(config, clips)
    train = tune = None
    pretrain = None
    if config.weights == "pretrained":
        pretrain, train, tune = _pretrain(config, clips, results)
    features = _features(config, evaluated, pretrain, results)
    return Plan(config, train, tune, evaluated, split, pretrain, features, _evaluation(config, features, results))


def plan_pretraining(config: RunConfig, clips: Clips, results: Path) -> tuple[Stage, Clips, Clips | None]:
    """Works out the first half alone, which needs no clips to evaluate on."""
    return _pretrain(config, clips, results)


def _pretrain(config: RunConfig, clips: Clips, results: Path) -> tuple[Stage, Clips, Clips | None]:
    import numpy as np

    train = clips.select(np.flatnonzero(_splits(config, clips) == "train"))
    batch = config.train.batch_size
    if len(train) < batch:
        raise InputError(
            f"train.batch_size: found {batch}, valid: at most {len(train)}, the clips of split 'train' in"
            f" {config.data.source}; --set train.batch_size=N, add clips, or give --checkpoint FILE."
        )
    tuning = np.flatnonzero(_splits(config, clips) == "tune")
    tune = clips.select(tuning) if config.train.select == "best" else None
    if tune is not None and len(tune) < 2:
        raise InputError("train.select: found best, valid: last, as the data has no clips of split 'tune'.")
    key: dict[str, Any] = {
        "stage": "pretrain",
        "schema": PRETRAIN_SCHEMA,
        **_model_key(config),
        "train": to_dict(config.train, identity_only=True),
        "init": sha256_file(Path(config.train.init)) if config.train.init else None,
        "clips": train.sha256,
        "tune": tune.sha256 if tune is not None else None,
    }
    steps = training_steps(config, len(train))
    work = f"{steps} steps of {batch} clips ({steps * batch / len(train):.1f} passes over {len(train)} clips)"
    return _stage("pretrain", key, results, work), train, tune


def _features(config: RunConfig, evaluated: Clips, pretrain: Stage | None, results: Path) -> Stage:
    if pretrain is not None:
        weights: dict[str, Any] = {"pretrain": pretrain.id}
    elif config.checkpoint is not None:
        weights = {"checkpoint": sha256_file(config.checkpoint)}
    else:
        weights = {"untrained": config.seed}
    key = {
        "stage": "features",
        "schema": FEATURES_SCHEMA,
        **_model_key(config, evaluation=True),
        "weights": weights,
        "clips": evaluated.sha256,
    }
    return _stage("features", key, results, f"{len(evaluated)} clips through the encoder")


def _evaluation(config: RunConfig, features: Stage, results: Path) -> Stage:
    from avbench import registry

    task = registry.find("task", config.task_name).load().TASK
    key = {
        "stage": "evaluation",
        "schema": store.SCHEMA,
        "features": features.id,
        "task": config.task_name,
        "task_version": task.version,
        "options": to_dict(config.task, identity_only=True),
        "seed": config.seed,
    }
    run_id = store.content_id(key)
    return Stage("evaluate", run_id, store.run_folder(results, run_id), key, "metrics, seconds")


def _stage(name: str, key: dict[str, Any], results: Path, work: str) -> Stage:
    stage_id = store.content_id(key)
    return Stage(name, stage_id, store.stage_folder(results, name, stage_id), key, work)


def _model_key(config: RunConfig, *, evaluation: bool = False) -> dict[str, Any]:
    inputs = to_dict(config.input, identity_only=True)
    if not evaluation:
        del inputs["eval_frame"]
    key = {
        "method": config.method_name,
        "options": to_dict(config.method, identity_only=True),
        "model": to_dict(config.model, identity_only=True),
        "input": inputs,
        "precision": config.precision,
    }
    return key if evaluation else {**key, "seed": config.seed}


def training_steps(config: RunConfig, n_train: int) -> int:
    """Returns the number of optimiser steps; the last, smaller batch of an epoch is dropped (as the reference)."""
    return config.train.steps or config.train.epochs * (n_train // config.train.batch_size)


def _splits(config: RunConfig, clips: Clips) -> npt.NDArray[np.str_]:
    """Returns each clip's split, holding clips out by the hash of their id where the data names none."""
    import numpy as np

    splits = np.asarray(clips.splits, dtype=np.str_)
    if (splits != "").any():
        return splits
    draws = np.array([stream_seed(0, "held out", *_words(name)) for name in clips.ids], dtype=np.float64) / 2**63
    held_out = draws < config.data.test_fraction
    # Small folders: the two lowest draws are held out whatever the fraction, so that retrieval has candidates.
    held_out[np.argsort(draws, kind="stable")[:2]] = True
    return np.where(held_out, "test", "train")


def _words(name: str) -> tuple[int, ...]:
    return tuple(name.encode())


def _evaluated(config: RunConfig, clips: Clips) -> tuple[Clips, str]:
    import numpy as np

    named = any(split != "" for split in clips.splits)
    split = config.data.split
    if split == "auto":
        split = "test" if named or config.weights != "checkpoint" else "all"
    if split == "all":
        return clips, split
    chosen = np.flatnonzero(_splits(config, clips) == split)
    if len(chosen) == 0:
        found = ", ".join(sorted(set(_splits(config, clips).tolist())))
        raise InputError(f"data.split: found {split}, valid: all, {found}, the splits {config.data.source} has.")
    return clips.select(chosen), split
