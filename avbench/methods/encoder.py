"""The encoder of the family: a transformer for each modality, then one for both (paper 2.1.1 and 2.3)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.methods.place import Place
from avbench.methods.positions import Grid, Modality, audio_grid, audio_rows, visual_grid
from avbench.methods.vit import PatchEmbed, Stream, check_shape, encoder_blocks

MODALITIES: tuple[Modality, ...] = ("audio", "visual")


class ModalityEncoder(nn.Module):
    """One modality: its patches as tokens, and the transformer that sees it alone.

    Args:
        name: Which modality.
        model: Sizes of the transformer.
        input: Sizes of spectrogram and frame.
        depth: Blocks before the joint encoder; 0: the tokens go there as they are.
        modality_norms: The blocks hold all three pairs of LayerNorms, as published; they use the plain pair.
        trainable_positions: Train the position table (fine-tuning does, pretraining does not).

    Raises:
        InputError: Sizes that do not fit each other.
    """

    def __init__(
        self,
        name: Modality,
        model: ModelConfig,
        input: InputConfig,
        *,
        depth: int,
        modality_norms: bool,
        trainable_positions: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self.channels = 1 if name == "audio" else len(input.image_mean)
        self.input_config = input
        grid = audio_grid(input, model.patch_size) if name == "audio" else visual_grid(input, model.patch_size)
        self.place = Place(grid, model.embed_dim, trainable=trainable_positions)
        self.patches = PatchEmbed(model.patch_size, self.channels, model.embed_dim)
        self.blocks = encoder_blocks(model, depth, modality_norms=modality_norms)

    def image(self, batch: Tensor) -> Tensor:
        """Returns what is cut into patches, (B, C, H, W); a spectrogram (B, T, M) has mel bins down, time across.

        Raises:
            InputError: Another shape than the model was built for.
        """
        if self.name == "audio":
            rows, mels = audio_rows(self.input_config), self.input_config.n_mels
            check_shape("audio", batch, {"rows of the spectrogram": rows, "input.n_mels": mels})
            return batch.transpose(1, 2)[:, None]
        side = self.input_config.image_size
        check_shape("visual", batch, {"colours": self.channels, "input.image_size": side, "again": side})
        return batch

    def tokens(self, batch: Tensor) -> Tensor:
        """Returns tokens with position and modality, (B, T, M) or (B, 3, H, W) -> (B, N, D).

        Raises:
            InputError: Another shape than the model was built for.
        """
        patches: Tensor = self.patches(self.image(batch))
        return patches + self.place.positions + self.place.modality

    def forward(self, tokens: Tensor) -> Tensor:
        """Returns tokens after the modality's transformer, (B, K, D)."""
        encoded: Tensor = self.blocks(tokens)
        return encoded


class JointEncoder(nn.Module):
    """The transformer that both modalities pass, together or alone, and a last LayerNorm for each stream.

    Args:
        model: Sizes of the transformer.
        depth: Its blocks.
        modality_norms: LayerNorms of their own for the single-modality streams, in the blocks.
        stream_norms: A last LayerNorm for each stream; False: one for all.
    """

    def __init__(self, model: ModelConfig, *, depth: int, modality_norms: bool, stream_norms: bool = True) -> None:
        super().__init__()
        self.blocks = encoder_blocks(model, depth, modality_norms=modality_norms)
        self.norm = nn.LayerNorm(model.embed_dim)
        self.norm_a = nn.LayerNorm(model.embed_dim) if stream_norms else None
        self.norm_v = nn.LayerNorm(model.embed_dim) if stream_norms else None

    def last_norm(self, tokens: Tensor, stream: Stream) -> Tensor:
        """Returns tokens after the last LayerNorm of their stream, (B, N, D)."""
        norm = {"joint": self.norm, "audio": self.norm_a, "visual": self.norm_v}[stream] or self.norm
        out: Tensor = norm(tokens)
        return out

    def forward(self, tokens: Tensor, stream: Stream) -> Tensor:
        """Returns tokens after the blocks and the last LayerNorm of their stream, (B, N, D)."""
        return self.last_norm(self.blocks(tokens, stream), stream)


