"""CAV: contrast between masked sound and masked frame, without reconstruction (paper 2.3; facts/cavmae.md 1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from avbench.methods.base import Card, ContrastConfig, MaskNoise, PairConfig, PretrainOutput
from avbench.methods.pair import MaskedPair
from avbench.settings import setting

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

    lambda_c: float = setting(
        0.01, "weight of the loss: Adam's epsilon and decay see the scale (paper Table 3: 0.1 and 0.01)", gt=0
    )


class Cav(MaskedPair):
    """CAV-MAE's encoder in its two single-modality streams.

    The LayerNorms of the joint stream are there, so that its weights fine-tune as CAV-MAE's do, but are not trained.
    """

    name: ClassVar[str] = "cav"
    config: CavConfig

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        """Returns the loss lambda_c * L_c (paper equations 7 and 8)."""
        contrast = self.contrast(self.encode(audio, visual, noise), self.config)
        return PretrainOutput.empty(audio).plus(self.config.lambda_c, contrast)


CONFIG = CavConfig
METHOD = Cav
