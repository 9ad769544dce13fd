"""The grids of patches and their fixed sine-cosine position tables (paper 2.1.1; docs/protocol/cavmae.md 1.5)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from avbench.config import InputConfig
from avbench.errors import InputError

Modality = Literal["audio", "visual"]


class Grid(NamedTuple):
    """How many patches there are down (mel bins, image rows) and across (time, image columns)."""

    rows: int
    columns: int

    @property
    def size(self) -> int:
        """Patches in all."""
        return self.rows * self.columns


def audio_rows(input: InputConfig) -> int:
    """Returns the spectrogram rows a method sees: one window's where the sound is cut into windows."""
    return input.segment_length or input.target_length


def audio_grid(input: InputConfig, patch_size: int) -> Grid:
    """Returns the grid of a spectrogram: mel bins down, time across; token index = row * columns + column.

    Raises:
        InputError: The patches do not fill the spectrogram.
    """
    length = "segment_length" if input.segment_length else "target_length"
    return Grid(
        _patches("input.n_mels", input.n_mels, patch_size), _patches(f"input.{length}", audio_rows(input), patch_size)
    )


def visual_grid(input: InputConfig, patch_size: int) -> Grid:
    """Returns the grid of a frame.

    Raises:
        InputError: The patches do not fill the frame.
    """
    side = _patches("input.image_size", input.image_size, patch_size)
    return Grid(side, side)


def _patches(key: str, size: int, patch_size: int) -> int:
    if size < patch_size or size % patch_size:
        low = max(size // patch_size, 1) * patch_size
        raise InputError(
            f"{key}: found {size}, valid: a multiple of model.patch_size = {patch_size}, such as {low} or"
            f" {low + patch_size}."
        )
    return size // patch_size


def sincos_table(dim: int, grid: Grid) -> Tensor:
    """Returns the fixed position table of a grid, shape (1, N, dim), float32.

    The first half of the channels encodes the column, the second the row; in each half all sines come before all
    cosines, at the frequencies 10000^(-j / (dim / 4)). Computed in float64.

    Args:
        dim: Width, a multiple of 4.
        grid: The grid of N patches, row by row.

    Raises:
        InputError: The width is no multiple of 4.
    """
    if dim % 4:
        raise InputError(
            f"width of a position table: found {dim}, valid: a multiple of 4 (embed_dim, decoder_embed_dim)."
        )
    quarter = dim // 4
    omega = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64, device="cpu") / quarter)  # (D/4)
    index = torch.arange(grid.size, dtype=torch.float64, device="cpu")  # (N)
    column = (index % grid.columns)[:, None] * omega  # (N, D/4)
    row = (index // grid.columns)[:, None] * omega  # (N, D/4)
    return torch.cat([column.sin(), column.cos(), row.sin(), row.cos()], dim=1)[None].float()


def resize_table(table: Tensor, old: Grid, new: Grid) -> Tensor:
    """Returns a position table for another grid, shape (1, new.size, D).

    A fixed sine-cosine table is computed anew, so positions keep their meaning. A trained one is interpolated
    bicubically, as is usual for vision transformers.

    Args:
        table: The old table, shape (1, old.size, D).
        old: Its grid.
        new: The grid wanted.
    """
    dim = table.shape[-1]
    if dim % 4 == 0 and torch.allclose(table.float(), sincos_table(dim, old), atol=1e-4):
        return sincos_table(dim, new).to(table.dtype)
    image = table.float().reshape(1, old.rows, old.columns, dim).permute(0, 3, 1, 2)  # (1, D, rows, columns)
    image = torch.nn.functional.interpolate(image, size=tuple(new), mode="bicubic", align_corners=False)
    return image.permute(0, 2, 3, 1).reshape(1, new.size, dim).to(table.dtype)
