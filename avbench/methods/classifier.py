"""The fine-tuning model: CAV-MAE's encoder and a linear head (paper 2.4 and 4.1; facts/cavmae.md 1.14)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError, unknown
from avbench.methods.encoder import AudioVisualEncoder
from avbench.methods.vit import uninitialised

Mode = Literal["multimodal", "audioonly", "videoonly", "missingaudioonly", "missingvideoonly"]
MODES: tuple[str, ...] = get_args(Mode)


class Classifier(AudioVisualEncoder):
    """Class logits from sound, frame or both.

    ``missing*`` modes are for a model fine-tuned with both modalities and tested with one: the named one passes the
    joint encoder twice, with the joint and with its own LayerNorms, and the two means are averaged.

    Args:
        model: Sizes of the transformers; the decoder's are not used.
        input: Sizes of spectrogram and frame.
        n_classes: Logits per clip.
        seed: Seed of the first weights.
        trainable_positions: Train the position tables, as the authors' code does.

    Raises:
        InputError: Sizes that do not fit each other.
    """

    def __init__(
        self,
        model: ModelConfig,
        input: InputConfig,
        n_classes: int,
        *,
        seed: int = 0,
        trainable_positions: bool = True,
    ) -> None:
        if n_classes < 1:
            raise InputError(f"n_classes: found {n_classes}, valid: at least 1.")
        with uninitialised():
            super().__init__(model, input, trainable_positions=trainable_positions)
            self.n_classes = n_classes
            self.mlp_head = nn.Sequential(nn.LayerNorm(model.embed_dim), nn.Linear(model.embed_dim, n_classes))
        self.initialise(seed)

    def forward(self, audio: Tensor | None, visual: Tensor | None, mode: str = "multimodal") -> Tensor:
        """Returns logits, (B, n_classes).

        Args:
            audio: (B, T, M); may be None in modes that do not use it.
            visual: (B, 3, H, W); may be None in modes that do not use it.
            mode: One of :data:`MODES`.

        Raises:
            InputError: An unknown mode, an input that is missing or has the wrong shape.
        """
        if mode not in MODES:
            raise unknown("mode", mode, MODES)
        out: Tensor = self.mlp_head(self._pooled(audio, visual, mode))
        return out

    def _pooled(self, audio: Tensor | None, visual: Tensor | None, mode: str) -> Tensor:
        """Returns the mean token that the head reads, (B, D)."""
        encoded = []
        if mode != "videoonly" and mode != "missingvideoonly":
            encoded.append(self.encode_a(self.tokens_a(_given(audio, "audio", mode))))
        if mode != "audioonly" and mode != "missingaudioonly":
            encoded.append(self.encode_v(self.tokens_v(_given(visual, "visual", mode))))
        tokens = torch.cat(encoded, dim=1)  # (B, N, D)
        if mode == "multimodal":
            return self.joint(tokens, "joint").mean(dim=1)
        own = self.joint(tokens, "audio" if "audio" in mode else "visual").mean(dim=1)
        if not mode.startswith("missing"):
            return own
        return (self.joint(tokens, "joint").mean(dim=1) + own) / 2


def _given(tensor: Tensor | None, name: str, mode: str) -> Tensor:
    if tensor is None:
        raise InputError(f"{name}: found None, which mode '{mode}' needs.")
    return tensor
