"""Reconstruction: how well removed patches are predicted, by masking ratio and strategy, and what that looks like.

Source: paper Figure 5 (spectrograms) and Figures 9-13 (in-painting); docs/protocol/cavmae.md 1.9 and 1.11-1.13. A
clip's masks are functions of its id, the same for every method, and those of a larger ratio remove what those of a
smaller one do.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from avbench.data.corpus.clips import hash_ids
from avbench.errors import InputError
from avbench.files import atomic_folder
from avbench.metrics.bootstrap import intervals
from avbench.metrics.evidence import Evidence, of_means
from avbench.settings import Settings, setting
from avbench.tasks.base import Outputs, Task, TaskCard, TaskResult

if TYPE_CHECKING:
    from torch import Tensor

    from avbench.tasks.inpaint.inpainter import Inpainter
    from avbench.tasks.subject import Subject

CARD = TaskCard(
    summary="mean squared error of removed patches by masking ratio and strategy, and in-painted pictures",
    needs=("weights",),
    abilities=("reconstruction",),
    columns=("mse",),
)
BATCH = 32  # clips a pass: bounds the memory of the decoder, which sees all tokens
_NAME_LENGTH = 80  # of a clip's id in a file name
log = logging.getLogger("avbench")


@dataclass(frozen=True, kw_only=True)
class ReconstructionTaskConfig(Settings):
    """Options of reconstruction. Frames are always masked uniformly, at the same ratio as the sound."""

    ratios: tuple[float, ...] = setting(
        (0.5, 0.6, 0.7, 0.75, 0.8, 0.9), "shares of the tokens of each modality that are removed", gt=0, lt=1
    )
    strategies: tuple[Literal["uniform", "time", "frequency", "time_frequency"], ...] = setting(
        ("uniform", "time", "frequency", "time_frequency"),
        "masking strategies for the spectrogram; frames are measured with uniform ones",
    )
    form: Literal["exact", "reference"] = setting(
        "reference", "reference: the ratio exactly, lines and single tokens; exact: whole lines, the ratio about"
    )
    mask_seed: int = setting(0, "seed of the masks", ge=0)
    pictures: int = setting(4, "clips, the first ones, to draw pictures of", ge=0, identity=False)
    picture_ratio: float = setting(0.75, "masking ratio of the pictures", gt=0, lt=1, identity=False)
    resamples: int = setting(1000, "bootstrap resamples for the 95 % intervals; 0: none", ge=0, le=100_000)
    bootstrap_seed: int = setting(0, "seed of the resamples", ge=0)

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            InputError: A wrong type, a value out of range, or a list that is empty or names something twice.
        """
        super().__post_init__()
        for name in ("ratios", "strategies"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise InputError(f"{name}: found {list(values)}, valid: one or more, each once.")


class Trivial:
    """The error of predicting each patch by its mean over the evaluated clips: what the position alone tells.

    Sums are kept in double precision, so that one pass over the clips does. With ``norm_pix_loss`` the patches are the
    normalised ones.
    """

    def __init__(self) -> None:
        self._clips = 0
        self._totals: dict[str, Tensor] = {}  # by modality: (N, P) sums of all patches
        self._removed: dict[str, tuple[str, Tensor, Tensor, Tensor]] = {}

    def add_clips(self, targets: dict[str, Tensor]) -> None:
        """Counts the patches of some clips, (B, N, P) by modality."""
        self._clips += len(next(iter(targets.values())))
        for modality, target in targets.items():
            total = target.double().sum(dim=0)
            self._totals[modality] = self._totals[modality] + total if modality in self._totals else total

    def add_removed(self, name: str, modality: str, target: Tensor, removed: Tensor) -> None:
        """Counts the patches of the same clips that were removed, (B, N), under a condition's name.

        Args:
            name: The condition.
            modality: Of the patches.
            target: True patches, (B, N, P).
            removed: (B, N) 1 where removed.
        """
        weights = removed.double()
        target = target.double()
        sums = (
            (target * weights[..., None]).sum(dim=0),  # (N, P)
            (target.square().sum(dim=-1) * weights).sum(),  # ()
            weights.sum(dim=0),  # (N)
        )
        before = self._removed.get(name)
        if before is not None:
            sums = (before[1] + sums[0], before[2] + sums[1], before[3] + sums[2])
        self._removed[name] = (modality, *sums)

    def errors(self) -> dict[str, float]:
        """Returns the mean squared error over the removed patches of each condition."""
        found = {}
        for name, (modality, patches, squares, counts) in self._removed.items():
            mean = self._totals[modality] / self._clips  # (N, P)
            error = squares - 2 * (mean * patches).sum() + (mean.square().sum(dim=-1) * counts).sum()
            found[name] = float(error / counts.sum() / mean.shape[-1])
        return found


class Reconstruction(Task[ReconstructionTaskConfig]):
    """Masks every clip in every way and compares what the decoder predicts with what was there.

    Metrics are keyed ``audio/time@0.75/mse``. They are losses in the units the model was trained on (log-mel and
    colours over their deviation or, with ``norm_pix_loss``, normalised patches), so they compare only between models
    with the same input and target; smaller is better. Chance is the error of :class:`Trivial`.
    """

    name = "reconstruction"
    version = 1
    config_type = ReconstructionTaskConfig

    def run(self, subject: Subject, config: ReconstructionTaskConfig) -> TaskResult:
        """Measures the errors over the evaluated clips and draws the first of them; see the base class."""
        from avbench.tasks.inpaint.inpainter import Inpainter

        model = Inpainter.of(subject)
        errors, chance = measure(model, subject, config)
        ids = np.array(subject.evaluated.ids, dtype=np.str_)
        if config.pictures:
            draw_pictures(model, subject, config)
        return TaskResult(
            n=len(ids),
            ids_sha256=hash_ids(subject.evaluated.ids),
            metrics=summarise(errors),
            chance=chance,
            ci95={
                name: interval
                for name, values in errors.items()
                for interval in intervals(
                    values,
                    {"mean": lambda drawn: np.asarray(drawn.mean(axis=-1))},
                    resamples=config.resamples,
                    seed=config.bootstrap_seed,
                ).values()
            },
            per_sample={"id": ids, **errors},
        )

    def evidence(self, outputs: Outputs, config: ReconstructionTaskConfig) -> Evidence:
        """Returns what the metrics are made of: means of the clips' errors; see the base class."""
        return of_means(outputs["id"], {name: values for name, values in outputs.items() if name != "id"})


def draw_pictures(model: Inpainter, subject: Subject, config: ReconstructionTaskConfig) -> None:
    """Draws a PNG of each of the first clips into the folder ``pictures`` of the evaluation, which is replaced.

    Args:
        model: The model.
        subject: Its clips and folder.
        config: The task's options.

    Raises:
        InputError: A ratio that keeps or removes nothing.
        RunError: A clip cannot be read.
    """
    from avbench.tasks.inpaint.drawing import draw
    from avbench.tasks.inpaint.panels import inpaint

    clips = subject.evaluated.select(range(min(config.pictures, len(subject.evaluated))))
    lines = inpaint(
        model,
        clips,
        strategies=config.strategies,
        ratio=config.picture_ratio,
        form=config.form,
        seed=config.mask_seed,
    )
    with atomic_folder(subject.folder / "pictures") as folder:
        for i, (clip, panels) in enumerate(zip(clips.ids, lines, strict=True)):
            name = re.sub(r"[^\w.-]+", "_", clip)[:_NAME_LENGTH]
            draw(folder / f"{i:03d}-{name}.png", clip, panels, model)
    log.info("in-painted pictures: %s", subject.folder / "pictures")


def summarise(errors: dict[str, npt.NDArray[np.float64]]) -> dict[str, float]:
    """Returns the metrics of clips from their errors, (n,) each."""
    return {name: float(values.mean()) for name, values in errors.items()}


def measure(
    model: Inpainter, subject: Subject, config: ReconstructionTaskConfig
) -> tuple[dict[str, npt.NDArray[np.float64]], dict[str, float]]:
    """Returns each clip's error under each condition, (n,), and the trivial prediction's.

    Args:
        model: The model.
        subject: Its clips.
        config: The task's options.

    Raises:
        InputError: A ratio that keeps or removes nothing.
        RunError: A clip cannot be read.
    """
    from avbench.data.feed.loader import Feed
    from avbench.data.progress import Progress
    from avbench.tasks.inpaint.inpainter import draws, mask_plans
    from avbench.training.device import torch_threads

    clips, train = subject.evaluated, subject.config.train
    conditions = [
        (strategy, ratio, mask_plans(model.grids, strategy, ratio, config.form))
        for strategy in (config.strategies if "audio" in model.grids else ("uniform",))
        for ratio in config.ratios
    ]
    found: dict[str, list[npt.NDArray[np.float64]]] = {}
    trivial = Trivial()
    feed = Feed(clips, subject.config.input, mode="eval", workers=train.workers)
    with (
        torch_threads(feed.workers, train.threads),
        Progress("reconstruct", len(clips), unit="clip", enabled=subject.progress) as bar,
    ):
        for batch in feed.batches(np.arange(len(clips)), BATCH):
            audio, visual = batch.inputs(model.device)
            noise = draws([clips.ids[int(i)] for i in batch.index], model.grids, config.mask_seed)
            targets = model.targets(audio, visual)
            trivial.add_clips(targets)
            for strategy, ratio, plans in conditions:
                masks = {name: plan.mask(noise[name].to(model.device)) for name, plan in plans.items()}
                for modality, errors in model.errors(audio, visual, targets, masks).items():
                    if modality == "visual" and strategy != "uniform":
                        continue
                    name = f"{modality}/{strategy}@{ratio:g}/mse"
                    found.setdefault(name, []).append(errors.double().cpu().numpy())
                    trivial.add_removed(name, modality, targets[modality], masks[modality].removed)
            bar.step(count=len(batch.index))
    chance = trivial.errors()
    return {name: np.concatenate(found[name]) for name in sorted(found)}, {name: chance[name] for name in sorted(found)}


CONFIG = ReconstructionTaskConfig
TASK = Reconstruction()
