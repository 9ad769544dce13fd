"""What every method is: a model that pretrains on pairs of sound and frame, and embeds them.

A method file assigns ``CARD`` (literal arguments only: it is read without importing the file), ``CONFIG`` (its
settings class) and ``METHOD`` (its model class, called with config, model, input and ``seed=``).
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.masking import Draws
from avbench.settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class Card:
    """What ``avbench list methods`` says of a method, and which tasks it can do."""

    summary: str
    modalities: tuple[str, ...]
    objectives: tuple[str, ...]
    tasks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MaskingConfig(Settings):
    """How tokens are masked (paper 2.1.3 and Table 2d)."""

    masking_ratio: float = setting(0.75, "share of tokens removed", ge=0, lt=1)
    masking_ratio_audio: float | None = setting(None, "the same for audio alone; null: masking_ratio", ge=0, lt=1)
    masking_ratio_visual: float | None = setting(None, "the same for frames alone; null: masking_ratio", ge=0, lt=1)
    masking_strategy: Literal["uniform", "time", "frequency", "time_frequency"] = setting(
        "uniform", "what is removed of the spectrogram; frames are always uniform"
    )
    masking_form: Literal["exact", "reference"] = setting(
        "exact", "exact: whole lines only; reference: as the authors' code counts"
    )


@dataclass(frozen=True, kw_only=True)
class ReconstructionConfig(MaskingConfig):
    """Masked reconstruction (paper 2.2)."""

    lambda_r: float = setting(1.0, "weight of the reconstruction loss", ge=0)
    norm_pix_loss: bool = setting(True, "reconstruct patches of zero mean and unit variance")


@dataclass(frozen=True, kw_only=True)
class ContrastConfig(MaskingConfig):
    """Contrast between the modalities (paper 2.3)."""

    lambda_c: float = setting(0.01, "weight of the contrastive loss", ge=0)
    temperature: float = setting(0.05, "divisor of the cosine similarities", gt=0)
    contrast: Literal["one_way", "two_way"] = setting(
        "one_way", "one_way: frames look for their sounds (paper); two_way: both directions"
    )


@dataclass(frozen=True)
class MaskNoise:
    """The uniform draws behind one batch of masks; None for a modality the method does not have."""

    audio: Draws | None = None
    visual: Draws | None = None

    def to(self, device: torch.device | str) -> MaskNoise:
        """Returns the draws on another device."""
        return MaskNoise(*(None if draws is None else draws.to(device) for draws in (self.audio, self.visual)))

    def part(self, clips: slice) -> MaskNoise:
        """Returns the draws of some clips of the batch."""
        return MaskNoise(*(None if draws is None else draws.part(clips) for draws in (self.audio, self.visual)))


@dataclass
class PretrainOutput:
    """One step's loss, and what can be looked at."""

    loss: Tensor  # (): what is minimised
    parts: dict[str, Tensor] = field(default_factory=dict)  # () each, detached, before their weights
    mask_audio: Tensor | None = None  # (B, N) float32: 1 removed, 0 kept
    mask_visual: Tensor | None = None  # (B, N)
    prediction_audio: Tensor | None = None  # (B, N, P) predicted patches, where there is a decoder
    prediction_visual: Tensor | None = None  # (B, N, P)


class Method(nn.Module, abc.ABC):
    """Base of all methods. Batches are audio (B, T, M) and visual (B, 3, H, W)."""

    name: ClassVar[str]
    modalities: ClassVar[tuple[str, ...]] = ("audio", "visual")

    config: Settings
    model_config: ModelConfig
    input_config: InputConfig

    @abc.abstractmethod
    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        """Draws the masks' noise for ``batch`` clips: audio first, then visual."""

    @abc.abstractmethod
    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        """Returns the pretraining loss of a batch."""

    @abc.abstractmethod
    def embed(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Returns unmasked retrieval embeddings of unit length, audio and visual.

        Args:
            audio: (B, T, M), or (B, F, T, M) with F windows of each clip.
            visual: (B, 3, H, W), or (B, F, 3, H, W) with F frames of each clip.

        Returns:
            (B, D) or (B, F, D) each, as its input.
        """


def check_shape(name: str, tensor: Tensor, valid: Mapping[str, int]) -> None:
    """Checks the last axes of a batch against the sizes the model was built for.

    Args:
        name: What to call the tensor in an error.
        tensor: A batch: one axis, then those of ``valid``.
        valid: The size of each axis by the setting that gives it.

    Raises:
        InputError: Another number of axes or another size.
    """
    sizes = tuple(valid.values())
    if tensor.ndim != len(sizes) + 1 or tuple(tensor.shape[1:]) != sizes:
        raise InputError(
            f"{name}: found shape {tuple(tensor.shape)}, valid: (batch, {', '.join(map(str, sizes))})"
            f" = (batch, {', '.join(valid)})."
        )
