"""The heads of fine-tuning: linear on one vector, or attention or an MLP over the frames of a clip.

The linear one is CAV-MAE's; the others are those that CAV-MAE Sync's authors call ``self_attention_cls`` and
``concat_mlp``.
"""

from __future__ import annotations

import itertools
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from avbench.config import ModelConfig
from avbench.errors import InputError, unknown
from avbench.methods.vit import encoder_blocks, token
from avbench.settings import change

HeadKind = Literal["linear", "attention", "concat"]
KINDS: tuple[HeadKind, ...] = get_args(HeadKind)
KEYS = ("mlp_head.", "cls_cls_token", "classifier_")  # how the published keys of a head begin
_ATTENTION_DEPTH = 2


class ClassHead(nn.Module):
    """Class logits from vectors.

    ``linear`` is a LayerNorm and a linear layer; of several frames it gives logits each. ``attention`` puts a token of
    its own before a clip's frames, in two blocks without positions, and reads it. ``concat`` is an MLP on the frames'
    vectors side by side; the authors' sizes never fit each other, so those they seem to mean are used.

    Args:
        kind: Which.
        model: Heads and MLP ratio of the attention's blocks.
        width: Of the vectors, W.
        n_classes: Logits.
        n_frames: Vectors a clip; only ``concat`` is bound to it.

    Raises:
        InputError: An unknown kind, or no class.
    """

    def __init__(self, kind: HeadKind, model: ModelConfig, width: int, n_classes: int, n_frames: int) -> None:
        super().__init__()
        if kind not in KINDS:
            raise unknown("head", kind, KINDS)
        if n_classes < 1:
            raise InputError(f"n_classes: found {n_classes}, valid: at least 1.")
        self.kind, self.n_classes, self.n_frames = kind, n_classes, n_frames
        if kind == "linear":
            self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, n_classes))
        elif kind == "concat":
            sizes = (width * n_frames, width * max(1, n_frames // 2), 2 * width, width)
            layers: list[nn.Module] = [nn.LayerNorm(sizes[0])]
            for before, after in itertools.pairwise(sizes):
                layers += [nn.Linear(before, after), nn.GELU()]
            self.mlp = nn.Sequential(*layers, nn.Linear(width, n_classes))
        else:
            self.token = token(width)
            wide = change(model, {"embed_dim": width})
            self.layers = encoder_blocks(wide, _ATTENTION_DEPTH, modality_norms=True)
            self.norm = nn.LayerNorm(width)
            self.output = nn.Linear(width, n_classes)

    def forward(self, vectors: Tensor) -> Tensor:
        """Returns logits.

        Args:
            vectors: (B, W) of one frame a clip, or (B, F, W).

        Returns:
            (B, C); of a linear head (B, F, C) for several frames.

        Raises:
            InputError: Another number of frames than ``concat`` was built for.
        """
        out: Tensor
        if self.kind == "linear":
            out = self.mlp(vectors)
            return out
        frames = vectors if vectors.ndim == 3 else vectors[:, None]  # (B, F, W)
        if self.kind == "concat":
            valid = self.n_frames
            if frames.shape[1] != valid:
                raise InputError(f"frames: found {frames.shape[1]} a clip, valid: {valid}, as the head was built for.")
            out = self.mlp(frames.flatten(1))
        else:
            first = self.token.expand(len(frames), -1, -1)
            tokens = self.layers(torch.cat([first, frames], dim=1))
            out = self.output(self.norm(tokens)[:, 0])
        return out