class Encoder(nn.Module):
    """A transformer for each modality and one for both; what the losses, the tasks and the classifiers read.

    Args:
        model: Sizes of the transformers.
        input: Sizes of spectrogram and frame.
        modalities: Those it takes; the others have neither weights nor tokens.
        modality_norms: separate LayerNorms for the single-modality streams of the joint encoder.
        trainable_positions: Train the position tables (fine-tuning does, pretraining does not).
        vanilla: No transformer for each modality: the joint one has all blocks, and one last LayerNorm (paper 2.2).

    Raises:
        InputError: Sizes that do not fit each other.
    """

    default_head: ClassVar[Literal["linear", "attention"]] = "linear"

    def __init__(
        self,
        model: ModelConfig,
        input: InputConfig,
        *,
        modalities: tuple[Modality, ...] = MODALITIES,
        modality_norms: bool = True,
        trainable_positions: bool = False,
        vanilla: bool = False,
    ) -> None:
        super().__init__()
        own = 0 if vanilla else model.modality_depth
        norms = modality_norms and not vanilla
        self.model_config, self.input_config = model, input
        self.modalities, self.modality_norms, self.vanilla = modalities, norms, vanilla

        def modality(name: Modality) -> ModalityEncoder | None:
            if name not in modalities:
                return None
            return ModalityEncoder(
                name, model, input, depth=own, modality_norms=norms, trainable_positions=trainable_positions
            )

        self.audio, self.visual = modality("audio"), modality("visual")
        depth = model.modality_depth + model.joint_depth - own
        self.joint = JointEncoder(model, depth=depth, modality_norms=norms, stream_norms=not vanilla)

    def copy_for_finetuning(self) -> Encoder:
        """Returns an encoder of the same sizes whose position tables are trained; its weights are not set."""
        return Encoder(
            self.model_config,
            self.input_config,
            modalities=self.modalities,
            modality_norms=self.modality_norms,
            trainable_positions=True,
            vanilla=self.vanilla,
        )

    @property
    def grids(self) -> dict[Modality, Grid]:
        """The grid of patches of each modality that it takes, audio first."""
        return {name: self.of(name).place.grid for name in self.modalities}

    def images(self, audio: Tensor | None, visual: Tensor | None) -> dict[Modality, Tensor]:
        """Returns what a decoder reconstructs of each modality that it takes and is given, (B, C, H, W) each."""
        given: dict[Modality, Tensor | None] = {"audio": audio, "visual": visual}
        return {name: self.of(name).image(batch) for name in self.modalities if (batch := given[name]) is not None}

    def of(self, name: Modality) -> ModalityEncoder:
        """Returns the encoder of a modality that it takes."""
        found = self.audio if name == "audio" else self.visual
        if found is None:
            raise LookupError(f"{name}: not among the modalities {self.modalities}")
        return found

    def encode(self, name: Modality, tokens: Tensor) -> Tensor:
        """Returns a modality's tokens as the joint encoder takes them, (B, K, D)."""
        encoded: Tensor = self.of(name)(tokens)
        return encoded

    def stream(self, name: Modality, encoded: Tensor) -> Tensor:
        """Returns a modality's tokens after the joint encoder, which sees no other, (B, N, D)."""
        out: Tensor = self.joint(encoded, name)
        return out

    def joint_stream(self, *encoded: Tensor) -> Tensor:
        """Returns the encoded tokens of all modalities after the joint encoder, (B, N, D): audio first, then visual."""
        out: Tensor = self.joint(torch.cat(encoded, dim=1), "joint")
        return out

    def patches(self, tokens: Tensor) -> Tensor:
        """Returns a single-modality stream's patch tokens, (B, N, D): here all of them."""
        return tokens

    def pool(self, tokens: Tensor) -> Tensor:
        """Returns the vector that stands for a stream's tokens, (B, N, D) -> (B, D): their mean."""
        return tokens.mean(dim=1)

    def summary_width(self, mode: str, *, head: str, streams: str) -> int:
        """Returns the width of what a classification head reads.

        Args:
            mode: The mode the model is built for.
            head: Which head reads it.
            streams: Of a model for both modalities.

        Raises:
            InputError: Streams that such a head does not read.
        """
        return self.model_config.embed_dim * (2 if streams == "SM" else 1)

    def summary(
        self, audio: Tensor | None, visual: Tensor | None, row: Tensor | None, mode: str, *, head: str, streams: str
    ) -> Tensor:
        """Returns what a head reads, (N, W); see :class:`avbench.methods.pooled.FinetunedEncoder`."""
        sound = None if audio is None else self.encode("audio", self.of("audio").tokens(audio))
        if visual is None:
            vectors = self.of_tokens(sound, None, mode, head=head, streams=streams)
            return vectors if row is None else vectors[row]
        if sound is not None and row is not None:
            sound = sound[row]
        frame = self.encode("visual", self.of("visual").tokens(visual))
        return self.of_tokens(sound, frame, mode, head=head, streams=streams)

    def of_tokens(self, audio: Tensor | None, visual: Tensor | None, mode: str, *, head: str, streams: str) -> Tensor:
        """Returns what a classification head reads of encoded tokens, (N, W) (paper 2.4 and Table 2f).

        Modes ``missing*`` are for a model fine-tuned with both modalities and tested with one: the named one passes
        the joint encoder twice, with the joint and with its own LayerNorms, and the two means are averaged.

        Args:
            audio: (N, tokens, D), or None where the mode does not use it.
            visual: Likewise.
            mode: One of :data:`avbench.methods.classifier.MODES`.
            head: Which head reads it.
            streams: In mode multimodal, the mean token of the joint stream (MM), those of the two single streams end
                to end (SM), or the sum of all three (MM+SM). A model of SM is twice as wide and has no other mode.
        """
        if audio is not None and visual is not None:
            if streams == "MM":
                return self.joint_stream(audio, visual).mean(dim=1)
            single = self.pool(self.stream("audio", audio)), self.pool(self.stream("visual", visual))
            if streams == "SM":
                return torch.cat(single, dim=-1)
            return self.joint_stream(audio, visual).mean(dim=1) + single[0] + single[1]
        name: Modality = "audio" if audio is not None else "visual"
        tokens = next(given for given in (audio, visual) if given is not None)
        own = self.pool(self.stream(name, tokens))
        if not mode.startswith("missing"):
            return own
        return (self.pool(self.joint(tokens, "joint")) + own) / 2
