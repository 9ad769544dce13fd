"""What a step of training minimises: a method's pretraining loss, or the classification loss of fine-tuning."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.errors import InputError
from avbench.methods.base import Method
from avbench.methods.masking import MaskNoise
from avbench.methods.objectives import PretrainOutput


class TrainingBatch(Protocol):
    """What training reads of a batch; see :mod:`avbench.data.feed.dataset`."""

    @property
    def index(self) -> Any:
        """(B,) positions of the clips in the data."""

    @property
    def audio(self) -> Tensor | None:
        """(B, T, M) normalised spectrograms; None of pictures alone."""

    @property
    def visual(self) -> Tensor | None:
        """(B, 3, H, W) normalised frames; None of sound alone."""


class Objective(Protocol):
    """A loss, and the draws behind it."""

    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        """Draws what the loss of ``batch`` clips needs."""
        ...

    def loss(self, batch: TrainingBatch, part: slice, noise: MaskNoise, device: str) -> PretrainOutput:
        """Returns the loss of some clips of a batch, with the draws for these.

        Args:
            batch: On the CPU or the device.
            part: Which clips of it.
            noise: The draws for these.
            device: Where to compute.
        """
        ...


class PretrainingLoss:
    """A method's own loss on masked tokens.

    Args:
        method: The method.
        parallel: What computes its loss, such as the method wrapped for several processes; by default itself.
    """

    def __init__(self, method: Method, parallel: nn.Module | None = None) -> None:
        self._method = method
        self._parallel = parallel or method

    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        """See :class:`Objective`."""
        return self._method.draw_noise(batch, generator)

    def loss(self, batch: TrainingBatch, part: slice, noise: MaskNoise, device: str) -> PretrainOutput:
        """See :class:`Objective`."""
        audio, visual = (
            None if each is None else each[part].to(device, non_blocking=True) for each in (batch.audio, batch.visual)
        )
        output: PretrainOutput = self._parallel(audio, visual, noise.to(device))
        return output


class ClassificationLoss:
    """Binary or soft-target cross-entropy of a fine-tuning model in one mode, means over clips.

    Source: docs/protocol/cavmae.md 3.3.

    Args:
        model: The classifier, or what wraps it for several processes.
        mode: See :data:`avbench.methods.classifier.MODES`.
        kind: ``bce``: each class by itself; ``ce``: classes that exclude each other.
    """

    def __init__(self, model: nn.Module, mode: str, kind: Literal["bce", "ce"]) -> None:
        self._model = model
        self._mode = mode
        self._kind = kind

    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        """Draws nothing: clips come augmented."""
        return MaskNoise()

    def loss(self, batch: TrainingBatch, part: slice, noise: MaskNoise, device: str) -> PretrainOutput:
        """See :class:`Objective`.

        Raises:
            InputError: The batch has no targets.
        """
        target: Tensor | None = getattr(batch, "target", None)
        if target is None:
            raise InputError("batch: found no target, valid: soft labels (B, C); give the data an augment.")
        used = {"multimodal": (True, True), "audioonly": (True, False), "videoonly": (False, True)}[self._mode]
        audio, visual = (
            tensor[part].to(device, non_blocking=True) if needed and tensor is not None else None
            for tensor, needed in zip((batch.audio, batch.visual), used, strict=True)
        )
        logits = self._model(audio, visual, self._mode)
        return PretrainOutput(classification_loss(logits, target[part].to(device, non_blocking=True), self._kind))


def classification_loss(logits: Tensor, target: Tensor, kind: Literal["bce", "ce"]) -> Tensor:
    """Returns the mean loss, ().

    Args:
        logits: (B, C), or (B, F, C) with a prediction for each frame, which all have the clip's target.
        target: Soft labels, (B, C).
        kind: ``bce`` or ``ce``.
    """
    if logits.ndim == 3:
        target = target[:, None].expand_as(logits).flatten(0, 1)
        logits = logits.flatten(0, 1)
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(logits.float(), target)
    return F.cross_entropy(logits.float(), target)
