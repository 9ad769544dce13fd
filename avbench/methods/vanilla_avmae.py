"""Vanilla AV-MAE: one joint encoder and decoder over the tokens of both modalities (paper 2.2, Figure 1.B bottom)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.base import Card
from avbench.methods.decoder import Decoder
from avbench.methods.encoder import Encoder
from avbench.methods.family import FamilyMethod
from avbench.methods.masking import MaskNoise, MaskPlan
from avbench.methods.objectives import PretrainOutput
from avbench.methods.options import VanillaAvMaeConfig
from avbench.methods.place import first_values
from avbench.methods.positions import Grid
from avbench.methods.vit import uninitialised

CARD = Card(
    summary="Vanilla AV-MAE: one joint encoder over the tokens of both modalities, masked together and reconstructed",
    modalities=("audio", "visual"),
    objectives=("reconstruction",),
    abilities=("embeddings", "vectors", "patch_tokens", "reconstruction"),
    parameters=112_892_416,
)


class VanillaAvMae(FamilyMethod):
    """A joint encoder as deep as CAV-MAE's two together, ``modality_depth + joint_depth`` blocks, and a joint decoder.

    Args:
        config: Mask and loss.
        model: Sizes of the transformers.
        input: Sizes of spectrogram and frame.
        seed: Seed of the first weights.

    Raises:
        InputError: Sizes or options that do not fit each other.
    """

    name: ClassVar[str] = "vanilla_avmae"
    config: VanillaAvMaeConfig
    decoder: Decoder

    def __init__(self, config: VanillaAvMaeConfig, model: ModelConfig, input: InputConfig, *, seed: int = 0) -> None:
        super().__init__(config, model, input)
        with uninitialised():
            self.encoder = Encoder(model, input, vanilla=True)
            self.decoder = Decoder(self.encoder)
        # One mask over all tokens, whatever their modality.
        tokens = sum(grid.size for grid in self.encoder.grids.values())
        self.plan = MaskPlan(Grid(1, tokens), config.masking_ratio)
        self.plan.check_removes("a larger ratio")
        first_values(self, seed)

    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        """Draws the mask's noise for ``batch`` clips: one mask over all tokens, audio first."""
        return MaskNoise(joint=self.plan.draw(batch, generator))

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        """Returns the loss L_r audio + L_r visual (paper equation 4).

        Args:
            audio: (B, T, M).
            visual: (B, 3, H, W).
            noise: Of the batch's masks, from :meth:`draw_noise`.

        Raises:
            InputError: Shapes that do not fit the model, or another method's noise.
        """
        if noise.joint is None:
            raise InputError("mask noise: found none for joint tokens; draw it with draw_noise.")
        encoder = self.encoder
        tokens = torch.cat([encoder.of("audio").tokens(audio), encoder.of("visual").tokens(visual)], dim=1)
        mask = self.plan.mask(noise.joint.to(tokens.device))
        latent, images = encoder.joint(mask.keep(tokens), "joint"), encoder.images(audio, visual)
        return self.decoder.reconstruct(latent, (mask,), images, norm_pix_loss=self.config.norm_pix_loss)


CONFIG = VanillaAvMaeConfig
METHOD = VanillaAvMae
