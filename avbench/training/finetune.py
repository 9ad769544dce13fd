"""End-to-end fine-tuning with labels (paper Table 4).

Source: docs/protocol/cavmae.md 3.3-3.4.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from avbench.config import HOW, FinetuneConfig, InputConfig, Precision, TrainConfig
from avbench.data.corpus.clips import Clips
from avbench.data.feed import augment, sampling
from avbench.data.feed.batch import Batch
from avbench.data.feed.dataset import Mode
from avbench.data.feed.heard_training import HeardFeed
from avbench.data.feed.loader import Feed, repeats
from avbench.errors import InputError
from avbench.files import Damaged, set_aside
from avbench.methods.classifier import Classifier
from avbench.methods.heads import KEYS
from avbench.rng import numpy_stream
from avbench.training.averaging import WeightAverage, digest
from avbench.training.checkpoints import load_weights
from avbench.training.export import save_weights
from avbench.training.group import ProcessGroup
from avbench.training.loop import train
from avbench.training.objective import ClassificationLoss
from avbench.training.share import Share
from avbench.training.weights_file import read_checkpoint

Loss = Literal["bce", "ce"]
FINETUNED = "finetuned.safetensors"  # what a finished fine-tuning leaves in its folder
_SHARED = (
    "epochs",
    "steps",
    "batch_size",
    "optimizer",
    "lr",
    "betas",
    "weight_decay",
    "clip_norm",
    "schedule",
    "decay_start",
    "decay_every",
    "decay_rate",
    "warmup",
    "final_lr",
)


class LabelTable(augment.LabelTable, sampling.LabelTable, Protocol):
    """Which classes each training clip has; see :class:`avbench.tasks.labels.Labels`."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Where and how a fine-tuning runs.

    Attributes:
        folder: Of this fine-tuning alone.
        stage: Id of everything that can change its result; what another one left in the folder is refused.
        device: ``cpu`` or ``cuda``.
        precision: Arithmetic of the forward passes.
        seed: Seed of the order and of all draws.
        train: Readers, threads, checkpoint times and logging.
        about: More JSON values for the metadata of the weights.
        told: See :func:`~avbench.training.loop.train`.
        progress: Whether to show bars.
        group: The processes that fine-tune together; the numbers are those of one, rounding aside.
        report: Told of each epoch that is done.
    """

    folder: Path
    stage: str
    device: str
    precision: Precision
    seed: int
    train: TrainConfig
    progress: bool = True
    told: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    group: ProcessGroup = field(default_factory=ProcessGroup)
    report: Callable[[int], None] = lambda _: None


def train_settings(config: FinetuneConfig, train: TrainConfig) -> TrainConfig:
    """Returns the recipe as the training loop takes it; readers, checkpoint times and logging are the run's own."""
    own = {name: getattr(config, name) for name in _SHARED}
    return TrainConfig(**own, noise=config.noise, **{name: getattr(train, name) for name in HOW})


def frames_mode(model: Classifier) -> Mode:
    """Returns what a training item of a model is: all frames where its head looks at them together, else one."""
    return "train" if model.head.kind == "linear" else "all_frames"


