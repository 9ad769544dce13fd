"""The work of a run: pretraining, feature extraction, evaluation. Each leaves its output and ``done.json``."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from avbench import registry
from avbench.errors import InputError
from avbench.files import Damaged, set_aside, write_json
from avbench.processes import locked
from avbench.rng import numpy_stream
from avbench.running import extraction
from avbench.running.plan import STARTED, Stage, training_steps
from avbench.running.request import RunConfig
from avbench.store import seal
from avbench.training import trained_on

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.data.feed.dataset import Batch
    from avbench.methods.base import Method
    from avbench.running.runner import Execution

log = logging.getLogger("avbench")


def read_done(stage: Stage) -> dict[str, Any]:
    """Returns what a finished stage says of itself: its key, wall time and figures.

    Raises:
        Damaged: It is not what a stage writes.
    """
    return seal.read_done(stage.folder, seal.WHOLE)


def is_readable(stage: Stage) -> bool:
    """Returns whether :func:`read_done` can be had."""
    try:
        read_done(stage)
    except Damaged:
        return False
    return True


def _finish(stage: Stage, seconds: float, **figures: Any) -> None:
    told = {"id": stage.id, "key": stage.key, "wall_s": round(seconds, 3), seal.FILES: seal.seal(stage.folder)}
    write_json(stage.folder / seal.DONE, {**told, **figures})


def _usable(stage: Stage, *, mend: bool = False) -> bool:
    """Returns whether a stage is done and left what is still there.

    Args:
        stage: The stage.
        mend: Set aside what is damaged, so that it is computed again; the stage's lock is held.
    """
    if not stage.done:
        return False
    found = list(seal.damages(stage.folder, seal.WHOLE))
    if mend:
        for damage in found:
            set_aside(damage)
        if found:
            (stage.folder / seal.DONE).unlink(missing_ok=True)
    return not found


def _begin(stage: Stage, config: RunConfig, steps: int, processes: int) -> None:
    """Leaves what ``avbench status`` tells of a training that is not done."""
    told = {
        "method": config.method_name,
        "seed": config.seed,
        "data": config.data.source,
        "steps": steps,
        "batch_size": config.train.batch_size,
        "processes": processes,
        "host": platform.node(),
        "process": os.getpid(),
    }
    write_json(stage.folder / STARTED, told)


def build(config: RunConfig) -> Method:
    """Returns the method with freshly drawn weights, a function of the seed."""
    module = registry.find("method", config.method_name).load()
    method: Method = module.METHOD(config.method, config.model, config.input, seed=config.seed)
    return method


def check(config: RunConfig, *, planning: bool = False) -> None:
    """Checks that the model can be built and that the weights named fit it; nothing is allocated or computed.

    Args:
        config: The run.
        planning: Initial weights that are known by name need not be here.

    Raises:
        InputError: Sizes that do not fit each other, or weights that do not fit the model.
    """
    import torch

    from avbench.training.checkpoints import load_weights

    with torch.device("meta"):
        method = build(config)
    if config.checkpoint is not None:
        load_weights(method, config.checkpoint)
    if config.train.init and config.weights == "pretrained":  # a preset says what a checkpoint started from, too
        from avbench.training.initial_weights import MissingWeights
        from avbench.training.initialization import initialise_from

        with contextlib.suppress(*((MissingWeights,) if planning else ())):
            initialise_from(method, config.train.init, **_init_options(config))


def pretrain(config: RunConfig, stage: Stage, train: Clips, tune: Clips | None, execution: Execution) -> Path:
    """Trains a method, or reuses or resumes a training, and returns its weights file.

    Raises:
        InputError: ``train.init`` does not fit the model.
        RunError: Training failed; what it kept is in the stage's folder.
    """
    from avbench.training.session import WEIGHTS

    weights = stage.folder / WEIGHTS
    group = execution.group
    if not group.alike(group.leads and (execution.forces(stage) or not _usable(stage))):
        return weights
    if not group.leads:
        if group.alike(False):
            _train(config, stage, train, tune, execution)
        return weights
    with locked(stage.folder, lambda: _waiting(stage)):
        if execution.forces(stage):
            clear(stage.folder)
        elif _usable(stage, mend=True):
            group.alike(False)
            return weights
        group.alike(True)
        _train(config, stage, train, tune, execution)
    execution.computed(stage)
    return weights


def _train(config: RunConfig, stage: Stage, train: Clips, tune: Clips | None, execution: Execution) -> None:
    from avbench.data.feed.loader import Feed
    from avbench.training.loop import pretrain as train_method
    from avbench.training.share import Share

    method = build(config)
    start = None
    if config.train.init:
        from avbench.training.initialization import initialise_from

        start = initialise_from(method, config.train.init, **_init_options(config))
        log.info("%s", start.summary())
    pairing = derangement(len(train), config.seed) if config.train.pairing == "shuffled" else None
    workers = config.train.workers
    feed = Feed(
        train,
        config.input,
        mode="train",
        noise=config.train.noise,
        seed=config.seed,
        workers=workers,
        pairing=pairing,
    )
    batch = config.train.batch_size
    negatives, accumulate = getattr(config.method, "negatives", ""), config.train.accumulate
    # Without negatives passes stay whole where they can be dealt out: the paper's four of 27 cannot be halved.
    together = negatives == "local" or (not negatives and accumulate % execution.group.world == 0)
    share = Share(batch, accumulate, together=together, group=execution.group)

    def batches(epoch: int, skip: int) -> Iterator[Batch]:
        order = numpy_stream(config.seed, "order", epoch).permutation(len(train))
        return feed.batches(share.order(order), share.clips, epoch=epoch, skip=skip, drop_last=True)

    def validate(clips: Clips) -> Iterator[Batch]:
        return Feed(clips, config.input, mode="eval", workers=workers).batches(np.arange(len(clips)), batch)

    about = {}
    if execution.group.leads:
        _begin(stage, config, training_steps(config, len(train)), execution.group.world)
        about = trained_on.write(stage.folder, train.ids, trained_on.of_init(config.train.init))
    result = train_method(
        method,
        batches,
        config.train,
        steps_per_epoch=len(train) // batch,
        stage=stage.id,
        seed=config.seed,
        precision=config.precision,
        device=execution.device,
        directory=stage.folder,
        clip_id=lambda index: str(train.ids[index]),
        validate=None if tune is None else lambda: validate(tune),
        workers=feed.workers,
        progress=execution.progress,
        tensorboard=config.train.tensorboard,
        about=about,
        share=share,
    )
    if not execution.group.leads:
        return
    _finish(
        stage,
        result.wall_s,
        processes=execution.group.world,
        steps=result.steps,
        last_row=result.row,
        tuning_loss=result.tuning_loss,
        best_step=result.best_step,
        data_wait_share=round(result.data_wait_share, 4),
        init=None if start is None else start.to_dict(),
        pairing=None if pairing is None else pairing.tolist(),
    )


def _init_options(config: RunConfig) -> dict[str, Any]:
    train = config.train
    return {
        "allow_missing": train.init_missing,
        "allow_unexpected": train.init_unexpected,
        "resize_positions": train.init_resize,
    }


def derangement(n: int, seed: int) -> npt.NDArray[np.int64]:
    """Returns a permutation of ``n`` clips that leaves none in its place, a function of the seed: (n,).

    One random cycle through all clips (Sattolo 1986).

    Raises:
        InputError: There are fewer than two.
    """
    if n < 2:
        raise InputError(f"train.pairing: found shuffled for {n} clips, valid: at least 2.")
    order = numpy_stream(seed, "pairing").permutation(n)
    pairing = np.empty(n, dtype=np.int64)
    pairing[order] = np.roll(order, -1)
    return pairing


def extract(
    config: RunConfig,
    stage: Stage,
    kind: extraction.Kind,
    clips: Clips,
    method: Callable[[], Method],
    execution: Execution,
) -> None:
    """Computes vectors or tokens of every clip, or leaves them as they are where that is done.

    Args:
        config: The run.
        stage: Whose folder the arrays go to.
        kind: What to compute.
        clips: The clips.
        method: Makes the method with its weights, on the device; called only where something is to be computed.
        execution: Where and how to work.

    Raises:
        InputError: The weights do not fit the model.
        RunError: A clip cannot be read.
    """
    if not execution.forces(stage) and _usable(stage):
        return
    with locked(stage.folder, lambda: _waiting(stage)):
        if execution.forces(stage):
            clear(stage.folder)
        elif _usable(stage, mend=True):
            return
        built = method()  # which may train it: not part of this stage's time
        start = time.monotonic()
        extraction.extract(
            kind,
            built,
            clips,
            config,
            stage.folder,
            device=execution.device,
            progress=execution.progress,
            processes=execution.processes,
        )
        _finish(stage, time.monotonic() - start, n=len(clips))
    execution.computed(stage)


def _waiting(stage: Stage) -> None:
    log.info("%s %s is being computed by another process; waiting", stage.name, stage.id)


def clear(folder: Path) -> None:
    """Removes what is in a stage's folder, if there is one: ``done.json`` first, but not the lock that is held."""
    if not folder.is_dir():
        return
    (folder / seal.DONE).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()
