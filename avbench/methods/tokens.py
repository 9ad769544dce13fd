"""Spectrograms and frames as tokens, and how tokens become one vector (paper 2.1.1; facts/cavmae.md 1.3-1.6)."""

from __future__ import annotations

import abc
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.base import check_shape
from avbench.methods.positions import Grid, audio_grid, audio_rows, sincos_table, visual_grid
from avbench.methods.vit import PatchEmbed, initialise, token

MODALITIES = ("audio", "visual")
_AT_ONCE = 64  # frames or windows a pass, so that clips with many of them take no more memory


class Tokens(nn.Module, abc.ABC):
    """Patches with position and modality, under the published keys; base of every encoder and of the decoder.

    Built by subclasses under :func:`avbench.methods.vit.uninitialised`, which then call :meth:`initialise`.

    Args:
        model: Sizes of the transformers.
        input: Sizes of spectrogram and frame.
        modalities: Those it takes; the others have neither weights nor tokens.
        trainable_positions: Train the position tables (fine-tuning does, pretraining does not).

    Raises:
        InputError: Sizes that do not fit each other.
    """

    modality_a: nn.Parameter
    modality_v: nn.Parameter
    pos_embed_a: nn.Parameter
    pos_embed_v: nn.Parameter
    patch_embed_a: PatchEmbed
    patch_embed_v: PatchEmbed

    def __init__(
        self,
        model: ModelConfig,
        input: InputConfig,
        *,
        modalities: tuple[str, ...] = MODALITIES,
        trainable_positions: bool = False,
    ) -> None:
        super().__init__()
        self.model_config = model
        self.input_config = input
        self.image_channels = len(input.image_mean)
        dim, patch = model.embed_dim, model.patch_size
        self.grids: dict[str, Grid] = {}  # of the modalities it takes, by the letter in their keys
        if "audio" in modalities:
            self.grids["a"] = audio_grid(input, patch)
        if "visual" in modalities:
            self.grids["v"] = visual_grid(input, patch)
        for letter in self.grids:
            self.register_parameter(f"modality_{letter}", token(dim))
        for letter, grid in self.grids.items():
            table = nn.Parameter(torch.empty(1, grid.size, dim), requires_grad=trainable_positions)
            self.register_parameter(f"pos_embed_{letter}", table)
        for letter in self.grids:
            self.add_module(f"patch_embed_{letter}", PatchEmbed(patch, self.channels(letter), dim))

    def channels(self, letter: str) -> int:
        """Returns the channels of a patch of ``a`` or ``v``."""
        return 1 if letter == "a" else self.image_channels

    def position_grids(self) -> dict[str, Grid]:
        """Returns the grid of each position table by its key."""
        return {
            key: self.grids[key.rpartition("_")[2]]
            for key, _ in self.named_parameters(recurse=False)
            if "pos_embed" in key
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

    @abc.abstractmethod
    def audio_stream(self, audio: Tensor) -> Tensor:
        """Returns the unmasked tokens of the sound alone, (B, T, M) -> (B, N, D)."""

    @abc.abstractmethod
    def visual_stream(self, visual: Tensor) -> Tensor:
        """Returns the unmasked tokens of the frame alone, (B, 3, H, W) -> (B, N, D)."""

    def pool(self, tokens: Tensor) -> Tensor:
        """Returns the vector that stands for a stream's tokens, (B, N, D) -> (B, D): their mean."""
        return tokens.mean(dim=1)

    def embed(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Returns pooled tokens of the single-modality streams, of unit length (facts/cavmae.md 4).

        Args:
            audio: (B, T, M), or (B, F, T, M).
            visual: (B, 3, H, W), or (B, F, 3, H, W).

        Returns:
            float32 (B, D) or (B, F, D) each, as its input.

        Raises:
            InputError: The method has one modality only.
        """
        if len(self.grids) < len(MODALITIES):
            raise InputError(
                f"{type(self).__name__}: found one modality, valid: a method of audio and visual, to embed pairs."
            )
        return (
            unit_vectors(lambda sound: self.pool(self.audio_stream(sound).float()), audio, axes=2),
            unit_vectors(lambda frame: self.pool(self.visual_stream(frame).float()), visual, axes=3),
        )


def unit_vectors(encode: Callable[[Tensor], Tensor], clips: Tensor, *, axes: int) -> Tensor:
    """Encodes each item of a batch, or each of the F items of its clips, to a vector of unit length.

    Items of a clip that equal the one before, such as the audio windows at its ends, are encoded once.

    Args:
        encode: (N, ...) -> (N, D).
        clips: (B, ...) or (B, F, ...).
        axes: How many axes an item has.

    Returns:
        (B, D) or (B, F, D).
    """
    if clips.ndim == axes + 1:
        return F.normalize(encode(clips), dim=-1)
    new = torch.ones(clips.shape[:2], dtype=torch.bool, device=clips.device)  # (B, F)
    new[:, 1:] = (clips[:, 1:] != clips[:, :-1]).flatten(2).any(dim=2)
    vectors = F.normalize(torch.cat([encode(part) for part in torch.split(clips[new], _AT_ONCE)]), dim=-1)
    return vectors[new.flatten().cumsum(dim=0) - 1].reshape(*clips.shape[:2], -1)
