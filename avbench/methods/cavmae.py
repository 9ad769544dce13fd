"""CAV-MAE: contrastive audio-visual masked autoencoder (paper 2.3)."""

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
from avbench.methods.objectives import PretrainOutput, contrastive
from avbench.methods.options import CavMaeConfig
from avbench.methods.place import first_values
from avbench.methods.vit import uninitialised

CARD = Card(
    summary="CAV-MAE: masked reconstruction of both modalities from joint tokens, and contrast between them",
    modalities=("audio", "visual"),
    objectives=("reconstruction", "contrast"),
    abilities=("embeddings", "vectors", "patch_tokens", "reconstruction"),
    parameters=191_036_160,
)


class CavMae(FamilyMethod):
    """CAV-MAE's encoder, decoder and losses.

    Args:
        config: Losses and masks.
        model: Sizes of the transformers.
        input: Sizes of spectrogram and frame.
        seed: Seed of the first weights.

    Raises:
        InputError: Sizes or options that do not fit each other.
    """

    name: ClassVar[str] = "cavmae"
    config: CavMaeConfig
    decoder: Decoder

    def __init__(self, config: CavMaeConfig, model: ModelConfig, input: InputConfig, *, seed: int = 0) -> None:
        super().__init__(config, model, input)
        config.check()
        with uninitialised():
            self.encoder = Encoder(model, input, modality_norms=config.modality_norms)
            self.decoder = Decoder(self.encoder)
        self.plan = config.plan(self.encoder.grids)
        if config.lambda_r > 0:
            self.plan.check_removes("a larger ratio, or method.lambda_r=0")
        first_values(self, seed)

    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        """Draws the masks' noise for ``batch`` clips: audio first, then visual."""
        return self.plan.draw(batch, generator)

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        """Returns the loss lambda_r * (L_r audio + L_r visual) + lambda_c * L_c (paper equation 8).

        Only what a zero weight does not remove is computed.

        Args:
            audio: (B, T, M).
            visual: (B, 3, H, W).
            noise: Of the batch's masks, from :meth:`draw_noise`.
        """
        config, encoder, masks = self.config, self.encoder, self.plan.masks(noise, audio.device)
        # Each modality's visible tokens pass a transformer of their own.
        sound = encoder.encode("audio", masks.audio.keep(encoder.of("audio").tokens(audio)))
        frame = encoder.encode("visual", masks.visual.keep(encoder.of("visual").tokens(visual)))
        output = PretrainOutput.empty(audio)
        if config.lambda_r > 0:  # the joint stream: both together, decoded to what was removed
            latent = encoder.joint_stream(sound, frame)
            images = encoder.images(audio, visual)
            recovered = self.decoder.reconstruct(latent, masks, images, norm_pix_loss=config.norm_pix_loss)
            output = output.plus(config.lambda_r, recovered)
        if config.lambda_c > 0:  # the single streams: the same joint transformer sees each alone, pooled and compared
            pair = encoder.pool(encoder.stream("audio", sound)), encoder.pool(encoder.stream("visual", frame))
            output = output.plus(config.lambda_c, contrastive([pair], masks, config))
        return output


CONFIG = CavMaeConfig
METHOD = CavMae