def finetune(
    model: Classifier,
    clips: Clips,
    labels: LabelTable,
    input: InputConfig,
    config: FinetuneConfig,
    *,
    mode: str,
    loss: Loss,
    work: Work,
) -> Path:
    """Fine-tunes a model, or resumes where the folder holds checkpoints; it ends with the averaged weights.

    A finished one is read again. What is left in the folder are those weights and metrics.csv.

    Args:
        model: With the weights to start from; changed in place, and in evaluation mode afterwards.
        clips: Training clips.
        labels: Their classes, in the clips' order.
        input: How a clip becomes tensors.
        config: The recipe.
        mode: ``multimodal``, ``audioonly`` or ``videoonly``.
        loss: Of each class by itself, or of classes that exclude each other.
        work: Where and how.

    Returns:
        The weights file.

    Raises:
        InputError: Fewer clips than a batch, or a folder with another fine-tuning.
        RunError: The loss is not finite, or the disk is full.
        Stopped: A signal; the same call resumes there.
    """
    if config.freeze:
        model.freeze()
    weights = work.folder / FINETUNED
    if weights.exists() and _is_of(weights, work.stage):
        load_weights(model, weights)
        model.to(work.device).eval()
        return weights
    settings = train_settings(config, work.train)
    mixed = augment.Augment.of(config, labels)
    feed = own_feed(model, clips, mixed, work.seed, settings.workers) or Feed(
        clips,
        input,
        mode=frames_mode(model),
        noise=config.noise,
        seed=work.seed,
        augment=mixed,
        workers=settings.workers,
        device=work.device,
    )
    steps_per_epoch = len(clips) // config.batch_size
    average = WeightAverage(work.folder, work.stage, config.average_from, config.average_to)
    share = Share(config.batch_size, 1, together=False, group=work.group)
    if work.group.leads:
        _mend(average, work.folder)
    parallel = work.group.wrap(model, work.device)

    def batches(epoch: int, skip: int) -> Iterator[Batch]:
        order = epoch_order(labels, len(clips), config, work.seed, epoch)
        before = share.order(repeats(order))
        return feed.batches(share.order(order), share.clips, epoch=epoch, skip=skip, drop_last=True, before=before)

    def after_epoch(epoch: int) -> None:
        if work.group.leads:
            average.add(epoch, model)
            work.report(epoch)

    last = train(
        model,
        ClassificationLoss(parallel, mode, loss),
        batches,
        settings,
        steps_per_epoch=steps_per_epoch,
        stage=work.stage,
        seed=work.seed,
        precision=work.precision,
        device=work.device,
        directory=work.folder,
        clip_id=lambda index: str(clips.ids[index]),
        workers=feed.workers,
        progress=work.progress,
        told=work.told,
        ratios={KEYS: config.head_lr_ratio},
        after_epoch=after_epoch,
        what=f"fine-tune {mode}",
        section="task",
        share=share,
        parallel=parallel,
    ).weights
    if not work.group.leads:
        return weights
    epochs = average.apply(model)
    state = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    extra = {"stage": work.stage, "mode": mode, "averaged_epochs": list(epochs), "sha256": digest(state), **work.about}
    save_weights(weights, model, extra=extra)
    model.eval()
    for path in (last, average.path):
        path.unlink(missing_ok=True)
    shutil.rmtree(work.folder / "checkpoints", ignore_errors=True)
    return weights


def _is_of(weights: Path, stage: str) -> bool:
    """Returns whether a file is what a fine-tuning wrote; one that is damaged is set aside, to be trained again."""
    try:
        found = read_checkpoint(weights)
        if found.metadata.get("sha256") not in (None, digest(found.state)):  # a version that wrote none is believed
            raise InputError(f"{weights}: is not what was written (its hash is another).")
    except InputError as error:
        set_aside(Damaged(str(error), weights))
        return False
    return bool(found.metadata.get("stage") == stage)


def own_feed(
    model: Classifier, clips: Clips, mixed: augment.Augment | None, seed: int, workers: int
) -> HeardFeed | None:
    """Returns what gives batches to a model of anybody's encoder, which hears waveforms; None for a method's.

    Args:
        model: The model.
        clips: The training clips.
        mixed: How they are changed.
        seed: Of the run.
        workers: Reading processes.
    """
    feed = getattr(model, "feed", None)
    found: HeardFeed | None = None if feed is None else feed(clips, augment=mixed, seed=seed, workers=workers)
    return found


def _mend(average: WeightAverage, folder: Path) -> None:
    """Sets a damaged sum of weights aside, and the checkpoints from which it cannot be had again."""
    try:
        average.check()
    except Damaged as damage:
        set_aside(damage)
        for left in folder.glob("checkpoints"):
            set_aside(Damaged(f"{left}: the sum of the epochs before them is lost.", left))


def epoch_order(labels: LabelTable, n: int, config: FinetuneConfig, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Returns the clips of an epoch in their order, (n,): each once, or drawn by how rare their classes are.

    Args:
        labels: Classes of the training clips.
        n: How many clips there are.
        config: The recipe.
        seed: Of the run.
        epoch: From 0.
    """
    if config.balanced:
        return sampling.balanced_order(labels, seed=seed, epoch=epoch)
    return numpy_stream(seed, "order", epoch).permutation(n)
