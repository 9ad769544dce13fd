"""What the models are trained for: masked reconstruction and contrast between the modalities (paper 2.2-2.3).

Losses are computed in float32 whatever the precision of the features.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, distributed

from avbench.methods.masking import PairMasks
from avbench.methods.options import ContrastConfig
from avbench.methods.positions import Grid

Contrast = Literal["one_way", "two_way"]


@dataclass
class PretrainOutput:
    """One step's loss, and what can be looked at."""

    loss: Tensor  # (): what is minimised
    parts: dict[str, Tensor] = field(default_factory=dict)  # () each, detached, before their weights
    mask_audio: Tensor | None = None  # (B, N) float32: 1 removed, 0 kept
    mask_visual: Tensor | None = None  # (B, N)
    prediction_audio: Tensor | None = None  # (B, N, P) predicted patches, where there is a decoder
    prediction_visual: Tensor | None = None  # (B, N, P)

    @classmethod
    def empty(cls, like: Tensor) -> PretrainOutput:
        """Returns a loss of nothing, on the device of a tensor."""
        return cls(torch.zeros((), device=like.device))

    def plus(self, weight: float, other: PretrainOutput) -> PretrainOutput:
        """Returns this with ``weight`` times the loss of ``other``, and with what that has to look at."""
        found = {
            field.name: value
            for field in fields(other)
            if field.name not in ("loss", "parts") and (value := getattr(other, field.name)) is not None
        }
        return replace(self, loss=self.loss + weight * other.loss, parts=self.parts | other.parts, **found)


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cuts images into patches: (B, C, rows * p, columns * p) -> (B, rows * columns, p * p * C).

    A patch is flattened by pixel row, pixel column and channel, channel fastest (docs/protocol/cavmae.md 1.6).
    """
    batch, channels, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    patches = images.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return patches.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, -1)


def unpatchify(patches: Tensor, grid: Grid, patch_size: int) -> Tensor:
    """Puts patches back together: (B, N, p * p * C) -> (B, C, rows * p, columns * p), the inverse of patchify.

    Args:
        patches: (B, rows * columns, p * p * C).
        grid: Rows and columns of patches.
        patch_size: p.
    """
    batch = patches.shape[0]
    pixels = patches.reshape(batch, grid.rows, grid.columns, patch_size, patch_size, -1)
    return pixels.permute(0, 5, 1, 3, 2, 4).reshape(batch, -1, grid.rows * patch_size, grid.columns * patch_size)


def masked_reconstruction(prediction: Tensor, target: Tensor, removed: Tensor, *, norm_pix_loss: bool) -> Tensor:
    """Returns the mean squared error over the removed patches of the whole batch (paper equations 4 and 5).

    Args:
        prediction: (B, N, P) predicted patches.
        target: (B, N, P) true patches.
        removed: (B, N) 1 where a patch was removed, 0 where it was seen.
        norm_pix_loss: Compare with patches of zero mean and unit (unbiased) variance.
    """
    target = target.float()
    if norm_pix_loss:
        variance, mean = torch.var_mean(target, dim=-1, keepdim=True)
        target = (target - mean) * (variance + 1e-6).rsqrt()
    error = (prediction.float() - target).square().mean(dim=-1)  # (B, N)
    # A mask over both modalities removes more of one clip's sound than of another's, so processes that each have
    # some of the clips share the count: the mean of their losses is then the loss of all clips.
    return (error * removed).sum() / process_mean(removed.sum()).clamp_min(1)


def contrast(audio: Tensor, visual: Tensor, *, temperature: float, direction: Contrast) -> tuple[Tensor, Tensor]:
    """Returns the contrastive loss of matched rows and the share of rows that find their match (paper equation 7).

    Args:
        audio: (B, D) audio representations, of any length.
        visual: (B, D) visual representations; row i belongs to audio row i.
        temperature: Divisor of the cosine similarities.
        direction: ``one_way`` asks each frame for its sound among all sounds, as the paper does; ``two_way`` is the
            mean of that and of the other direction.
    """
    logits = F.normalize(visual.float(), dim=-1) @ F.normalize(audio.float(), dim=-1).T / temperature  # (B, B)
    loss, accuracy = _matching(logits)
    if direction == "two_way":
        loss_back, accuracy_back = _matching(logits.T)
        return (loss + loss_back) / 2, (accuracy + accuracy_back) / 2
    return loss, accuracy


def contrastive(pairs: Sequence[tuple[Tensor, Tensor]], masks: PairMasks, config: ContrastConfig) -> PretrainOutput:
    """Returns the loss L_c (paper equation 7), the mean over what is contrasted.

    Args:
        pairs: Audio and visual vectors, (B, D) each; row i of both is clip i.
        masks: Those behind the vectors.
        config: Temperature, direction, and whose clips are the negatives.
    """
    if config.negatives == "gathered":
        pairs = [(gather(audio), gather(visual)) for audio, visual in pairs]
    found = [
        contrast(audio, visual, temperature=config.temperature, direction=config.contrast) for audio, visual in pairs
    ]
    loss, accuracy = (torch.stack(values).mean() for values in zip(*found, strict=True))
    parts = {"contrast": loss.detach(), "contrast_accuracy": accuracy}
    return PretrainOutput(loss, parts, masks.audio.removed, masks.visual.removed)


class _Gather(torch.autograd.Function):
    """Concatenates what every process has; the gradient of each part goes back to the process it came from."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        ctx.rows = len(vectors)
        parts = [torch.empty_like(vectors) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, vectors.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous()
        distributed.all_reduce(gradient)
        first = distributed.get_rank() * ctx.rows
        return gradient[first : first + ctx.rows]


_ALONE: ContextVar[bool] = ContextVar("alone", default=False)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Lets :func:`gather` and :func:`process_mean` return what they get: for work that processes do not share."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def _several() -> bool:
    return not _ALONE.get() and distributed.is_available() and distributed.is_initialized()


def process_mean(value: Tensor) -> Tensor:
    """Returns the mean over all processes of a value without gradient, of any shape; alone, the value as it is."""
    if not _several():
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


def gather(vectors: Tensor) -> Tensor:
    """Returns the rows of all processes in the order of their ranks, with gradient; alone, the rows as they are.

    Args:
        vectors: (B, D), as many rows in every process.

    Returns:
        (processes * B, D).
    """
    if not _several():
        return vectors
    rows: Tensor = _Gather.apply(vectors)
    return rows


def _matching(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Returns cross-entropy and accuracy of square logits whose diagonal is right."""
    match = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, match), (logits.detach().argmax(dim=1) == match).float().mean()
