"""AV-MAE: CAV-MAE's architecture without the contrast, lambda_c = 0 (paper 3 and Table 1)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from avbench.config import InputConfig, ModelConfig
from avbench.methods.base import Card
from avbench.methods.decoder import Decoder
from avbench.methods.encoder import Encoder
from avbench.methods.family import FamilyMethod
from avbench.methods.masking import MaskNoise
from avbench.methods.objectives import PretrainOutput
from avbench.methods.options import AvMaeConfig
from avbench.methods.place import first_values
from avbench.methods.vit import uninitialised

CARD = Card(
    summary="AV-MAE: CAV-MAE without contrast; masked reconstruction of both modalities from joint tokens",
    modalities=("audio", "visual"),
    objectives=("reconstruction",),
    abilities=("embeddings", "vectors", "patch_tokens", "reconstruction"),
    parameters=191_036_160,
)


class AvMae(FamilyMethod):
    """CAV-MAE's encoder and decoder.

    The single-modality streams are there, with the joint encoder's weights, but their LayerNorms are not trained.

    Args:
        config: Loss and masks.
        model: Sizes of the transformers.
        input: Sizes of spectrogram and frame.
        seed: Seed of the first weights.

    Raises:
        InputError: Sizes or options that do not fit each other.
    """

    name: ClassVar[str] = "avmae"
    config: AvMaeConfig
    decoder: Decoder

    def __init__(self, config: AvMaeConfig, model: ModelConfig, input: InputConfig, *, seed: int = 0) -> None:
        super().__init__(config, model, input)
        with uninitialised():
            self.encoder = Encoder(model, input, modality_norms=config.modality_norms)
            self.decoder = Decoder(self.encoder)
        self.plan = config.plan(self.encoder.grids)
        self.plan.check_removes("a larger ratio")
        first_values(self, seed)

    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        """Draws the masks' noise for ``batch`` clips: audio first, then visual."""
        return self.plan.draw(batch, generator)

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        """Returns the loss L_r audio + L_r visual (paper equation 4).

        Args:
            audio: (B, T, M).
            visual: (B, 3, H, W).
            noise: Of the batch's masks, from :meth:`draw_noise`.
        """
        encoder, masks = self.encoder, self.plan.masks(noise, audio.device)
        sound = encoder.encode("audio", masks.audio.keep(encoder.of("audio").tokens(audio)))
        frame = encoder.encode("visual", masks.visual.keep(encoder.of("visual").tokens(visual)))
        latent, images = encoder.joint_stream(sound, frame), encoder.images(audio, visual)
        return self.decoder.reconstruct(latent, masks, images, norm_pix_loss=self.config.norm_pix_loss)


CONFIG = AvMaeConfig
METHOD = AvMae
