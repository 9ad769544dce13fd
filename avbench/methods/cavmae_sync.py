"""CAV-MAE Sync: sound as windows aligned with frames, global and register tokens (Sync paper 3)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from avbench.config import InputConfig, ModelConfig
from avbench.methods.base import Card
from avbench.methods.decoder import Decoder
from avbench.methods.family import FamilyMethod
from avbench.methods.masking import MaskNoise
from avbench.methods.objectives import PretrainOutput, contrastive
from avbench.methods.options import CavMaeSyncConfig
from avbench.methods.place import first_values
from avbench.methods.sync_encoder import SyncEncoder
from avbench.methods.vit import uninitialised

CARD = Card(
    summary="CAV-MAE Sync: CAV-MAE on audio windows around frames; contrast by global tokens, with registers",
    modalities=("audio", "visual"),
    objectives=("reconstruction", "contrast"),
    abilities=("embeddings", "vectors", "patch_tokens", "reconstruction"),
    parameters=190_660_864,
    frames=(16, "ends"),
)


class CavMaeSync(FamilyMethod):
    """CAV-MAE with more tokens, none of them ever masked; see :class:`~avbench.methods.sync_encoder.SyncEncoder`.

    Only patches are reconstructed; the global tokens meet in the contrast, and stand for their modality in retrieval.

    Args:
        config: Tokens, losses and masks.
        model: Sizes of the transformers.
        input: Sizes of audio windows and frames.
        seed: Seed of the first weights.

    Raises:
        InputError: Sizes or options that do not fit each other.
    """

    name: ClassVar[str] = "cavmae_sync"
    config: CavMaeSyncConfig
    decoder: Decoder

    def __init__(self, config: CavMaeSyncConfig, model: ModelConfig, input: InputConfig, *, seed: int = 0) -> None:
        super().__init__(config, model, input)
        config.check()
        with uninitialised():
            self.encoder = SyncEncoder(config.extra(), model, input, modality_norms=config.modality_norms)
            self.decoder = Decoder(self.encoder)
        # Where ratios are drawn, those of the two modalities are drawn apart.
        self.plan = config.plan(self.encoder.grids).drawn_from(config.masking_ratio_range)
        if config.lambda_r > 0:
            self.plan.check_removes("a larger ratio, or method.lambda_r=0")
        first_values(self, seed)

    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        """Draws the masks' noise for ``batch`` clips: audio first, then visual."""
        return self.plan.draw(batch, generator)

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        """Returns the loss lambda_r * (L_r audio + L_r visual) + lambda_c * L_c, L_c of the global tokens.

        Only what a zero weight does not remove is computed.

        Args:
            audio: (B, T, M).
            visual: (B, 3, H, W).
            noise: Of the batch's masks, from :meth:`draw_noise`.
        """
        config, encoder, masks = self.config, self.encoder, self.plan.masks(noise, audio.device)
        # Global token, visible patches and registers of each modality pass its own transformer.
        sound = encoder.encode("audio", masks.audio.keep(encoder.of("audio").tokens(audio)))
        frame = encoder.encode("visual", masks.visual.keep(encoder.of("visual").tokens(visual)))
        output = PretrainOutput.empty(audio)
        if config.lambda_r > 0:  # the joint stream holds patches alone
            latent = encoder.joint_stream(sound, frame)
            images = encoder.images(audio, visual)
            recovered = self.decoder.reconstruct(latent, masks, images, norm_pix_loss=config.norm_pix_loss)
            output = output.plus(config.lambda_r, recovered)
        if config.lambda_c > 0:
            heard, seen = encoder.stream("audio", sound), encoder.stream("visual", frame)
            pairs = [(encoder.pool(heard), encoder.pool(seen))]
            if config.global_local:
                pairs.append((encoder.patches(heard).mean(dim=1), encoder.patches(seen).mean(dim=1)))
            output = output.plus(config.lambda_c, contrastive(pairs, masks, config))
        return output


CONFIG = CavMaeSyncConfig
METHOD = CavMaeSync
