"""The work of a run: pretraining, feature extraction, evaluation. Each leaves its output and ``done.json``."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from avbench import registry
from avbench.features import Features, read_features, write_features
from avbench.files import write_json
from avbench.plan import Stage
from avbench.resolve import RunConfig
from avbench.rng import numpy_stream

if TYPE_CHECKING:
    from avbench.data.clips import Clips
    from avbench.data.dataset import Batch, Mode
    from avbench.methods.base import Method
    from avbench.runner import Execution
    from avbench.tasks.base import TaskResult

FEATURE_BATCH = 64  # frames a forward pass in extraction: fills a core's cache at tiny size, fits a GPU at base size


def read_done(stage: Stage) -> dict[str, Any]:
    """Returns what a finished stage says of itself: its key, wall time and figures."""
    done: dict[str, Any] = json.loads((stage.folder / "done.json").read_text(encoding="utf-8"))
    return done


def _finish(stage: Stage, seconds: float, **figures: Any) -> None:
    write_json(stage.folder / "done.json", {"id": stage.id, "key": stage.key, "wall_s": round(seconds, 3), **figures})


def build(config: RunConfig) -> Method:
    """Returns the method with freshly drawn weights, a function of the seed."""
    module = registry.find("method", config.method_name).load()
    method: Method = module.METHOD(config.method, config.model, config.input, seed=config.seed)
    return method


def check(config: RunConfig) -> None:
    """Checks that the model can be built and that the weights named fit it; nothing is allocated or computed.

    Raises:
        InputError: Sizes that do not fit each other, or weights that do not fit the model.
    """
    import torch

    from avbench.training.checkpoints import load_weights

    with torch.device("meta"):
        method = build(config)
    for weights in (config.checkpoint, Path(config.train.init) if config.train.init else None):
        if weights is not None:
            load_weights(method, weights)


def pretrain(config: RunConfig, stage: Stage, train: Clips, tune: Clips | None, execution: Execution) -> Path:
    """Trains a method, or reuses or resumes a training, and returns its weights file.

    Raises:
        InputError: ``train.init`` does not fit the model.
        RunError: Training failed; what it kept is in the stage's folder.
    """
    from avbench.data.loader import Feed
    from avbench.training.checkpoints import load_weights
    from avbench.training.loop import pretrain as train_method
    from avbench.training.session import WEIGHTS

    weights = stage.folder / WEIGHTS
    if stage.done and not execution.force:
        return weights
    if execution.force:
        shutil.rmtree(stage.folder, ignore_errors=True)
    method = build(config)
    if config.train.init:
        load_weights(method, Path(config.train.init))
    workers = config.train.workers
    feed = Feed(train, config.input, mode="train", noise=config.train.noise, seed=config.seed, workers=workers)
    batch = config.train.batch_size

    def batches(epoch: int, skip: int) -> Iterator[Batch]:
        order = numpy_stream(config.seed, "order", epoch).permutation(len(train))
        return feed.batches(order, batch, epoch=epoch, skip=skip, drop_last=True)

    def validate(clips: Clips) -> Iterator[Batch]:
        return Feed(clips, config.input, mode="eval", workers=workers).batches(np.arange(len(clips)), batch)

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
    )
    _finish(
        stage,
        result.wall_s,
        steps=result.steps,
        last_row=result.row,
        tuning_loss=result.tuning_loss,
        best_step=result.best_step,
        data_wait_share=round(result.data_wait_share, 4),
    )
    return weights


def extract(config: RunConfig, stage: Stage, clips: Clips, weights: Path | None, execution: Execution) -> Features:
    """Embeds every clip, or reuses the embeddings; ``weights`` None embeds with the first, untrained weights.

    Raises:
        InputError: The weights do not fit the model.
        RunError: A clip cannot be read, or an embedding is not finite.
    """
    import torch

    from avbench.data.loader import Feed
    from avbench.data.progress import Progress
    from avbench.training.checkpoints import load_weights
    from avbench.training.device import torch_threads
    from avbench.training.precision import autocast

    path = stage.folder / "features.npz"
    if stage.done and not execution.force:
        return read_features(path)
    start = time.monotonic()
    method = build(config)
    if weights is not None:
        load_weights(method, weights)
    method.to(execution.device).eval()
    # Methods that look at windows around frames embed all of them; the others one frame a clip.
    mode: Mode = "all_frames" if config.input.segment_length else "eval"
    feed = Feed(clips, config.input, mode=mode, workers=config.train.workers)
    sounds, pictures = [], []
    with (
        torch_threads(feed.workers, config.train.threads),
        Progress("features", len(clips), unit="clip", enabled=execution.progress) as bar,
    ):
        size = max(1, FEATURE_BATCH // max(1, config.data.n_frames)) if mode == "all_frames" else FEATURE_BATCH
        for batch in feed.batches(np.arange(len(clips)), size):
            with torch.inference_mode(), autocast(config.precision, execution.device):
                audio, visual = method.embed(batch.audio.to(execution.device), batch.visual.to(execution.device))
            sounds.append(_frames(audio.float().cpu().numpy()))
            pictures.append(_frames(visual.float().cpu().numpy()))
            bar.step(count=len(audio))
    features = Features(list(clips.ids), np.concatenate(sounds), np.concatenate(pictures), config.to_dict())
    write_features(path, features)
    _finish(stage, time.monotonic() - start, n=len(clips))
    return features


def _frames(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns (n, F, d) from (n, F, d) or, of one frame, (n, d)."""
    return values if values.ndim == 3 else values[:, None]


def evaluate(features: Features, config: RunConfig) -> TaskResult:
    """Runs the task on the features."""
    result: TaskResult = registry.find("task", config.task_name).load().TASK.evaluate(features, config.task)
    return result
