"""AV-MAE: CAV-MAE's architecture without the contrast, lambda_c = 0 (paper 3 and Table 1; facts/cavmae.md 1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from avbench.methods.base import Card, MaskNoise, PairConfig, PretrainOutput, ReconstructionConfig
from avbench.methods.decoder import Decoder
from avbench.methods.pair import MaskedPair

CARD = Card(
    summary="AV-MAE: CAV-MAE without contrast; masked reconstruction of both modalities from joint tokens",
    modalities=("audio", "visual"),
    objectives=("reconstruction",),
    tasks=("retrieval", "linear_probe", "classification", "localization", "shuffled_pairs", "reconstruction"),
    parameters=191_036_160,
)


@dataclass(frozen=True, kw_only=True)
class AvMaeConfig(PairConfig, ReconstructionConfig):
    """Options of AV-MAE; defaults are the paper's."""


class AvMae(Decoder, MaskedPair):
    """CAV-MAE's encoder and decoder.

    The single-modality streams are there, with the joint encoder's weights, but their LayerNorms are not trained.
    """

    name: ClassVar[str] = "avmae"
    config: AvMaeConfig

    def build(self) -> None:
        """Builds the decoder.

        Raises:
            InputError: Nothing is removed that could be reconstructed.
        """
        for plan in (self.plan_a, self.plan_v):
            plan.check_removes("a larger ratio")
        super().build()

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        """Returns the loss L_r audio + L_r visual (paper equation 4)."""
        latents = self.encode(audio, visual, noise)
        return self.reconstruct(latents.joint, latents.masks, audio, visual, norm_pix_loss=self.config.norm_pix_loss)


CONFIG = AvMaeConfig
METHOD = AvMae
