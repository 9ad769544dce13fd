from __future__ import annotations

import pytest
import torch

from avbench.config import InputConfig
from avbench.errors import InputError
from avbench.methods.positions import Grid, audio_grid, resize_table, sincos_table, visual_grid


def test_grids_come_from_the_input_sizes() -> None:
    assert audio_grid(InputConfig(), 16) == (8, 64)
    assert audio_grid(InputConfig(segment_length=416), 16) == (8, 26)
    assert visual_grid(InputConfig(image_size=96), 16) == (6, 6)


def test_first_half_of_the_channels_is_the_column() -> None:
    table = sincos_table(16, Grid(3, 5))[0].reshape(3, 5, 16)
    assert torch.equal(table[0, :, :8], table[2, :, :8])
    assert torch.equal(table[:, 0, 8:], table[:, 4, 8:])
    assert table[1, 2, 0].item() == pytest.approx(torch.tensor(2.0).sin().item())
    assert table[1, 2, 8].item() == pytest.approx(torch.tensor(1.0).sin().item())


def test_fixed_tables_are_computed_anew_and_trained_ones_interpolated() -> None:
    old, new = Grid(8, 64), Grid(8, 26)
    assert torch.equal(resize_table(sincos_table(32, old), old, new), sincos_table(32, new))
    trained = torch.randn(1, 512, 32)
    resized = resize_table(trained, old, new)
    assert resized.shape == (1, 208, 32)
    ramp = torch.arange(64.0).repeat(8)[None, :, None].expand(1, 512, 4) + 5
    assert resize_table(ramp, old, Grid(8, 32))[0, 10, 0].item() == pytest.approx(25.5, abs=0.1)


def test_width_must_be_a_multiple_of_four() -> None:
    with pytest.raises(InputError, match="multiple of 4"):
        sincos_table(10, Grid(2, 2))
