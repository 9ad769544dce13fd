"""CAV-MAE: contrastive audio-visual masked autoencoder (paper 2.3; facts/cavmae.md 1.8-1.12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from avbench.errors import InputError
from avbench.methods.base import (
    Card,
    ContrastConfig,
    MaskNoise,
    PairConfig,
    PretrainOutput,
    ReconstructionConfig,
)
from avbench.methods.decoder import Decoder
from avbench.methods.pair import MaskedPair
from avbench.settings import setting

CARD = Card(
    summary="CAV-MAE: masked reconstruction of both modalities from joint tokens, and contrast between them",
    modalities=("audio", "visual"),
    objectives=("reconstruction", "contrast"),
    tasks=("retrieval", "linear_probe", "classification", "localization", "shuffled_pairs", "reconstruction"),
    parameters=191_036_160,
)


@dataclass(frozen=True, kw_only=True)
class CavMaeConfig(PairConfig, ReconstructionConfig, ContrastConfig):
    """Options of CAV-MAE; defaults are the paper's."""

    lambda_c: float = setting(0.01, "weight of the contrastive loss", ge=0)
    lambda_r: float = setting(1.0, "weight of the reconstruction loss", ge=0)


class CavMae(Decoder, MaskedPair):
    """CAV-MAE's encoder, decoder and losses."""

    name: ClassVar[str] = "cavmae"
    config: CavMaeConfig

    def build(self) -> None:
        """Builds the decoder.

        Raises:
            InputError: Both losses have weight 0, or nothing is removed that could be reconstructed.
        """
        if self.config.lambda_c == 0 and self.config.lambda_r == 0:
            raise InputError("method.lambda_c and method.lambda_r: found 0 and 0, valid: at least one above 0.")
        if self.config.lambda_r > 0:
            for plan in (self.plan_a, self.plan_v):
                plan.check_removes("a larger ratio, or method.lambda_r=0")
        super().build()

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        """Returns the loss lambda_r * (L_r audio + L_r visual) + lambda_c * L_c (paper equation 8).

        Only what a zero weight does not remove is computed.
        """
        config = self.config
        latents = self.encode(audio, visual, noise)
        output = PretrainOutput.empty(audio)
        if config.lambda_r > 0:
            recovered = self.reconstruct(
                latents.joint, latents.masks, audio, visual, norm_pix_loss=config.norm_pix_loss
            )
            output = output.plus(config.lambda_r, recovered)
        if config.lambda_c > 0:
            output = output.plus(config.lambda_c, self.contrast(latents, config))
        return output


CONFIG = CavMaeConfig
METHOD = CavMae
