"""CAV-MAE Sync's encoder: a global token and registers beside a modality's patches (Sync paper 3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.encoder import Encoder
from avbench.methods.positions import Modality
from avbench.methods.vit import encoder_blocks, token


@dataclass(frozen=True, kw_only=True)
class SyncTokens:
    """Which tokens a modality has beside its patches, and how far they go.

    Attributes:
        global_token: One token of each modality for the contrast; else the mean of the patches.
        registers: Register tokens of each modality.
        keep_registers: They pass the joint encoder, too.
        head_depth: Blocks of each modality between joint encoder and contrast.
    """

    global_token: bool
    registers: int
    keep_registers: bool
    head_depth: int


class SyncEncoder(Encoder):
    """A modality's tokens are one global token, the patches and the registers, in this order; none is masked.

    Args:
        extra: Which tokens there are.
        model: Sizes of the transformers.
        input: Sizes of spectrogram and frame.
        modality_norms: See :class:`~avbench.methods.encoder.Encoder`.
        trainable_positions: Likewise.

    Raises:
        InputError: Sizes that do not fit each other.
    """

    default_head: ClassVar[Literal["linear", "attention"]] = "attention"

    def __init__(
        self,
        extra: SyncTokens,
        model: ModelConfig,
        input: InputConfig,
        *,
        modality_norms: bool = True,
        trainable_positions: bool = False,
    ) -> None:
        super().__init__(model, input, modality_norms=modality_norms, trainable_positions=trainable_positions)
        self.extra = extra
        dim, depth = model.embed_dim, extra.head_depth
        # Rows of audio, then of visual registers.
        self.registers = nn.Parameter(torch.empty(2 * extra.registers, dim)) if extra.registers else None
        self.global_audio = token(dim) if extra.global_token else None
        self.global_visual = token(dim) if extra.global_token else None
        heads = [encoder_blocks(model, depth, modality_norms=modality_norms) if depth else None for _ in range(2)]
        self.head_audio, self.head_visual = heads

    def copy_for_finetuning(self) -> SyncEncoder:
        """Returns an encoder of the same sizes and tokens, without heads, whose position tables are trained."""
        return SyncEncoder(
            replace(self.extra, head_depth=0),
            self.model_config,
            self.input_config,
            modality_norms=self.modality_norms,
            trainable_positions=True,
        )

    def encode(self, name: Modality, tokens: Tensor) -> Tensor:
        """Returns a modality's tokens after its transformer, the global one first: (B, K, D) -> (B, 1 + K, D)."""
        parts, batch = [tokens], len(tokens)
        first = self.global_audio if name == "audio" else self.global_visual
        if first is not None:
            parts.insert(0, first.expand(batch, -1, -1))
        if self.registers is not None:
            rows = self.registers.chunk(2)[0 if name == "audio" else 1]  # (R, D)
            parts.append(rows.expand(batch, -1, -1))
        encoded = super().encode(name, torch.cat(parts, dim=1))
        return encoded if self.extra.keep_registers else self._without_registers(encoded)

    def _without_registers(self, tokens: Tensor) -> Tensor:
        return tokens[:, : tokens.shape[1] - self.extra.registers]

    def stream(self, name: Modality, encoded: Tensor) -> Tensor:
        """Returns a modality's tokens after the joint encoder, its head, and its last LayerNorm, (B, N, D)."""
        tokens: Tensor = self.joint.blocks(encoded, name)
        if self.extra.keep_registers:
            tokens = self._without_registers(tokens)
        head = self.head_audio if name == "audio" else self.head_visual
        return self.joint.last_norm(tokens if head is None else head(tokens), name)

    def joint_stream(self, *encoded: Tensor) -> Tensor:
        """Returns the patches of both after the joint encoder, (B, N, D); no global token takes part."""
        spans = [self.patches(tokens) for tokens in encoded]
        latent = super().joint_stream(*spans)
        if not self.extra.keep_registers:
            return latent
        parts = torch.split(latent, [span.shape[1] for span in spans], dim=1)
        return torch.cat([self._without_registers(part) for part in parts], dim=1)

    def patches(self, tokens: Tensor) -> Tensor:
        """Returns a modality's tokens without its global one, (B, N, D)."""
        return tokens[:, 1:] if self.extra.global_token else tokens

    def pool(self, tokens: Tensor) -> Tensor:
        """Returns the vector that stands for a stream, (B, N, D) -> (B, D): its global token, or its mean patch."""
        return tokens[:, 0] if self.extra.global_token else super().pool(tokens)

    def summary_width(self, mode: str, *, head: str, streams: str) -> int:
        """Returns the width of what a classification head reads; see the base class."""
        if head == "linear" or mode != "multimodal":
            return super().summary_width(mode, head=head, streams=streams)
        if streams != "MM":
            raise InputError(
                f"task.streams: found {streams}, valid with CAV-MAE Sync's head {head}: MM; it reads both global tokens"
                " as they leave the modality encoders. Other streams take task.head=linear."
            )
        return 2 * self.model_config.embed_dim

    def of_tokens(self, audio: Tensor | None, visual: Tensor | None, mode: str, *, head: str, streams: str) -> Tensor:
        """Returns what a classification head reads of encoded tokens, (N, W).

        With ``attention`` or ``concat`` a frame's vector in mode multimodal is its two global tokens side by side, as
        they leave the modality encoders; with one modality it is the mean of all tokens after the joint encoder. A
        ``linear`` head reads the joint stream's mean patch, or the modality's global token (or mean patch). Of one
        modality the joint encoder takes its plain LayerNorms, as in the authors' code.

        Modes ``missing*`` are ours, for a model fine-tuned with both modalities and tested with one. Side by side, the
        place of the one that is missing holds zeros; a ``linear`` head reads the mean patch of the other one, averaged
        over the joint encoder's plain and own LayerNorms as in CAV-MAE.

        Args:
            audio: (N, tokens, D), or None where the mode does not use it.
            visual: Likewise.
            mode: One of :data:`avbench.methods.classifier.MODES`.
            head: Which head reads it.
            streams: See the base class; only the linear head looks at it.
        """
        if audio is not None and visual is not None:
            if head == "linear":
                return super().of_tokens(audio, visual, mode, head=head, streams=streams)
            return torch.cat([self.pool(audio), self.pool(visual)], dim=-1)
        name: Modality = "audio" if audio is not None else "visual"
        given = next(tokens for tokens in (audio, visual) if tokens is not None)
        if mode.startswith("missing"):
            if head == "linear":
                own = self.patches(self.stream(name, given)).mean(dim=1)
                return (self.joint_stream(given).mean(dim=1) + own) / 2
            own = self.pool(given)
            places = (own, torch.zeros_like(own)) if name == "audio" else (torch.zeros_like(own), own)
            return torch.cat(places, dim=-1)
        tokens: Tensor = self.joint(given, "joint")
        if self.extra.keep_registers:
            tokens = self._without_registers(tokens)
        return self.pool(tokens) if head == "linear" else tokens.mean(dim=1)
