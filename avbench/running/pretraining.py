"""Pretraining: a method trained on the training clips, in one process or several."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from avbench.config import RunConfig
from avbench.errors import InputError
from avbench.files import write_sealed
from avbench.rng import numpy_stream
from avbench.running.identity import Pretraining, Stage, training_steps
from avbench.running.weights import build, init_options
from avbench.training import trained_on

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.data.feed.batch import Batch
    from avbench.running.execution import Execution

log = logging.getLogger("avbench")
STARTED = "started.json"  # what a training that has begun leaves, for ``avbench status``


def compute(stage: Pretraining, execution: Execution) -> dict[str, Any]:
    """Trains a method, or resumes a training; returns its figures.

    Raises:
        InputError: ``train.init`` does not fit the model.
        RunError: Training failed; what it kept is in the stage's folder.
    """
    from avbench.data.feed.loader import Feed
    from avbench.training.loop import pretrain as train_method
    from avbench.training.share import Share

    config, train, tune = stage.config, stage.train, stage.tune
    method = build(config)
    start = None
    if config.train.init:
        from avbench.training.initialization import initialise_from

        start = initialise_from(method, config.train.init, **init_options(config))
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
        device=execution.device,
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
        feed = Feed(clips, config.input, mode="eval", workers=workers, device=execution.device)
        return feed.batches(np.arange(len(clips)), batch)

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
        told={"name": f"{config.method_name} pretrain seed {config.seed}", **config.to_dict()},
        about=about,
        share=share,
    )
    return {
        "wall_s": result.wall_s,  # of all sessions
        "processes": execution.group.world,
        "steps": result.steps,
        "last_row": result.row,
        "tuning_loss": result.tuning_loss,
        "best_step": result.best_step,
        "data_wait_share": round(result.data_wait_share, 4),
        "init": None if start is None else start.to_dict(),
        "pairing": None if pairing is None else pairing.tolist(),
    }


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
    write_sealed(stage.folder / STARTED, told)


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
