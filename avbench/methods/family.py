"""What the seven methods have in common: an encoder, and what tasks read of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods import streams
from avbench.methods.base import Method
from avbench.methods.decoder import Decoder
from avbench.methods.encoder import Encoder
from avbench.methods.masking import Mask
from avbench.methods.positions import Grid, Modality
from avbench.methods.vit import uninitialised
from avbench.settings import Settings


class FamilyMethod(Method):
    """A method that owns an encoder and, where it reconstructs, a decoder.

    Args:
        config: The method's options.
        model: Sizes of the transformers.
        input: Sizes of spectrogram and frame.
    """

    encoder: Encoder
    decoder: Decoder | None

    def __init__(self, config: Settings, model: ModelConfig, input: InputConfig) -> None:
        super().__init__()
        self.config, self.model_config, self.input_config = config, model, input
        self.decoder = None

    def embed(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what retrieval compares; see :func:`avbench.methods.streams.embed`."""
        return streams.embed(self.encoder, audio, visual)

    def vectors(self, audio: Tensor | None, visual: Tensor | None, *, joint: bool = True) -> dict[str, Tensor]:
        """Returns what probes read; see :func:`avbench.methods.streams.vectors`."""
        return streams.vectors(self.encoder, audio, visual, joint=joint)

    def local_tokens(self, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        """Returns what localization compares; see :func:`avbench.methods.streams.local_tokens`."""
        return streams.local_tokens(self.encoder, audio, visual)

    @property
    def grids(self) -> Mapping[Modality, Grid]:
        """The grids of patches of the modalities it takes, audio first."""
        return self.encoder.grids

    def images(self, audio: Tensor | None, visual: Tensor | None) -> dict[Modality, Tensor]:
        """Returns what is cut into patches, (B, C, H, W) of each modality given, from (B, T, M) and (B, 3, H, W)."""
        return self.encoder.images(audio, visual)

    def predict(self, audio: Tensor | None, visual: Tensor | None, *masks: Mask) -> tuple[Tensor, ...]:
        """Returns what the decoder predicts of all patches from those that masks keep, (B, N, P) a modality.

        Args:
            audio: (B, T, M); not read where the method takes no sound, None where there is none.
            visual: (B, 3, H, W); likewise.
            masks: One for each modality that it takes and is given, audio first.
        """
        if self.decoder is None:
            raise LookupError(f"{type(self).__name__} has no decoder")
        inputs = {"audio": audio, "visual": visual}
        given = {name: batch for name in self.encoder.modalities if (batch := inputs[name]) is not None}
        kept = [
            self.encoder.encode(name, mask.keep(self.encoder.of(name).tokens(batch)))
            for (name, batch), mask in zip(given.items(), masks, strict=True)
        ]
        predicted: tuple[Tensor, ...] = self.decoder(self.encoder.joint_stream(*kept), *masks, names=tuple(given))
        return predicted

    def encoder_to_finetune(self) -> Encoder:
        """Returns a copy of the encoder, with its weights, whose position tables are trained.

        Raises:
            InputError: The copy would encode otherwise.
        """
        with uninitialised():
            encoder = self.encoder.copy_for_finetuning()
        if type(encoder) is not type(self.encoder):
            raise InputError(
                f"method {self.name}: {type(self.encoder).__name__}.copy_for_finetuning: found a"
                f" {type(encoder).__name__}, which encodes otherwise, valid: an encoder of its own class; define it, or"
                " use linear_probe, which asks the method."
            )
        weights = self.encoder.state_dict()
        encoder.to_empty(device=torch.get_default_device())
        encoder.load_state_dict({key: weights[key] for key in encoder.state_dict()})
        return encoder
