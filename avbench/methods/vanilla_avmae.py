"""Vanilla AV-MAE: one joint encoder and decoder over the tokens of both modalities (paper 2.2, Figure 1.B bottom)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.base import Card, MaskingConfig, MaskNoise, Method, PretrainOutput, ReconstructionConfig
from avbench.methods.decoder import Decoder
from avbench.methods.masking import Mask, MaskPlan
from avbench.methods.positions import Grid
from avbench.methods.vit import Stream, encoder_blocks, uninitialised

CARD = Card(
    summary="Vanilla AV-MAE: one joint encoder over the tokens of both modalities, masked together and reconstructed",
    modalities=("audio", "visual"),
    objectives=("reconstruction",),
    tasks=("retrieval", "linear_probe", "classification", "localization", "shuffled_pairs", "reconstruction"),
    parameters=112_892_416,
)


@dataclass(frozen=True, kw_only=True)
class VanillaAvMaeConfig(MaskingConfig, ReconstructionConfig):
    """Options of Vanilla AV-MAE; defaults are the paper's."""


class VanillaAvMae(Decoder, Method):
    """A joint encoder as deep as CAV-MAE's two together, ``modality_depth + joint_depth`` blocks, and a joint decoder.

    Audio-MAE and Visual-MAE are the same with the tokens of one modality.

    Args:
        config: Masks and loss.
        model: Sizes of the transformers.
        input: Sizes of spectrogram and frame.
        seed: Seed of the first weights.

    Raises:
        InputError: Sizes or options that do not fit each other.
    """

    name: ClassVar[str] = "vanilla_avmae"
    config: VanillaAvMaeConfig

    def __init__(self, config: VanillaAvMaeConfig, model: ModelConfig, input: InputConfig, *, seed: int = 0) -> None:
        with uninitialised():
            super().__init__(model, input, modalities=self.modalities)
            self.config = config
            self.plan = self.mask_plan()
            self.plan.check_removes("a larger ratio")
            self.blocks_u = encoder_blocks(model, model.modality_depth + model.joint_depth, modality_norms=False)
            self.norm = nn.LayerNorm(model.embed_dim)
            self.build()
        self.initialise(seed)

    def mask_plan(self) -> MaskPlan:
        """Returns how the tokens are masked: all of them together, whatever their modality."""
        return MaskPlan(Grid(1, sum(grid.size for grid in self.grids.values())), self.config.masking_ratio)

    @property
    def _masked(self) -> str:
        """The noise it draws, a field of MaskNoise."""
        return "joint" if len(self.modalities) > 1 else self.modalities[0]

    def draw_noise(self, batch: int, generator: torch.Generator) -> MaskNoise:
        """Draws the mask's noise for ``batch`` clips: one mask over all tokens, audio first."""
        return MaskNoise(**{self._masked: self.plan.draw(batch, generator)})

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        """Returns the loss L_r (paper equation 4), over the modalities it takes.

        Raises:
            InputError: Shapes that do not fit the model, or another method's noise.
        """
        draws = getattr(noise, self._masked)
        if draws is None:
            raise InputError(f"mask noise: found none for {self._masked} tokens; draw it with draw_noise.")
        tokens = torch.cat(self._tokens(audio, visual), dim=1)
        mask = self.plan.mask(draws.to(tokens.device))
        latent = self.joint(mask.keep(tokens), "joint")
        return self.reconstruct(latent, (mask,), audio, visual, norm_pix_loss=self.config.norm_pix_loss)

    def latent(self, audio: Tensor, visual: Tensor, *masks: Mask) -> Tensor:
        """Returns what a decoder reads, the tokens kept by one mask for each modality it takes, (B, K, D)."""
        kept = [mask.keep(tokens) for mask, tokens in zip(masks, self._tokens(audio, visual), strict=True)]
        return self.joint(torch.cat(kept, dim=1), "joint")

    def _tokens(self, audio: Tensor, visual: Tensor) -> list[Tensor]:
        tokens = []
        if "audio" in self.modalities:
            tokens.append(self.tokens_a(audio))
        if "visual" in self.modalities:
            tokens.append(self.tokens_v(visual))
        return tokens

    def joint(self, tokens: Tensor, stream: Stream) -> Tensor:
        """Returns tokens after the joint encoder and its LayerNorm, the same for every stream, (B, N, D)."""
        out: Tensor = self.norm(self.blocks_u(tokens))
        return out


CONFIG = VanillaAvMaeConfig
METHOD = VanillaAvMae
