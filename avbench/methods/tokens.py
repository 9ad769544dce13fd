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
from avbench.methods.vit import PatchEmbed, Stream, initialise, token

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

    def encode_a(self, tokens: Tensor) -> Tensor:
        """Returns audio tokens after the audio encoder, (B, N, D); here there is none before the joint encoder."""
        return tokens

    def encode_v(self, tokens: Tensor) -> Tensor:
        """Returns visual tokens after the visual encoder, (B, N, D); here there is none before the joint encoder."""
        return tokens

    @abc.abstractmethod
    def joint(self, tokens: Tensor, stream: Stream) -> Tensor:
        """Returns tokens after the joint encoder and the stream's final LayerNorm, (B, N, D)."""

    def joint_stream(self, audio_tokens: Tensor, visual_tokens: Tensor) -> Tensor:
        """Returns both modalities' encoded tokens after the joint encoder, (B, N, D): audio first, then visual."""
        return self.joint(torch.cat([audio_tokens, visual_tokens], dim=1), "joint")

    def audio_stream(self, audio: Tensor) -> Tensor:
        """Returns the unmasked tokens of the audio stream, (B, T, M) -> (B, N, D); no frame is involved."""
        return self.joint(self.encode_a(self.tokens_a(audio)), "audio")

    def visual_stream(self, visual: Tensor) -> Tensor:
        """Returns the unmasked tokens of the visual stream, (B, 3, H, W) -> (B, N, D); no sound is involved."""
        return self.joint(self.encode_v(self.tokens_v(visual)), "visual")

    def streams(self, audio: Tensor, visual: Tensor, *, joint: bool = True) -> dict[Stream, Tensor]:
        """Returns the unmasked tokens of every stream there is, each after its final LayerNorm.

        A sound that equals the one before, such as the windows at a clip's ends, is encoded once.

        Args:
            audio: (B, T, M); not looked at where the method takes no sound.
            visual: (B, 3, H, W); likewise.
            joint: Whether the joint stream is wanted.

        Returns:
            ``audio``, ``visual`` and ``joint``, those there are, to (B, N, D).
        """
        found: dict[Stream, Tensor] = {}
        encoded: list[Tensor] = []
        if "a" in self.grids:
            new = differs_from_previous(audio)
            row = new.cumsum(dim=0) - 1
            sounds = self.encode_a(self.tokens_a(audio[new]))
            found["audio"] = self.joint(sounds, "audio")[row]
            encoded.append(sounds[row])
        if "v" in self.grids:
            frames = self.encode_v(self.tokens_v(visual))
            found["visual"] = self.joint(frames, "visual")
            encoded.append(frames)
        if joint and len(encoded) == len(MODALITIES):
            found["joint"] = self.joint_stream(*encoded)
        return found

    def patches(self, tokens: Tensor) -> Tensor:
        """Returns a single-modality stream's patch tokens, (B, N, D): here all of them."""
        return tokens

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

    def vectors(self, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        """Returns a vector for each stream: its pooled tokens; of the joint stream, their mean.

        Args:
            audio: (B, T, M), or (B, F, T, M).
            visual: (B, 3, H, W), or (B, F, 3, H, W).

        Returns:
            ``audio``, ``visual`` and ``joint``, those there are, to float32 (B, D) or (B, F, D).
        """

        def pooled(sounds: Tensor, frames: Tensor) -> dict[str, Tensor]:
            streams = self.streams(sounds, frames)
            return {
                name: tokens.float().mean(dim=1) if name == "joint" else self.pool(tokens.float())
                for name, tokens in streams.items()
            }

        return each_frame(pooled, audio, visual)

    def local_tokens(self, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        """Returns what localization compares: the frame's patches, and vectors of sound and frame.

        Args:
            audio: (B, T, M), or (B, F, T, M).
            visual: (B, 3, H, W), or (B, F, 3, H, W).

        Returns:
            ``visual``: patches, (B[, F], N, D); ``audio``: mean patch of the sound, (B[, F], D); ``audio_global`` and
            ``visual_global``: the vectors of retrieval, (B[, F], D). All float32.
        """

        def local(sounds: Tensor, frames: Tensor) -> dict[str, Tensor]:
            streams = self.streams(sounds, frames, joint=False)
            sound, frame = streams["audio"].float(), streams["visual"].float()
            return {
                "visual": self.patches(frame),
                "audio": self.patches(sound).mean(dim=1),
                "audio_global": self.pool(sound),
                "visual_global": self.pool(frame),
            }

        return each_frame(local, audio, visual)


def each_frame(
    encode: Callable[[Tensor, Tensor], dict[str, Tensor]], audio: Tensor, visual: Tensor
) -> dict[str, Tensor]:
    """Encodes each pair of sound and frame of a batch, or each of the F pairs of its clips.

    Args:
        encode: (N, T, M) and (N, 3, H, W) -> named (N, ...).
        audio: (B, T, M) or (B, F, T, M).
        visual: (B, 3, H, W) or (B, F, 3, H, W).

    Returns:
        Named (B, ...) or (B, F, ...).
    """
    frames = visual.ndim == 5  # (B, F, 3, H, W)
    if frames:
        shape = visual.shape[:2]
        audio, visual = audio.flatten(0, 1), visual.flatten(0, 1)
    parts = [
        encode(sounds, pictures)
        for sounds, pictures in zip(torch.split(audio, _AT_ONCE), torch.split(visual, _AT_ONCE), strict=True)
    ]
    found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {name: values.reshape(*shape, *values.shape[1:]) for name, values in found.items()} if frames else found


def differs_from_previous(items: Tensor) -> Tensor:
    """Returns where an item differs from the one before it, (N, ...) -> (N,) bool; the first does."""
    new = torch.ones(len(items), dtype=torch.bool, device=items.device)
    new[1:] = (items[1:] != items[:-1]).flatten(1).any(dim=1)
    return new


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
    items = clips.flatten(0, 1)  # (B * F, ...)
    new = differs_from_previous(items)
    vectors = F.normalize(torch.cat([encode(part) for part in torch.split(items[new], _AT_ONCE)]), dim=-1)
    return vectors[new.cumsum(dim=0) - 1].reshape(*clips.shape[:2], -1)
