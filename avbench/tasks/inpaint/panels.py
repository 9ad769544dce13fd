"""Pictures of what a decoder makes of what masks leave (paper Figures 9-13; docs/protocol/cavmae.md 1.13)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from avbench.config import InputConfig
from avbench.data.feed.dataset import AudioVisualDataset
from avbench.methods.masking import Draws, Form, MaskPlan, Strategy
from avbench.methods.objectives import unpatchify
from avbench.tasks.inpaint.inpainter import Inpainter, clip_errors, draws, mask_plans, statistics

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips

_AT_ONCE = 8  # clips in memory


@dataclass(frozen=True)
class Panel:
    """One line of a picture: what was there, what was left of it, and what was made of that.

    Attributes:
        modality: ``audio`` or ``visual``.
        strategy: What was removed.
        original: (M, T) log-mel, lowest mel bin first, or (H, W, 3) in [0, 1].
        inpainted: The same with the removed patches as predicted.
        removed: (M, T) or (H, W), True where pixels were removed.
        error: The clip's mean squared error, as the metric has it.
    """

    modality: str
    strategy: Strategy
    original: npt.NDArray[np.float32]
    inpainted: npt.NDArray[np.float32]
    removed: npt.NDArray[np.bool_]
    error: float


def inpaint(
    model: Inpainter, clips: Clips, *, strategies: Sequence[Strategy], ratio: float, form: Form, seed: int
) -> Iterator[list[Panel]]:
    """Yields the lines of each clip's picture: the frame, then the sound by strategy.

    Args:
        model: The model.
        clips: The clips.
        strategies: Those of the sound, where the model takes it; frames are masked uniformly, beside the first.
        ratio: Share of each modality's tokens that is removed.
        form: See :mod:`avbench.methods.masking`.
        seed: Seed of the masks, which are those of the metrics.

    Raises:
        InputError: The ratio keeps or removes nothing.
        RunError: A clip cannot be read.
    """
    dataset = AudioVisualDataset(clips, model.input, mode="eval")
    lines = strategies if "audio" in model.grids else ("uniform",)
    plans = [mask_plans(model.grids, strategy, ratio, form) for strategy in lines]
    for first in range(0, len(clips), _AT_ONCE):
        chosen = range(first, min(first + _AT_ONCE, len(clips)))
        batch = dataset.batch(chosen)
        noise = draws([clips.ids[i] for i in chosen], model.grids, seed)
        yield from _panels(model, *batch.inputs(model.device), plans, noise)


def _panels(
    model: Inpainter,
    audio: Tensor | None,
    visual: Tensor | None,
    plans: Sequence[Mapping[str, MaskPlan]],
    noise: Mapping[str, Draws],
) -> list[list[Panel]]:
    patches, targets = model.patches(audio, visual), model.targets(audio, visual)
    found: list[list[Panel]] = [[] for _ in next(iter(patches.values()))]
    for number, by_modality in enumerate(plans):
        masks = {name: plan.mask(noise[name].to(model.device)) for name, plan in by_modality.items()}
        predictions = model.predict(audio, visual, masks)
        for name in reversed(model.grids):
            if name == "visual" and number:
                continue
            plan, removed, true, prediction = by_modality[name], masks[name].removed, patches[name], predictions[name]
            errors = clip_errors(prediction, targets[name], removed)
            if model.norm_pix_loss:
                mean, deviation = statistics(true)
                prediction = prediction * deviation + mean
            hidden = removed[..., None].expand_as(true)
            images = (true, torch.where(hidden > 0, prediction, true), hidden)
            original, inpainted, mask = (unpatchify(image, plan.grid, model.patch_size).cpu() for image in images)
            for i, panels in enumerate(found):
                panels.append(
                    Panel(
                        name,
                        plan.strategy,
                        _pixels(original[i], name, model.input),
                        _pixels(inpainted[i], name, model.input),
                        mask[i, 0].numpy() > 0,
                        float(errors[i]),
                    )
                )
    return found


def _pixels(image: Tensor, modality: str, config: InputConfig) -> npt.NDArray[np.float32]:
    """Returns log-mel (M, T) or colours (H, W, 3) in [0, 1] from a normalised image (C, H, W)."""
    if modality == "audio":
        return (image[0] * config.audio_std + config.audio_mean).numpy()
    std, mean = torch.tensor(config.image_std), torch.tensor(config.image_mean)
    return (image.permute(1, 2, 0) * std + mean).clamp(0, 1).numpy()
