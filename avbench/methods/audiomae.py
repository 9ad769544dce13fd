"""Audio-MAE: a masked autoencoder of the spectrogram alone (paper 2.1.4 and 3, "Our Single-Modal MAE" of Table 1)."""

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
from avbench.methods.options import AudioMaeConfig
from avbench.methods.place import first_values
from avbench.methods.vit import uninitialised

CARD = Card(
    summary="Audio-MAE: masked reconstruction of the spectrogram, with Vanilla AV-MAE's encoder and decoder",
    modalities=("audio",),
    objectives=("reconstruction",),
    abilities=("vectors", "reconstruction"),
    parameters=111_655_680,
)


class AudioMae(FamilyMethod):
    """Encoder and decoder of audio tokens; frames are not read.

    Args:
        config: Mask and loss.
        model: Sizes of the transformers.
        input: Sizes of the spectrogram.
        seed: Seed of the first weights.

    Raises:
        InputError: Sizes or options that do not fit each other.
    """

    name: ClassVar[str] = "audiomae"
    modalities: ClassVar[tuple[str, ...]] = ("audio",)
    config: AudioMaeConfig
    decoder: Decoder

    def __init__(self, config: AudioMaeConfig, model: ModelConfig, input: InputConfig, *, seed: int = 0) -> None:
        super().__init__(config, model, input)
        with uninitialised():
            self.encoder = Encoder(model, input, modalities=("audio",), vanilla=True)
            self.decoder = Decoder(self.encoder)
        grid = self.encoder.grids["audio"]
        self.plan = MaskPlan(grid, config.masking_ratio, config.masking_strategy, config.masking_form)
        self.plan.check_removes("a larger ratio")
        first_values(self, seed)

    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        """Draws the mask's noise for ``batch`` clips."""
        return MaskNoise(audio=self.plan.draw(batch, generator))

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        """Returns the loss L_r audio (paper equation 4); ``visual`` is not read.

        Args:
            audio: (B, T, M).
            visual: Not read.
            noise: Of the batch's masks, from :meth:`draw_noise`.

        Raises:
            InputError: A shape that does not fit the model, or another method's noise.
        """
        if noise.audio is None:
            raise InputError("mask noise: found none for audio tokens; draw it with draw_noise.")
        encoder, mask = self.encoder, self.plan.mask(noise.audio.to(audio.device))
        latent = encoder.joint(mask.keep(encoder.of("audio").tokens(audio)), "joint")
        images = encoder.images(audio, visual)
        return self.decoder.reconstruct(latent, (mask,), images, norm_pix_loss=self.config.norm_pix_loss)


CONFIG = AudioMaeConfig
METHOD = AudioMae
