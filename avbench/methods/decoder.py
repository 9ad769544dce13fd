"""The decoder that reconstructs removed patches from the encoded ones (paper 2.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from avbench.config import ModelConfig
from avbench.methods.encoder import Encoder, ModalityEncoder
from avbench.methods.masking import Mask
from avbench.methods.objectives import PretrainOutput, masked_reconstruction, patchify
from avbench.methods.place import Place
from avbench.methods.positions import Modality
from avbench.methods.vit import Block, Blocks, token


class ModalityDecoder(nn.Module):
    """One modality's place in the decoder, and the projection from tokens to its patches."""

    def __init__(self, encoder: ModalityEncoder, model: ModelConfig) -> None:
        super().__init__()
        self.place = Place(encoder.place.grid, model.decoder_embed_dim)
        self.predict = nn.Linear(model.decoder_embed_dim, model.patch_size**2 * encoder.channels)


class Decoder(nn.Module):
    """Mask tokens beside the encoded ones, blocks over all of them, and a projection to patches.

    Args:
        encoder: Whose tokens it reads; only its sizes are taken.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        model = encoder.model_config
        width = model.decoder_embed_dim
        self.names: tuple[Modality, ...] = encoder.modalities
        self.patch_size = model.patch_size
        self.mask_token = token(width)
        self.embed = nn.Linear(model.embed_dim, width)
        # The authors' blocks hold the modalities' LayerNorms here too, unused; files with them load.
        self.blocks = Blocks(
            Block(width, model.decoder_num_heads, model.mlp_ratio, modality_norms=encoder.modality_norms)
            for _ in range(model.decoder_depth)
        )
        self.norm = nn.LayerNorm(width)
        for name in self.names:
            self.add_module(name, ModalityDecoder(encoder.of(name), model))

    def parts(self, names: Sequence[Modality] | None = None) -> list[ModalityDecoder]:
        """Returns the parts of some modalities, or of all, audio first."""
        chosen = self.names if names is None else names
        return [part for name in chosen if isinstance(part := self.get_submodule(name), ModalityDecoder)]

    def forward(self, latent: Tensor, *masks: Mask, names: Sequence[Modality] | None = None) -> tuple[Tensor, ...]:
        """Returns the predicted patches of each modality, (B, N, P) each, audio first.

        Args:
            latent: Encoded kept tokens, (B, K, D), in the masks' order.
            masks: One mask for each modality, or one for all tokens together.
            names: The modalities that the tokens are of, audio first; None: all.
        """
        parts = self.parts(names)
        kept = torch.split(self.embed(latent), [mask.kept.shape[1] for mask in masks], dim=1)
        restored = [mask.restore(tokens, self.mask_token) for mask, tokens in zip(masks, kept, strict=True)]
        places = [part.place.positions + part.place.modality for part in parts]
        x = torch.cat(restored, dim=1) + torch.cat(places, dim=1)  # (B, N, decoder width)
        x = self.norm(self.blocks(x))
        tokens_of = torch.split(x, [part.place.grid.size for part in parts], dim=1)
        return tuple(part.predict(tokens) for part, tokens in zip(parts, tokens_of, strict=True))

    def reconstruct(
        self, latent: Tensor, masks: Sequence[Mask], images: Mapping[Modality, Tensor], *, norm_pix_loss: bool
    ) -> PretrainOutput:
        """Returns the loss L_r, the sum over the modalities of their masked reconstruction losses (paper equation 4).

        Args:
            latent: Encoded kept tokens, (B, K, D).
            masks: One mask for each modality, or one for all tokens together.
            images: The truth, (B, C, H, W), of each modality that it reconstructs.
            norm_pix_loss: Compare with patches of zero mean and unit variance.
        """
        removed = self._by_modality(torch.cat([mask.removed for mask in masks], dim=1))
        output = PretrainOutput(latent.new_zeros((), dtype=torch.float32))
        for name, prediction, hidden in zip(self.names, self(latent, *masks), removed, strict=True):
            target = patchify(images[name], self.patch_size)
            loss = masked_reconstruction(prediction, target, hidden, norm_pix_loss=norm_pix_loss)
            output.loss = output.loss + loss
            output.parts[f"reconstruction_{name}"] = loss.detach()
            setattr(output, f"prediction_{name}", prediction)
            setattr(output, f"mask_{name}", hidden)
        return output

    def _by_modality(self, tokens: Tensor) -> tuple[Tensor, ...]:
        return torch.split(tokens, [part.place.grid.size for part in self.parts()], dim=1)
