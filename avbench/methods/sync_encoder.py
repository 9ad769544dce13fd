"""CAV-MAE Sync's encoder: global and register tokens beside the patches (facts/cavmae_sync.md 1.2-1.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from avbench.methods.encoder import AudioVisualEncoder
from avbench.methods.vit import Blocks, Stream, token

if TYPE_CHECKING:
    from avbench.methods.cavmae_sync import CavMaeSyncConfig


class SyncEncoder(AudioVisualEncoder):
    """A modality's tokens are one global token, the patches and the registers, in this order."""

    config: CavMaeSyncConfig
    register_tokens: nn.Parameter
    cls_token_a: nn.Parameter
    cls_token_v: nn.Parameter

    def add_registers(self) -> None:
        """Adds the register tokens, rows of audio, then of visual ones."""
        if self.config.registers:
            self.register_tokens = nn.Parameter(torch.empty(2 * self.config.registers, self.model_config.embed_dim))

    def add_global_tokens(self) -> None:
        """Adds the global token of each modality."""
        if self.config.global_token:
            dim = self.model_config.embed_dim
            self.cls_token_a, self.cls_token_v = token(dim), token(dim)

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
