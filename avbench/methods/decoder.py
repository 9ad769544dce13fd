"""The decoder that reconstructs removed patches from the encoded ones (paper 2.2; facts/cavmae.md 1.11-1.12)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avbench.methods.base import PretrainOutput
from avbench.methods.masking import Mask
from avbench.methods.objectives import masked_reconstruction, patchify
from avbench.methods.tokens import Tokens
from avbench.methods.vit import Block, Blocks, token


class Decoder(Tokens):
    """Adds a decoder to an encoder, for the modalities it takes; keys are the published ones."""

    def build(self) -> None:
        """Builds the decoder, after the encoder's tokens."""
        model, width = self.model_config, self.model_config.decoder_embed_dim
        self.mask_token = token(width)
        for letter in self.grids:
            self.register_parameter(f"decoder_modality_{letter}", token(width))
        for letter, grid in self.grids.items():
            table = nn.Parameter(torch.empty(1, grid.size, width), requires_grad=False)
            self.register_parameter(f"decoder_pos_embed_{letter}", table)
        self.decoder_embed = nn.Linear(model.embed_dim, width)
        # The authors' blocks hold the modalities' LayerNorms here too, unused; files with them load.
        norms = getattr(self, "modality_norms", False)
        self.decoder_blocks = Blocks(
            Block(width, model.decoder_num_heads, model.mlp_ratio, modality_norms=norms)
            for _ in range(model.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(width)
        for letter in self.grids:
            pixels = model.patch_size**2 * self.channels(letter)
            self.add_module(f"decoder_pred_{letter}", nn.Linear(width, pixels))

    def decode(self, latent: Tensor, *masks: Mask) -> tuple[Tensor, ...]:
        """Returns the predicted patches of each modality, (B, N, P) each, audio first.

        Args:
            latent: Encoded kept tokens, (B, K, D), in the masks' order.
            masks: One mask for each modality, or one for all tokens together.
        """
        kept = torch.split(self.decoder_embed(latent), [mask.kept.shape[1] for mask in masks], dim=1)
        restored = [mask.restore(tokens, self.mask_token) for mask, tokens in zip(masks, kept, strict=True)]
        places = [
            self.get_parameter(f"decoder_pos_embed_{letter}") + self.get_parameter(f"decoder_modality_{letter}")
            for letter in self.grids
        ]
        x = torch.cat(restored, dim=1) + torch.cat(places, dim=1)  # (B, N, decoder width)
        x = self.decoder_norm(self.decoder_blocks(x))
        spans = zip(self.grids, self._by_modality(x), strict=True)
        return tuple(self.get_submodule(f"decoder_pred_{letter}")(tokens) for letter, tokens in spans)

    def reconstruct(
        self, latent: Tensor, masks: tuple[Mask, ...], audio: Tensor, visual: Tensor, *, norm_pix_loss: bool
    ) -> PretrainOutput:
        """Returns the loss L_r, the sum over the modalities of their masked reconstruction losses (paper equation 4).

        Args:
            latent: Encoded kept tokens, (B, K, D).
            masks: One mask for each modality, or one for all tokens together.
            audio: (B, T, M), the truth; not read where the method does not take it.
            visual: (B, 3, H, W), likewise.
            norm_pix_loss: Compare with patches of zero mean and unit variance.
        """
        removed = self._by_modality(torch.cat([mask.removed for mask in masks], dim=1))
        output = PretrainOutput(latent.new_zeros((), dtype=torch.float32))
        names = {"a": "audio", "v": "visual"}
        for letter, prediction, hidden in zip(self.grids, self.decode(latent, *masks), removed, strict=True):
            images = self.audio_image(audio) if letter == "a" else visual
            target = patchify(images, self.model_config.patch_size)
            loss = masked_reconstruction(prediction, target, hidden, norm_pix_loss=norm_pix_loss)
            output.loss = output.loss + loss
            output.parts[f"reconstruction_{names[letter]}"] = loss.detach()
            setattr(output, f"prediction_{names[letter]}", prediction)
            setattr(output, f"mask_{names[letter]}", hidden)
        return output

    def _by_modality(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return torch.split(tokens, [grid.size for grid in self.grids.values()], dim=1)
