"""A method with a decoder at masks of any ratio and strategy: predicted patches and their errors.

Source: paper 2.2; docs/protocol/cavmae.md 1.11-1.13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from avbench.config import MODALITIES, InputConfig, Precision
from avbench.data.corpus.clips import modalities_of
from avbench.errors import InputError
from avbench.methods.masking import Draws, Form, Mask, MaskPlan, Strategy
from avbench.methods.objectives import patchify
from avbench.methods.positions import Grid, Modality
from avbench.rng import numpy_stream
from avbench.training.precision import autocast

if TYPE_CHECKING:
    from avbench.tasks.subject import Subject

_EPSILON = 1e-6  # the objective's, added to a patch's variance


@runtime_checkable
class Reconstructs(Protocol):
    """What the ability ``reconstruction`` asks of a method: patches of images, predicted from those that masks keep."""

    @property
    def grids(self) -> Mapping[Modality, Grid]:
        """The grids of patches of the modalities it takes, audio first."""
        ...

    def images(self, audio: Tensor | None, visual: Tensor | None) -> dict[Modality, Tensor]:
        """Returns what is cut into patches, (B, C, H, W) of each modality, from (B, T, M) and (B, 3, H, W)."""
        ...

    def predict(self, audio: Tensor | None, visual: Tensor | None, *masks: Mask) -> tuple[Tensor, ...]:
        """Returns the prediction of all patches, (B, N, P) a modality; see :class:`~avbench.methods.family`."""
        ...


@dataclass(frozen=True)
class Inpainter:
    """A method with a decoder, and how its patches are made.

    Attributes:
        method: With its weights, in evaluation mode on ``device``.
        input: Sizes and normalisation of its inputs.
        patch_size: Side of a patch.
        norm_pix_loss: It predicts patches of zero mean and unit variance.
        device: Where to compute.
        precision: The arithmetic.
        modalities: What the clips have; the other is neither given to the method nor asked of it.
    """

    method: Reconstructs
    input: InputConfig
    patch_size: int
    norm_pix_loss: bool
    device: str
    precision: Precision
    modalities: tuple[str, ...] = MODALITIES

    @classmethod
    def of(cls, subject: Subject) -> Inpainter:
        """Returns the subject's model.

        Raises:
            InputError: It cannot predict patches, or its decoder was not trained.
        """
        config, method = subject.config, subject.method()
        if not isinstance(method, Reconstructs):
            raise InputError(
                f"method {config.method_name}: found the ability 'reconstruction' without grids, images and predict,"
                " valid: all three, or a card without it."
            )
        if getattr(config.method, "lambda_r", 1.0) == 0:
            raise InputError("method.lambda_r: found 0, valid: above 0, as the task judges what was reconstructed.")
        norm_pix_loss = bool(getattr(config.method, "norm_pix_loss", False))
        patch_size = config.model.patch_size
        has = modalities_of(subject.evaluated)
        return cls(method, config.input, patch_size, norm_pix_loss, subject.device, config.precision, has)

    @property
    def grids(self) -> dict[str, Grid]:
        """The grids of tokens of the modalities that it takes and the clips have, by name, audio first."""
        return {name: grid for name, grid in self.method.grids.items() if name in self.modalities}

    def patches(self, audio: Tensor | None, visual: Tensor | None) -> dict[str, Tensor]:
        """Returns the true patches of each modality, (B, N, P), from (B, T, M) and (B, 3, H, W)."""
        images = self.method.images(audio, visual)
        return {name: patchify(image, self.patch_size).float() for name, image in images.items()}

    def targets(self, audio: Tensor | None, visual: Tensor | None) -> dict[str, Tensor]:
        """Returns what the decoder is to predict of each modality, (B, N, P)."""
        patches = self.patches(audio, visual)
        if not self.norm_pix_loss:
            return patches
        return {name: normalise(true, *statistics(true)) for name, true in patches.items()}

    def predict(self, audio: Tensor | None, visual: Tensor | None, masks: Mapping[str, Mask]) -> dict[str, Tensor]:
        """Returns what the decoder predicts of all patches from the kept ones, float32 (B, N, P) by modality.

        Args:
            audio: (B, T, M).
            visual: (B, 3, H, W).
            masks: One for each modality.
        """
        ordered = [masks[name] for name in self.grids]
        with torch.inference_mode(), autocast(self.precision, self.device):
            found = self.method.predict(audio, visual, *ordered)
        return {name: prediction.float() for name, prediction in zip(self.grids, found, strict=True)}

    def errors(
        self, audio: Tensor | None, visual: Tensor | None, targets: Mapping[str, Tensor], masks: Mapping[str, Mask]
    ) -> dict[str, Tensor]:
        """Returns each clip's mean squared error over its removed patches, (B,) by modality.

        Args:
            audio: (B, T, M).
            visual: (B, 3, H, W).
            targets: (B, N, P) by modality; see :meth:`targets`.
            masks: One for each modality.
        """
        predictions = self.predict(audio, visual, masks)
        return {name: clip_errors(predictions[name], targets[name], masks[name].removed) for name in self.grids}


def statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and deviation of each patch, (B, N, 1), as the objective with ``norm_pix_loss`` takes them."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return mean, (variance + _EPSILON).sqrt()


def normalise(patches: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Returns patches (B, N, P) less their mean, over their deviation.

    Args:
        patches: (B, N, P).
        mean: (B, N, 1).
        deviation: (B, N, 1).
    """
    return (patches - mean) / deviation


def clip_errors(prediction: Tensor, target: Tensor, removed: Tensor) -> Tensor:
    """Returns each clip's mean squared error over its removed patches, (B,).

    Args:
        prediction: (B, N, P).
        target: (B, N, P).
        removed: (B, N) 1 where a patch was removed.
    """
    error = (prediction - target).square().mean(dim=-1)  # (B, N)
    return (error * removed).sum(dim=1) / removed.sum(dim=1).clamp_min(1)


def mask_plans(grids: Mapping[str, Grid], strategy: Strategy, ratio: float, form: Form) -> dict[str, MaskPlan]:
    """Returns how each modality is masked: sound by the strategy, frames uniformly, both at the same ratio.

    Args:
        grids: Of the modalities' patches.
        strategy: Which patches of the sound go together.
        ratio: Share of patches removed.
        form: How they are counted; see ``method.masking_form``.

    Raises:
        InputError: The ratio keeps or removes nothing.
    """
    try:
        plans = {
            name: MaskPlan(grid, ratio, strategy if name == "audio" else "uniform", form)
            for name, grid in grids.items()
        }
        for plan in plans.values():
            plan.check_removes("a larger ratio")
    except InputError as error:
        raise InputError(str(error).replace("method.masking_ratio", "task.ratios")) from None
    return plans


def draws(ids: Sequence[str], grids: Mapping[str, Grid], seed: int) -> dict[str, Draws]:
    """Returns the uniform draws behind the masks of clips: functions of seed, id and modality, and of nothing else.

    Args:
        ids: Of the clips.
        grids: Of the modalities' patches.
        seed: Of the run.
    """
    found = {}
    for name, grid in grids.items():
        sizes = (grid.size, grid.rows, grid.columns)
        values = np.empty((len(ids), sum(sizes)), np.float32)
        for row, clip in zip(values, ids, strict=True):
            numpy_stream(seed, f"reconstruction mask {name}", *clip.encode()).random(out=row, dtype=np.float32)
        tokens, rows, columns = torch.split(torch.from_numpy(values), list(sizes), dim=1)
        found[name] = Draws(tokens, rows, columns)
    return found
