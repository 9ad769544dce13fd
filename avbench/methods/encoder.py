"""The encoder of CAV-MAE: one transformer for each modality, one for both (paper 2.3; facts/cavmae.md 1.3-1.8)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.methods.base import check_shape
from avbench.methods.positions import Grid, audio_grid, audio_rows, sincos_table, visual_grid
from avbench.methods.vit import Block, PatchEmbed, Stream, initialise, token


class AudioVisualEncoder(nn.Module):
    """Tokens, modality encoders and the joint encoder in its three streams; keys are the published ones.

    Built by subclasses under :func:`avbench.methods.vit.uninitialised`, which then call :meth:`initialise`.

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
        super().__init__()
        self.model_config = model
        self.input_config = input
        self.modality_norms = modality_norms
        self.grid_a: Grid = audio_grid(input, model.patch_size)
        self.grid_v: Grid = visual_grid(input, model.patch_size)
        self.image_channels = len(input.image_mean)
        dim = model.embed_dim

        self.modality_a = token(dim)
        self.modality_v = token(dim)
        self.pos_embed_a = nn.Parameter(torch.empty(1, self.grid_a.size, dim), requires_grad=trainable_positions)
        self.pos_embed_v = nn.Parameter(torch.empty(1, self.grid_v.size, dim), requires_grad=trainable_positions)
        self.patch_embed_a = PatchEmbed(model.patch_size, 1, dim)
        self.patch_embed_v = PatchEmbed(model.patch_size, self.image_channels, dim)
        self.blocks_a = self._blocks(model.modality_depth)
        self.blocks_v = self._blocks(model.modality_depth)
        self.blocks_u = self._blocks(model.joint_depth)
        self.norm_a = nn.LayerNorm(dim)
        self.norm_v = nn.LayerNorm(dim)
        self.norm = nn.LayerNorm(dim)

    def _blocks(self, depth: int) -> nn.ModuleList:
        model = self.model_config
        return nn.ModuleList(
            Block(model.embed_dim, model.num_heads, model.mlp_ratio, modality_norms=self.modality_norms)
            for _ in range(depth)
        )

    def position_grids(self) -> dict[str, Grid]:
        """Returns the grid of each position table by its key."""
        grids = {"pos_embed_a": self.grid_a, "pos_embed_v": self.grid_v}
        return {
            key: grids[key.removeprefix("decoder_")] for key in self.state_dict() if key.partition(".")[0] in _TABLES
        }

    def initialise(self, seed: int) -> None:
        """Gives every parameter its first value; the position tables are sine-cosine."""
        initialise(self, seed)
        for key, grid in self.position_grids().items():
            table = self.get_parameter(key)
            with torch.no_grad():
                table.copy_(sincos_table(table.shape[-1], grid).to(table.device))

    def audio_image(self, audio: Tensor) -> Tensor:
        """Returns spectrograms (B, T, M) as images with mel bins down and time across, (B, 1, M, T).

        Raises:
            InputError: Another shape than the model was built for.
        """
        sizes = {"rows of the spectrogram": audio_rows(self.input_config), "input.n_mels": self.input_config.n_mels}
        check_shape("audio", audio, sizes)
        return audio.transpose(1, 2)[:, None]

    def tokens_a(self, audio: Tensor) -> Tensor:
        """Returns audio tokens with position and modality, (B, T, M) -> (B, N, D)."""
        patches: Tensor = self.patch_embed_a(self.audio_image(audio))
        return patches + self.pos_embed_a + self.modality_a

    def tokens_v(self, visual: Tensor) -> Tensor:
        """Returns visual tokens with position and modality, (B, 3, H, W) -> (B, N, D).

        Raises:
            InputError: Another shape than the model was built for.
        """
        side = self.input_config.image_size
        check_shape("visual", visual, {"colours": self.image_channels, "input.image_size": side, "again": side})
        patches: Tensor = self.patch_embed_v(visual)
        return patches + self.pos_embed_v + self.modality_v

    def encode_a(self, tokens: Tensor) -> Tensor:
        """Returns audio tokens after the audio encoder, (B, N, D)."""
        for block in self.blocks_a:
            tokens = block(tokens)
        return tokens

    def encode_v(self, tokens: Tensor) -> Tensor:
        """Returns visual tokens after the visual encoder, (B, N, D)."""
        for block in self.blocks_v:
            tokens = block(tokens)
        return tokens

    def joint(self, tokens: Tensor, stream: Stream) -> Tensor:
        """Returns tokens after the joint encoder and the stream's own final LayerNorm, (B, N, D)."""
        for block in self.blocks_u:
            tokens = block(tokens, stream)
        norm = {"joint": self.norm, "audio": self.norm_a, "visual": self.norm_v}[stream]
        out: Tensor = norm(tokens)
        return out

    def audio_stream(self, audio: Tensor) -> Tensor:
        """Returns the unmasked tokens of the audio stream, (B, T, M) -> (B, N, D); no frame is involved."""
        return self.joint(self.encode_a(self.tokens_a(audio)), "audio")

    def visual_stream(self, visual: Tensor) -> Tensor:
        """Returns the unmasked tokens of the visual stream, (B, 3, H, W) -> (B, N, D); no sound is involved."""
        return self.joint(self.encode_v(self.tokens_v(visual)), "visual")

    def embed(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Returns token means of the single-modality streams, of unit length (facts/cavmae.md 4).

        Args:
            audio: (B, T, M), or (B, F, T, M).
            visual: (B, 3, H, W), or (B, F, 3, H, W).

        Returns:
            float32 (B, D) or (B, F, D) each, as its input.
        """
        sound = audio.reshape(-1, *audio.shape[-2:])
        frame = visual.reshape(-1, *visual.shape[-3:])
        return (
            F.normalize(self.audio_stream(sound).float().mean(dim=1), dim=-1).reshape(*audio.shape[:-2], -1),
            F.normalize(self.visual_stream(frame).float().mean(dim=1), dim=-1).reshape(*visual.shape[:-3], -1),
        )


_TABLES = ("pos_embed_a", "pos_embed_v", "decoder_pos_embed_a", "decoder_pos_embed_v")
