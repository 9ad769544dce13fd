"""CAV-MAE Sync: sound as windows aligned with frames, global and register tokens (facts/cavmae_sync.md 1-2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from avbench.errors import InputError
from avbench.methods.base import Card
from avbench.methods.cavmae import CavMae, CavMaeConfig
from avbench.methods.masking import MaskPlan
from avbench.methods.pair import Latents
from avbench.methods.vit import Blocks, Stream, encoder_blocks, token
from avbench.settings import setting

CARD = Card(
    summary="CAV-MAE Sync: CAV-MAE on audio windows around frames; contrast by global tokens, beside registers",
    modalities=("audio", "visual"),
    objectives=("reconstruction", "contrast"),
    tasks=("retrieval",),
    parameters=190_660_864,
)


@dataclass(frozen=True, kw_only=True)
class CavMaeSyncConfig(CavMaeConfig):
    """Options of CAV-MAE Sync; defaults are the released model's."""

    global_token: bool = setting(True, "a token of each modality for the contrast; false: the mean of the patches")
    global_local: bool = setting(False, "average the contrasts of global tokens and of mean patches")
    registers: int = setting(8, "register tokens of each modality", ge=0)
    keep_registers: bool = setting(False, "registers pass the joint encoder, too")
    head_depth: int = setting(
        0, "blocks of each modality between joint encoder and contrast (the authors' heads: 2)", ge=0
    )
    masking_ratio_range: tuple[float, float] | None = setting(
        None, "draw both ratios anew for each batch (multi-ratio: 0.6 to 0.9); null: fixed", ge=0, lt=1
    )


class CavMaeSync(CavMae):
    """CAV-MAE with more tokens, none of them ever masked.

    A modality's tokens are one global token, the kept patches and the registers, in this order. Only patches are
    reconstructed; the global tokens meet in the contrast, and stand for their modality in retrieval.
    """

    name: ClassVar[str] = "cavmae_sync"
    config: CavMaeSyncConfig
    register_tokens: nn.Parameter
    cls_token_a: nn.Parameter
    cls_token_v: nn.Parameter

    def build(self) -> None:
        """Builds global and register tokens, decoder and heads, under the published keys (also the misspelt ones)."""
        config, model = self.config, self.model_config
        if config.global_local and not config.global_token:
            raise InputError("method.global_local: found true, valid: false, where method.global_token is false.")
        if config.registers:  # rows of audio, then of visual ones
            self.register_tokens = nn.Parameter(torch.empty(2 * config.registers, model.embed_dim))
        super().build()
        if config.global_token:
            self.cls_token_a, self.cls_token_v = token(model.embed_dim), token(model.embed_dim)
        if config.head_depth:
            for stream in ("audio", "visual"):
                head = encoder_blocks(model, config.head_depth, modality_norms=self.modality_norms)
                self.add_module(f"constrative_head_{stream}", head)

    def mask_plans(self) -> tuple[MaskPlan, MaskPlan]:
        """Returns how audio and visual tokens are masked; the two ratios are drawn apart."""
        audio, visual = super().mask_plans()
        drawn = self.config.masking_ratio_range
        return replace(audio, ratio_range=drawn), replace(visual, ratio_range=drawn)

    def encode_a(self, tokens: Tensor) -> Tensor:
        """Returns audio tokens after the audio encoder, the global one first: (B, N, D) -> (B, 1 + N, D)."""
        return self._encode(tokens, "a", self.blocks_a)

    def encode_v(self, tokens: Tensor) -> Tensor:
        """Returns visual tokens after the visual encoder, the global one first: (B, N, D) -> (B, 1 + N, D)."""
        return self._encode(tokens, "v", self.blocks_v)

    def _encode(self, patches: Tensor, letter: str, blocks: Blocks) -> Tensor:
        batch, config = len(patches), self.config
        tokens = [patches]
        if config.global_token:
            tokens.insert(0, self.get_parameter(f"cls_token_{letter}").expand(batch, -1, -1))
        if config.registers:
            rows = self.register_tokens.chunk(2)[0 if letter == "a" else 1]  # (R, D)
            tokens.append(rows.expand(batch, -1, -1))
        encoded: Tensor = blocks(torch.cat(tokens, dim=1))
        return encoded if config.keep_registers else self._without_registers(encoded)

    def _without_registers(self, tokens: Tensor) -> Tensor:
        return tokens[:, : tokens.shape[1] - self.config.registers]

    def patches(self, tokens: Tensor) -> Tensor:
        """Returns a modality's tokens without its global one, (B, N, D)."""
        return tokens[:, 1:] if self.config.global_token else tokens

    def joint(self, tokens: Tensor, stream: Stream) -> Tensor:
        """Returns a stream's tokens after the joint encoder, its head, and its final LayerNorm, (B, N, D)."""
        tokens = self.blocks_u(tokens, stream)
        if stream != "joint":
            if self.config.keep_registers:
                tokens = self._without_registers(tokens)
            if self.config.head_depth:
                tokens = self.get_submodule(f"constrative_head_{stream}")(tokens)
        return self.final_norm(tokens, stream)

    def joint_stream(self, audio_tokens: Tensor, visual_tokens: Tensor) -> Tensor:
        """Returns both modalities' patches after the joint encoder, (B, N, D); no global token takes part."""
        audio, visual = self.patches(audio_tokens), self.patches(visual_tokens)
        latent = super().joint_stream(audio, visual)
        if not self.config.keep_registers:
            return latent
        spans = torch.split(latent, [audio.shape[1], visual.shape[1]], dim=1)
        return torch.cat([self._without_registers(span) for span in spans], dim=1)

    def pool(self, tokens: Tensor) -> Tensor:
        """Returns the vector that stands for a stream, (B, N, D) -> (B, D): its global token, or its mean patch."""
        return tokens[:, 0] if self.config.global_token else super().pool(tokens)

    def contrasted(self, latents: Latents) -> list[tuple[Tensor, Tensor]]:
        """Returns what is contrasted: pooled streams and, with ``global_local``, also their mean patches."""
        pairs = super().contrasted(latents)
        if self.config.global_local:
            pairs.append((self.patches(latents.audio).mean(dim=1), self.patches(latents.visual).mean(dim=1)))
        return pairs


CONFIG = CavMaeSyncConfig
METHOD = CavMaeSync
