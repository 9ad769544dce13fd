"""What every method is: a model that pretrains on pairs of sound and frame, and embeds them.

A method file assigns ``CARD`` (literal arguments only: it is read without importing the file), ``CONFIG`` (its
settings class) and ``METHOD`` (its model class, called with config, model, input and ``seed=``).
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from avbench.config import InputConfig, ModelConfig
from avbench.methods.masking import MaskNoise
from avbench.methods.objectives import PretrainOutput
from avbench.methods.published import Published
from avbench.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Card:
    """What ``avbench list methods`` says of a method, and which tasks it can do."""

    summary: str
    modalities: tuple[str, ...]
    objectives: tuple[str, ...]
    tasks: tuple[str, ...]
    parameters: int | None = None  # at the paper's sizes, the default configuration
    frames: tuple[int, str] = (10, "even")  # data.n_frames and data.sampling where nothing else names them


class Method(Published, abc.ABC):
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
        """Returns what localization compares; see :func:`avbench.methods.streams.local_tokens`; here nothing."""
        return {}
