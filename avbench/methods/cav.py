"""CAV: contrast between masked sound and masked frame, without reconstruction (paper 2.3; facts/cavmae.md 1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from avbench.methods.base import Card, ContrastConfig, MaskNoise, PairConfig, PretrainOutput
from avbench.methods.pair import MaskedPair

CARD = Card(
    summary="CAV: CAV-MAE's encoder trained by contrast between the modalities alone; no decoder",
    modalities=("audio", "visual"),
    objectives=("contrast",),
    tasks=("retrieval", "linear_probe", "classification", "localization", "shuffled_pairs"),
    parameters=164_500_224,
)


@dataclass(frozen=True, kw_only=True)
class CavConfig(PairConfig, ContrastConfig):
    """Options of CAV; defaults are the paper's."""


class Cav(MaskedPair):
    """CAV-MAE's encoder in its two single-modality streams.

    The LayerNorms of the joint stream are there, so that its weights fine-tune as CAV-MAE's do, but are not trained.
    """

    name: ClassVar[str] = "cav"
    config: CavConfig

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        """Returns the loss L_c (paper equation 7)."""
        return self.contrast(self.encode(audio, visual, noise), self.config)


CONFIG = CavConfig
METHOD = Cav
