"""CAV-MAE: contrastive audio-visual masked autoencoder (paper 2.3; facts/cavmae.md 1.8-1.12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.base import Card, ContrastConfig, MaskNoise, Method, PretrainOutput, ReconstructionConfig
from avbench.methods.encoder import AudioVisualEncoder
from avbench.methods.masking import Mask, MaskPlan
from avbench.methods.objectives import contrast, masked_reconstruction, patchify
from avbench.methods.vit import Block, token, uninitialised
from avbench.settings import setting

CARD = Card(
    summary="CAV-MAE: masked reconstruction of both modalities from joint tokens, and contrast between them",
    modalities=("audio", "visual"),
    objectives=("reconstruction", "contrast"),
    tasks=("retrieval",),
)


@dataclass(frozen=True, kw_only=True)
class CavMaeConfig(ReconstructionConfig, ContrastConfig):
    """Options of CAV-MAE; defaults are the paper's."""

    modality_norms: bool = setting(True, "LayerNorms of their own for the single-modality streams of the joint encoder")


class Latents(NamedTuple):
    """Encoded kept tokens: (B, K, D) each; None where a zero weight leaves the stream out."""

    joint: Tensor | None  # audio tokens first, then visual ones
    audio: Tensor | None
    visual: Tensor | None
    mask_a: Mask
    mask_v: Mask


class CavMae(AudioVisualEncoder, Method):
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

    def __init__(self, config: CavMaeConfig, model: ModelConfig, input: InputConfig, *, seed: int = 0) -> None:
        with uninitialised():
            super().__init__(model, input, modality_norms=config.modality_norms)
            self.config = config
            self._check()
            self._build_decoder()
        self.initialise(seed)

    def _check(self) -> None:
        config = self.config
        if config.lambda_c == 0 and config.lambda_r == 0:
            raise InputError("method.lambda_c and method.lambda_r: found 0 and 0, valid: at least one above 0.")
        ratios = [
            config.masking_ratio if ratio is None else ratio
            for ratio in (config.masking_ratio_audio, config.masking_ratio_visual)
        ]
        self.plan_a = MaskPlan(self.grid_a, ratios[0], config.masking_strategy, config.masking_form)
        self.plan_v = MaskPlan(self.grid_v, ratios[1])
        for plan in (self.plan_a, self.plan_v):
            if config.lambda_r > 0 and plan.n_kept == plan.grid.size:
                raise InputError(
                    f"method.masking_ratio: found {plan.ratio}, which removes none of {plan.grid.size} tokens; valid:"
                    " a larger ratio, or method.lambda_r=0."
                )

    def _build_decoder(self) -> None:
        model, width = self.model_config, self.model_config.decoder_embed_dim
        pixels = model.patch_size**2
        self.mask_token = token(width)
        self.decoder_modality_a = token(width)
        self.decoder_modality_v = token(width)
        self.decoder_pos_embed_a = nn.Parameter(torch.empty(1, self.grid_a.size, width), requires_grad=False)
        self.decoder_pos_embed_v = nn.Parameter(torch.empty(1, self.grid_v.size, width), requires_grad=False)
        self.decoder_embed = nn.Linear(model.embed_dim, width)
        self.decoder_blocks = nn.ModuleList(
            Block(width, model.decoder_num_heads, model.mlp_ratio, modality_norms=self.modality_norms)
            for _ in range(model.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(width)
        self.decoder_pred_a = nn.Linear(width, pixels)
        self.decoder_pred_v = nn.Linear(width, pixels * self.image_channels)

    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        """Draws the masks' noise for ``batch`` clips: audio first, then visual."""
        return MaskNoise(audio=self.plan_a.draw(batch, generator), visual=self.plan_v.draw(batch, generator))

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        """Returns the loss lambda_r * (L_r audio + L_r visual) + lambda_c * L_c (paper equation 8).

        Only what a zero weight does not remove is computed.
        """
        config = self.config
        latents = self.encode(audio, visual, noise)
        output = PretrainOutput(
            loss=torch.zeros((), device=audio.device),
            mask_audio=latents.mask_a.removed,
            mask_visual=latents.mask_v.removed,
        )
        if latents.joint is not None:
            pred_a, pred_v = self.decode(latents.joint, latents.mask_a, latents.mask_v)
            norm, patch = config.norm_pix_loss, self.model_config.patch_size
            target_a, target_v = patchify(self.audio_image(audio), patch), patchify(visual, patch)
            loss_a = masked_reconstruction(pred_a, target_a, latents.mask_a.removed, norm_pix_loss=norm)
            loss_v = masked_reconstruction(pred_v, target_v, latents.mask_v.removed, norm_pix_loss=norm)
            output.loss = output.loss + config.lambda_r * (loss_a + loss_v)
            output.parts |= {"reconstruction_audio": loss_a.detach(), "reconstruction_visual": loss_v.detach()}
            output.prediction_audio, output.prediction_visual = pred_a, pred_v
        if latents.audio is not None and latents.visual is not None:
            loss_c, accuracy = contrast(
                latents.audio.mean(dim=1),
                latents.visual.mean(dim=1),
                temperature=config.temperature,
                direction=config.contrast,
            )
            output.loss = output.loss + config.lambda_c * loss_c
            output.parts |= {"contrast": loss_c.detach(), "contrast_accuracy": accuracy}
        return output

    def encode(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> Latents:
        """Returns the kept tokens of the joint stream and of the two single-modality streams.

        Raises:
            InputError: Shapes that do not fit the model, or noise without a modality.
        """
        if noise.audio is None or noise.visual is None:
            raise InputError("mask noise: found one modality, valid: audio and visual; draw it with draw_noise.")
        mask_a = self.plan_a.mask(noise.audio.to(audio.device))
        mask_v = self.plan_v.mask(noise.visual.to(audio.device))
        audio_tokens = self.encode_a(mask_a.keep(self.tokens_a(audio)))
        visual_tokens = self.encode_v(mask_v.keep(self.tokens_v(visual)))
        joint = single_a = single_v = None
        if self.config.lambda_r > 0:
            joint = self.joint(torch.cat([audio_tokens, visual_tokens], dim=1), "joint")
        if self.config.lambda_c > 0:
            single_a, single_v = self.joint(audio_tokens, "audio"), self.joint(visual_tokens, "visual")
        return Latents(joint, single_a, single_v, mask_a, mask_v)

    def decode(self, joint: Tensor, mask_a: Mask, mask_v: Mask) -> tuple[Tensor, Tensor]:
        """Returns the predicted patches of both modalities, (B, N, P) each, from the joint tokens (B, K, D)."""
        kept = self.decoder_embed(joint)
        kept_a, kept_v = kept.split([self.plan_a.n_kept, self.plan_v.n_kept], dim=1)
        full_a = mask_a.restore(kept_a, self.mask_token) + self.decoder_pos_embed_a + self.decoder_modality_a
        full_v = mask_v.restore(kept_v, self.mask_token) + self.decoder_pos_embed_v + self.decoder_modality_v
        x = torch.cat([full_a, full_v], dim=1)
        for block in self.decoder_blocks:
            x = block(x)
        x_a, x_v = self.decoder_norm(x).split([self.grid_a.size, self.grid_v.size], dim=1)
        return self.decoder_pred_a(x_a), self.decoder_pred_v(x_v)


CONFIG = CavMaeConfig
METHOD = CavMae
