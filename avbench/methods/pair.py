"""What CAV, AV-MAE, CAV-MAE and CAV-MAE Sync share: both modalities masked apart and encoded apart (paper 2.3)."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.base import ContrastConfig, MaskNoise, Method, PairConfig, PretrainOutput
from avbench.methods.encoder import AudioVisualEncoder
from avbench.methods.masking import Mask, MaskPlan
from avbench.methods.objectives import contrast, gather
from avbench.methods.vit import uninitialised


class Latents:
    """Kept tokens after the modality encoders, and the joint encoder's streams of them, computed when asked for."""

    def __init__(self, encoder: AudioVisualEncoder, tokens: tuple[Tensor, Tensor], mask_a: Mask, mask_v: Mask) -> None:
        self._encoder = encoder
        self._tokens = tokens
        self.mask_a = mask_a
        self.mask_v = mask_v

    @property
    def masks(self) -> tuple[Mask, Mask]:
        """The masks of both modalities, audio first."""
        return self.mask_a, self.mask_v

    @functools.cached_property
    def joint(self) -> Tensor:
        """Tokens of the multi-modal stream, (B, K, D): audio first, then visual."""
        return self._encoder.joint_stream(*self._tokens)

    @functools.cached_property
    def audio(self) -> Tensor:
        """Tokens of the audio stream, (B, K, D)."""
        return self._encoder.joint(self._tokens[0], "audio")

    @functools.cached_property
    def visual(self) -> Tensor:
        """Tokens of the visual stream, (B, K, D)."""
        return self._encoder.joint(self._tokens[1], "visual")


class MaskedPair(AudioVisualEncoder, Method):
    """CAV-MAE's encoder on masked tokens. Methods add their decoder, in ``build``, and their losses.

    Args:
        config: Losses and masks.
        model: Sizes of the transformers.
        input: Sizes of spectrogram and frame.
        seed: Seed of the first weights.

    Raises:
        InputError: Sizes or options that do not fit each other.
    """

    config: PairConfig

    def __init__(self, config: PairConfig, model: ModelConfig, input: InputConfig, *, seed: int = 0) -> None:
        with uninitialised():
            super().__init__(model, input, modality_norms=config.modality_norms)
            self.config = config
            self.plan_a, self.plan_v = self.mask_plans()
            self.build()
        self.initialise(seed)

    def build(self) -> None:
        """Adds what the method has beyond the encoder: here nothing."""

    def mask_plans(self) -> tuple[MaskPlan, MaskPlan]:
        """Returns how audio and visual tokens are masked."""
        config = self.config
        audio, visual = (
            config.masking_ratio if ratio is None else ratio
            for ratio in (config.masking_ratio_audio, config.masking_ratio_visual)
        )
        return (
            MaskPlan(self.grids["a"], audio, config.masking_strategy, config.masking_form),
            MaskPlan(self.grids["v"], visual),
        )

    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        """Draws the masks' noise for ``batch`` clips: audio first, then visual."""
        return MaskNoise(audio=self.plan_a.draw(batch, generator), visual=self.plan_v.draw(batch, generator))

    def encode(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> Latents:
        """Masks both modalities and encodes what is kept.

        Raises:
            InputError: Shapes that do not fit the model, or noise without a modality.
        """
        if noise.audio is None or noise.visual is None:
            raise InputError("mask noise: found one modality, valid: audio and visual; draw it with draw_noise.")
        mask_a = self.plan_a.mask(noise.audio.to(audio.device))
        mask_v = self.plan_v.mask(noise.visual.to(audio.device))
        return self.encode_kept(audio, visual, mask_a, mask_v)

    def encode_kept(self, audio: Tensor, visual: Tensor, mask_a: Mask, mask_v: Mask) -> Latents:
        """Encodes the tokens that two masks keep."""
        audio_tokens = self.encode_a(mask_a.keep(self.tokens_a(audio)))
        visual_tokens = self.encode_v(mask_v.keep(self.tokens_v(visual)))
        return Latents(self, (audio_tokens, visual_tokens), mask_a, mask_v)

    def latent(self, audio: Tensor, visual: Tensor, *masks: Mask) -> Tensor:
        """Returns what a decoder reads, the joint stream's tokens that masks of audio and visual keep, (B, K, D)."""
        return self.encode_kept(audio, visual, *masks).joint

    def contrasted(self, latents: Latents) -> list[tuple[Tensor, Tensor]]:
        """Returns what is contrasted, pairs of audio and visual vectors, (B, D) each: the pooled streams."""
        return [(self.pool(latents.audio), self.pool(latents.visual))]

    def contrast(self, latents: Latents, config: ContrastConfig) -> PretrainOutput:
        """Returns the loss L_c (paper equation 7), the mean over what is contrasted."""
        pairs = self.contrasted(latents)
        if config.negatives == "gathered":
            pairs = [(gather(audio), gather(visual)) for audio, visual in pairs]
        found = [
            contrast(audio, visual, temperature=config.temperature, direction=config.contrast)
            for audio, visual in pairs
        ]
        loss, accuracy = (torch.stack(values).mean() for values in zip(*found, strict=True))
        parts = {"contrast": loss.detach(), "contrast_accuracy": accuracy}
        return PretrainOutput(loss, parts, latents.mask_a.removed, latents.mask_v.removed)
