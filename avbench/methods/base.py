"""What every method is: a model that pretrains on pairs of sound and frame, and embeds them.

A method file assigns ``CARD`` (literal arguments only: it is read without importing the file), ``CONFIG`` (its
settings class) and ``METHOD`` (its model class, called with config, model, input and ``seed=``).
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
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
    parameters: int | None = None  # at the paper's sizes, the default configuration
    frames: tuple[int, str] = (10, "even")  # data.n_frames and data.sampling where nothing else names them


@dataclass(frozen=True, kw_only=True)
class MaskingConfig(Settings):
    """How many tokens are masked (paper 2.1.3)."""

    masking_ratio: float = setting(0.75, "share of tokens removed", ge=0, lt=1)


@dataclass(frozen=True, kw_only=True)
class SoundMaskingConfig(MaskingConfig):
    """How a spectrogram is masked (paper Table 2d)."""

    masking_strategy: Literal["uniform", "time", "frequency", "time_frequency"] = setting(
        "uniform", "what is removed of the spectrogram; frames are always uniform"
    )
    masking_form: Literal["exact", "reference"] = setting(
        "exact", "exact: whole lines only; reference: as the authors' code counts"
    )


@dataclass(frozen=True, kw_only=True)
class PairConfig(SoundMaskingConfig):
    """How the two modalities are masked and normalised apart (paper 2.3)."""

    masking_ratio_audio: float | None = setting(None, "the same for audio alone; null: masking_ratio", ge=0, lt=1)
    masking_ratio_visual: float | None = setting(None, "the same for frames alone; null: masking_ratio", ge=0, lt=1)
    modality_norms: bool = setting(True, "LayerNorms of their own for the single-modality streams of the joint encoder")


@dataclass(frozen=True, kw_only=True)
class ReconstructionConfig(Settings):
    """Masked reconstruction (paper 2.2)."""

    norm_pix_loss: bool = setting(True, "reconstruct patches of zero mean and unit variance")


@dataclass(frozen=True, kw_only=True)
class ContrastConfig(Settings):
    """Contrast between the modalities (paper 2.3)."""

    temperature: float = setting(0.05, "divisor of the cosine similarities", gt=0)
    contrast: Literal["one_way", "two_way"] = setting(
        "one_way", "one_way: frames look for their sounds (paper); two_way: both directions"
    )
    negatives: Literal["local", "gathered"] = setting(
        "local", "other clips of a process's own batch (paper), or of all processes' batches"
    )


@dataclass(frozen=True)
class MaskNoise:
    """The uniform draws behind one batch of masks; None where a method has no such mask."""

    audio: Draws | None = None
    visual: Draws | None = None
    joint: Draws | None = None  # of all tokens together, audio first

    def to(self, device: torch.device | str) -> MaskNoise:
        """Returns the draws on another device."""
        return self._each(lambda draws: draws.to(device))

    def part(self, clips: slice) -> MaskNoise:
        """Returns the draws of some clips of the batch."""
        return self._each(lambda draws: draws.part(clips))

    def _each(self, change: Callable[[Draws], Draws]) -> MaskNoise:
        return MaskNoise(*(None if draws is None else change(draws) for draws in (self.audio, self.visual, self.joint)))


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

    def vectors(self, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        """Returns one unmasked vector for each stream, not normalised: what probes read.

        Those of ``audio`` and ``visual`` at unit length are taken for what :meth:`embed` returns where one class
        defines both; where not, retrieval asks :meth:`embed` and probes ask here.

        Args:
            audio: (B, T, M), or (B, F, T, M).
            visual: (B, 3, H, W), or (B, F, 3, H, W).

        Returns:
            ``audio``, ``visual`` and ``joint``, those the method has, to float32 (B, D) or (B, F, D); here none.
        """
        return {}

    def local_tokens(self, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        """Returns what localization compares; see :meth:`avbench.methods.tokens.Tokens.local_tokens`; here nothing."""
        return {}


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
