"""What every method is: a model that embeds sound and frame, and may pretrain on pairs of them.

A method file assigns ``CARD`` (literal arguments only: it is read without importing the file), ``CONFIG`` (its
settings class) and ``METHOD`` (its model class, called with config, model, input and ``seed=``).
"""

from __future__ import annotations

import abc
import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from avbench.config import InputConfig, ModelConfig
from avbench.methods.masking import MaskNoise
from avbench.methods.objectives import PretrainOutput
from avbench.methods.pooled import FinetunedEncoder, PooledEncoder
from avbench.methods.published import Published
from avbench.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Card:
    """What ``avbench list methods`` says of a method, and what it can do: a task says what it asks for.

    Attributes:
        summary: One line.
        modalities: Those it takes.
        abilities: What tasks may ask of it: ``embeddings`` (``embed``), ``vectors``, ``patch_tokens``
            (``local_tokens``), ``reconstruction`` (``grids``, ``images``, ``predict``), and any word that tasks from
            outside use.
        objectives: What it is pretrained by, which is the ability ``pretraining``; none: it is judged as it is built.
        parameters: Their number at the paper's sizes, the default configuration.
        frames: ``data.n_frames`` and ``data.sampling`` where nothing else names them.
    """

    summary: str
    modalities: tuple[str, ...]
    abilities: tuple[str, ...]
    objectives: tuple[str, ...] = ()
    parameters: int | None = None
    frames: tuple[int, str] = (10, "even")


class Method(Published, abc.ABC):
    """Base of all methods. Batches are audio (B, T, M) and visual (B, 3, H, W)."""

    name: ClassVar[str]
    modalities: ClassVar[tuple[str, ...]] = ("audio", "visual")

    config: Settings
    model_config: ModelConfig
    input_config: InputConfig

    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        """Draws what the loss of ``batch`` clips needs, such as masks, audio first, then visual; here nothing."""
        return MaskNoise()

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        """Returns the pretraining loss of a batch; of a method without objectives there is none.

        Args:
            audio: (B, T, M).
            visual: (B, 3, H, W).
            noise: What :meth:`draw_noise` drew.
        """
        raise NotImplementedError(f"{type(self).__name__} has no pretraining loss")

    @abc.abstractmethod
    def embed(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Returns unmasked retrieval embeddings of unit length, audio and visual.

        Args:
            audio: (B, T, M), or (B, F, T, M) with F windows of each clip.
            visual: (B, 3, H, W), or (B, F, 3, H, W) with F frames of each clip.

        Returns:
            (B, D) or (B, F, D) each, as its input.
        """

    def vectors(self, audio: Tensor | None, visual: Tensor | None) -> dict[str, Tensor]:
        """Returns one unmasked vector for each stream, not normalised: what probes read.

        Those of ``audio`` and ``visual`` at unit length are taken for what :meth:`embed` returns where one class
        defines both; where not, retrieval asks :meth:`embed` and probes ask here.

        Args:
            audio: (B, T, M), or (B, F, T, M); None where the data have pictures alone.
            visual: (B, 3, H, W), or (B, F, 3, H, W); None where they have sound alone.

        Returns:
            ``audio``, ``visual`` and ``joint``, those the method has, to float32 (B, D) or (B, F, D); here none.
        """
        return {}

    def local_tokens(self, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        """Returns what localization compares; see :func:`avbench.methods.streams.local_tokens`; here nothing."""
        return {}

    def encoder_to_finetune(self) -> FinetunedEncoder:
        """Returns a copy of what classification puts a head on, with the weights; here what :meth:`vectors` gives."""
        return PooledEncoder(copy.deepcopy(self).to(torch.get_default_device()))
