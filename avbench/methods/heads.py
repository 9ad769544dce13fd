"""The heads of fine-tuning: linear on one vector, or attention or an MLP over the frames of a clip.

Sources: facts/cavmae.md 1.14 (linear), facts/cavmae_sync.md 1.9 (``self_attention_cls`` and ``concat_mlp``).
"""

from __future__ import annotations

import itertools
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from avbench.config import ModelConfig
from avbench.errors import InputError, unknown
from avbench.methods.vit import Blocks, encoder_blocks, token
from avbench.settings import change

HeadKind = Literal["linear", "attention", "concat"]
KINDS: tuple[HeadKind, ...] = get_args(HeadKind)
KEYS = ("mlp_head.", "cls_cls_token", "classifier_")  # how the keys of a head begin
_ATTENTION_DEPTH = 2


class ClassHead(nn.Module):
    """Class logits from vectors, under the published keys; mixed into the fine-tuning models.

    ``linear`` is a LayerNorm and a linear layer; of several frames it gives logits each. ``attention`` puts a token of
    its own before a clip's frames, in two blocks without positions, and reads it. ``concat`` is an MLP on the frames'
    vectors side by side; the authors' sizes never fit each other, so those they seem to mean are used.
    """

    head: HeadKind
    n_classes: int
    n_frames: int
    mlp_head: nn.Sequential
    cls_cls_token: nn.Parameter
    classifier_layers: Blocks
    classifier_norm: nn.LayerNorm
    classifier_head: nn.Linear

    def add_head(self, kind: HeadKind, model: ModelConfig, width: int, n_classes: int, n_frames: int) -> None:
        """Adds the modules of a head, without values.

        Args:
            kind: Which.
            model: Heads and MLP ratio of the attention's blocks.
            width: Of the vectors, W.
            n_classes: Logits.
            n_frames: Vectors a clip; only ``concat`` is bound to it.

        Raises:
            InputError: An unknown kind, or no class.
        """
        if kind not in KINDS:
            raise unknown("head", kind, KINDS)
        if n_classes < 1:
            raise InputError(f"n_classes: found {n_classes}, valid: at least 1.")
        self.head, self.n_classes, self.n_frames = kind, n_classes, n_frames
        if kind == "linear":
            self.mlp_head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, n_classes))
        elif kind == "concat":
            sizes = (width * n_frames, width * max(1, n_frames // 2), 2 * width, width)
            layers: list[nn.Module] = [nn.LayerNorm(sizes[0])]
            for before, after in itertools.pairwise(sizes):
                layers += [nn.Linear(before, after), nn.GELU()]
            self.mlp_head = nn.Sequential(*layers, nn.Linear(width, n_classes))
        else:
            self.cls_cls_token = token(width)
            wide = change(model, {"embed_dim": width})
            self.classifier_layers = encoder_blocks(wide, _ATTENTION_DEPTH, modality_norms=True)
            self.classifier_norm = nn.LayerNorm(width)
            self.classifier_head = nn.Linear(width, n_classes)

    def classify(self, vectors: Tensor) -> Tensor:
        """Returns logits.

        Args:
            vectors: (B, W) of one frame a clip, or (B, F, W).

        Returns:
            (B, C); of a linear head (B, F, C) for several frames.

        Raises:
            InputError: Another number of frames than ``concat`` was built for.
        """
        out: Tensor
        if self.head == "linear":
            out = self.mlp_head(vectors)
            return out
        frames = vectors if vectors.ndim == 3 else vectors[:, None]  # (B, F, W)
        if self.head == "concat":
            valid = self.n_frames
            if frames.shape[1] != valid:
                raise InputError(f"frames: found {frames.shape[1]} a clip, valid: {valid}, as the head was built for.")
            out = self.mlp_head(frames.flatten(1))
        else:
            first = self.cls_cls_token.expand(len(frames), -1, -1)
            tokens = self.classifier_layers(torch.cat([first, frames], dim=1))
            out = self.classifier_head(self.classifier_norm(tokens)[:, 0])
        return out
