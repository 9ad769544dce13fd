"""CAV: contrast between masked sound and masked frame, without reconstruction (paper 2.3)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from avbench.config import InputConfig, ModelConfig
from avbench.methods.base import Card
from avbench.methods.encoder import Encoder
from avbench.methods.family import FamilyMethod
from avbench.methods.masking import MaskNoise
from avbench.methods.objectives import PretrainOutput, contrastive
from avbench.methods.options import CavConfig
from avbench.methods.place import first_values
from avbench.methods.vit import uninitialised

CARD = Card(
    summary="CAV: CAV-MAE's encoder trained by contrast between the modalities alone; no decoder",
    modalities=("audio", "visual"),
    objectives=("contrast",),
    abilities=("embeddings", "vectors", "patch_tokens"),
    parameters=164_500_224,
)


class Cav(FamilyMethod):
    """CAV-MAE's encoder in its two single-modality streams.

    The LayerNorms of the joint stream are there, so that its weights fine-tune as CAV-MAE's do, but are not trained.

    Args:
        config: Loss and masks.
        model: Sizes of the transformers.
        input: Sizes of spectrogram and frame.
        seed: Seed of the first weights.

    Raises:
        InputError: Sizes or options that do not fit each other.
    """

    name: ClassVar[str] = "cav"
    config: CavConfig

    def __init__(self, config: CavConfig, model: ModelConfig, input: InputConfig, *, seed: int = 0) -> None:
        super().__init__(config, model, input)
        with uninitialised():
            self.encoder = Encoder(model, input, modality_norms=config.modality_norms)
        self.plan = config.plan(self.encoder.grids)
        first_values(self, seed)

    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        """Draws the masks' noise for ``batch`` clips: audio first, then visual."""
        return self.plan.draw(batch, generator)

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        """Returns the loss lambda_c * L_c (paper equations 7 and 8).

        Args:
            audio: (B, T, M).
            visual: (B, 3, H, W).
            noise: Of the batch's masks, from :meth:`draw_noise`.
        """
        encoder, masks = self.encoder, self.plan.masks(noise, audio.device)
        sound = encoder.encode("audio", masks.audio.keep(encoder.of("audio").tokens(audio)))
        frame = encoder.encode("visual", masks.visual.keep(encoder.of("visual").tokens(visual)))
        pair = encoder.pool(encoder.stream("audio", sound)), encoder.pool(encoder.stream("visual", frame))
        found = contrastive([pair], masks, self.config)
        return PretrainOutput.empty(audio).plus(self.config.lambda_c, found)


CONFIG = CavConfig
METHOD = Cav
