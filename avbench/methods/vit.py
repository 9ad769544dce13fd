"""The transformer parts that all methods share, under the names of the published weights.

Source: docs/protocol/cavmae.md 1.2-1.7.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.config import ModelConfig
from avbench.errors import InputError
from avbench.methods.published import published_key
from avbench.rng import torch_stream

Stream = Literal["joint", "audio", "visual"]


class PatchEmbed(nn.Module):
    """Projects each patch to a token: (B, C, H, W) -> (B, N, D), row by row."""

    def __init__(self, patch_size: int, channels: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the tokens."""
        tokens: Tensor = self.proj(images)  # (B, D, rows, columns)
        return tokens.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise InputError(f"attention heads: found {num_heads} for width {dim}, valid: a divisor of the width.")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the attended tokens, (B, N, D)."""
        batch, n, dim = x.shape
        qkv = self.qkv(x).reshape(batch, n, 3, self.num_heads, dim // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, N, D / heads) each
        attended = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(attended.transpose(1, 2).reshape(batch, n, dim))
        return out


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the transformed tokens, (B, N, D)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """A pre-norm transformer block with LayerNorms of its own for each stream (paper 2.3).

    All published blocks hold the three pairs of LayerNorms, though only joint blocks use the modalities' ones.

    Args:
        dim: Width D.
        num_heads: Attention heads, a divisor of D.
        mlp_ratio: Hidden width of the MLP over D.
        modality_norms: False leaves one pair for all streams.
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, *, modality_norms: bool = True) -> None:
        super().__init__()
        self.modality_norms = modality_norms
        self._add_norms("norm1", dim)
        self.attn = Attention(dim, num_heads)
        self._add_norms("norm2", dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def _add_norms(self, name: str, dim: int) -> None:
        for suffix in ("", "_a", "_v") if self.modality_norms else ("",):
            self.add_module(name + suffix, nn.LayerNorm(dim))

    def forward(self, x: Tensor, stream: Stream = "joint") -> Tensor:
        """Returns the tokens, (B, N, D), normalised as ``stream`` asks."""
        suffix = {"joint": "", "audio": "_a", "visual": "_v"}[stream] if self.modality_norms else ""
        x = x + self.attn(self.get_submodule("norm1" + suffix)(x))
        out: Tensor = x + self.mlp(self.get_submodule("norm2" + suffix)(x))
        return out


class Blocks(nn.ModuleList):
    """Blocks one after the other; the output of each is the input of the next."""

    def forward(self, x: Tensor, stream: Stream = "joint") -> Tensor:
        """Returns the tokens after all blocks, (B, N, D)."""
        for block in self:
            x = block(x, stream)
        return x


def encoder_blocks(model: ModelConfig, depth: int, *, modality_norms: bool) -> Blocks:
    """Returns ``depth`` blocks of the encoder's width.

    Args:
        model: Width, heads and MLP ratio.
        depth: How many.
        modality_norms: They hold a pair of LayerNorms for each stream; else one for all.
    """
    return Blocks(
        Block(model.embed_dim, model.num_heads, model.mlp_ratio, modality_norms=modality_norms) for _ in range(depth)
    )


def token(dim: int) -> nn.Parameter:
    """Returns a learned token of shape (1, 1, dim)."""
    return nn.Parameter(torch.empty(1, 1, dim))


def uninitialised() -> torch.device:
    """Returns a context in which modules are built without values, so that no hidden random draw is made.

    :func:`initialise` gives them values.
    """
    return torch.device("meta")


def initialise(model: nn.Module, seed: int) -> None:
    """Gives every parameter its first value, the same for a key whatever else the model holds.

    Linear and patch projections are Xavier-uniform with zero bias (patch projections keep the uniform bias of a
    convolution), LayerNorms the identity, position tables zero (their owner writes them), register tokens normal with
    deviation 1 (docs/protocol/cavmae_sync.md 1.3), all other parameters, the tokens, normal with deviation 0.02
    (docs/protocol/cavmae.md 1.4).

    Args:
        model: Built under :func:`uninitialised`; moved to the default device. On the meta device nothing is drawn.
        seed: Each key draws from the stream ``init.KEY`` of this seed.
    """
    device = torch.get_default_device()
    if device.type == "meta":  # where it was built: moving it there would import torch's symbolic shapes, half a second
        return
    model.to_empty(device=device)
    with torch.no_grad():
        for prefix, module in model.named_modules():
            for name, parameter in module.named_parameters(recurse=False):
                key = published_key(f"{prefix}.{name}" if prefix else name)
                value = torch.empty(parameter.shape, device="cpu")
                _fill(value, module, key.rpartition(".")[2], torch_stream(seed, f"init.{key}"))
                parameter.copy_(value)


def _fill(value: Tensor, module: nn.Module, name: str, generator: torch.Generator) -> None:
    if isinstance(module, nn.LayerNorm):
        value.fill_(1.0 if name == "weight" else 0.0)
    elif isinstance(module, (nn.Linear, nn.Conv2d)) and name == "weight":
        nn.init.xavier_uniform_(value.flatten(1), generator=generator)
    elif isinstance(module, nn.Conv2d):
        bound = 1 / math.sqrt(module.weight[0].numel())
        value.uniform_(-bound, bound, generator=generator)
    elif isinstance(module, nn.Linear) or "pos_embed" in name:
        value.zero_()
    else:
        value.normal_(0.0, 1.0 if name == "register_tokens" else 0.02, generator=generator)


def check_shape(name: str, tensor: Tensor, valid: Mapping[str, int]) -> None:
    """Checks the last axes of a batch against the sizes the model was built for.

    Args:
        name: What to call the tensor in an error.
        tensor: A batch: one axis, then those of ``valid``.
        valid: The size of each axis by the setting that gives it.

    Raises:
        InputError: Another number of axes or another size.
    """
    sizes = tuple(valid.values())
    if tensor.ndim != len(sizes) + 1 or tuple(tensor.shape[1:]) != sizes:
        raise InputError(
            f"{name}: found shape {tuple(tensor.shape)}, valid: (batch, {', '.join(map(str, sizes))})"
            f" = (batch, {', '.join(valid)})."
        )
