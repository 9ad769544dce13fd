"""Where a token is and which modality it is of (paper 2.1.1)."""

from __future__ import annotations

import torch
from torch import nn

from avbench.methods.positions import Grid, sincos_table
from avbench.methods.published import published_key
from avbench.methods.vit import initialise, token


class Place(nn.Module):
    """A position table and a modality token, added to every token of a modality.

    Args:
        grid: The grid of its N tokens.
        dim: Width D.
        trainable: Train the position table (fine-tuning does, pretraining does not).
    """

    def __init__(self, grid: Grid, dim: int, *, trainable: bool = False) -> None:
        super().__init__()
        self.grid = grid
        self.modality = token(dim)
        self.positions = nn.Parameter(torch.empty(1, grid.size, dim), requires_grad=trainable)


def position_grids(model: nn.Module) -> dict[str, Grid]:
    """Returns the grid of each position table of a model, by its published key."""
    places = ((name, module) for name, module in model.named_modules() if isinstance(module, Place))
    return {published_key(f"{name}.positions"): place.grid for name, place in places}


def first_values(model: nn.Module, seed: int) -> None:
    """Gives every parameter of a model its first value; the position tables are sine-cosine."""
    initialise(model, seed)
    with torch.no_grad():
        for place in model.modules():
            if isinstance(place, Place):
                table = place.positions
                table.copy_(sincos_table(table.shape[-1], place.grid).to(table.device))
