"""The encoder of CAV-MAE: one transformer for each modality, one for both (paper 2.3; facts/cavmae.md 1.3-1.8)."""

from __future__ import annotations

from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.methods.tokens import Tokens
from avbench.methods.vit import Stream, encoder_blocks


class AudioVisualEncoder(Tokens):
    """Tokens, modality encoders and the joint encoder in its three streams; keys are the published ones.

    Args:
        model: Sizes of the transformers.
        input: Sizes of spectrogram and frame.
        trainable_positions: Train the position tables (fine-tuning does, pretraining does not).
        modality_norms: LayerNorms of their own for the single-modality streams of the joint encoder.

    Raises:
        InputError: Sizes that do not fit each other.
    """

    def __init__(
        self,
        model: ModelConfig,
        input: InputConfig,
        *,
        trainable_positions: bool = False,
        modality_norms: bool = True,
    ) -> None:
        super().__init__(model, input, trainable_positions=trainable_positions)
        self.modality_norms = modality_norms
        self.blocks_a = encoder_blocks(model, model.modality_depth, modality_norms=modality_norms)
        self.blocks_v = encoder_blocks(model, model.modality_depth, modality_norms=modality_norms)
        self.blocks_u = encoder_blocks(model, model.joint_depth, modality_norms=modality_norms)
        self.norm_a = nn.LayerNorm(model.embed_dim)
        self.norm_v = nn.LayerNorm(model.embed_dim)
        self.norm = nn.LayerNorm(model.embed_dim)

    def encode_a(self, tokens: Tensor) -> Tensor:
        """Returns audio tokens after the audio encoder, (B, N, D)."""
        encoded: Tensor = self.blocks_a(tokens)
        return encoded

    def encode_v(self, tokens: Tensor) -> Tensor:
        """Returns visual tokens after the visual encoder, (B, N, D)."""
        encoded: Tensor = self.blocks_v(tokens)
        return encoded

    def joint(self, tokens: Tensor, stream: Stream) -> Tensor:
        """Returns tokens after the joint encoder and the stream's own final LayerNorm, (B, N, D)."""
        return self.final_norm(self.blocks_u(tokens, stream), stream)

    def final_norm(self, tokens: Tensor, stream: Stream) -> Tensor:
        """Returns tokens after the last LayerNorm of their stream, (B, N, D)."""
        norm = {"joint": self.norm, "audio": self.norm_a, "visual": self.norm_v}[stream]
        out: Tensor = norm(tokens)
        return out
