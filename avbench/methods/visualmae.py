"""Visual-MAE: a masked autoencoder of a frame alone (paper 2.1.4 and 3, "Our Single-Modal MAE" of Table 1)."""

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
from avbench.methods.options import VisualMaeConfig
from avbench.methods.place import first_values
from avbench.methods.vit import uninitialised

CARD = Card(
    summary="Visual-MAE: masked reconstruction of a frame, with Vanilla AV-MAE's encoder and decoder",
    modalities=("visual",),
    objectives=("reconstruction",),
    abilities=("vectors", "reconstruction"),
    parameters=111_907_072,
)


class VisualMae(FamilyMethod):
    """Encoder and decoder of visual tokens; the sound is not read.

    Args:
        config: Mask and loss.
        model: Sizes of the transformers.
        input: Sizes of the frame.
        seed: Seed of the first weights.

    Raises:
        InputError: Sizes or options that do not fit each other.
    """

    name: ClassVar[str] = "visualmae"
    modalities: ClassVar[tuple[str, ...]] = ("visual",)
    config: VisualMaeConfig
    decoder: Decoder

    def __init__(self, config: VisualMaeConfig, model: ModelConfig, input: InputConfig, *, seed: int = 0) -> None:
        super().__init__(config, model, input)
        with uninitialised():
            self.encoder = Encoder(model, input, modalities=("visual",), vanilla=True)
            self.decoder = Decoder(self.encoder)
        self.plan = MaskPlan(self.encoder.grids["visual"], config.masking_ratio)
        self.plan.check_removes("a larger ratio")
        first_values(self, seed)

    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        """Draws the mask's noise for ``batch`` clips."""
        return MaskNoise(visual=self.plan.draw(batch, generator))

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        """Returns the loss L_r visual (paper equation 4); ``audio`` is not read.

        Args:
            audio: Not read.
            visual: (B, 3, H, W).
            noise: Of the batch's masks, from :meth:`draw_noise`.

        Raises:
            InputError: A shape that does not fit the model, or another method's noise.
        """
        if noise.visual is None:
            raise InputError("mask noise: found none for visual tokens; draw it with draw_noise.")
        encoder, mask = self.encoder, self.plan.mask(noise.visual.to(visual.device))
        latent = encoder.joint(mask.keep(encoder.of("visual").tokens(visual)), "joint")
        images = encoder.images(audio, visual)
        return self.decoder.reconstruct(latent, (mask,), images, norm_pix_loss=self.config.norm_pix_loss)


CONFIG = VisualMaeConfig
METHOD = VisualMae
