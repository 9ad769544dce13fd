"""Named streams: the same name gives the same draws, another name or counter others."""

from __future__ import annotations

import torch

from avbench.rng import numpy_stream, stream_seed, torch_stream


def test_streams_are_functions_of_seed_name_and_counters() -> None:
    assert numpy_stream(0, "order", 3).random() == numpy_stream(0, "order", 3).random()
    seeds = {stream_seed(0, "order", 3), stream_seed(1, "order", 3), stream_seed(0, "mask", 3), stream_seed(0, "order")}
    assert len(seeds) == 4
    assert torch.equal(
        torch.rand(4, generator=torch_stream(0, "mask", 1)), torch.rand(4, generator=torch_stream(0, "mask", 1))
    )


def test_the_seed_of_a_stream_is_fixed_for_ever() -> None:
    # A change here changes every recorded result: raise the stages' schema numbers with it.
    assert stream_seed(0, "order", 3) == 1555077830293145243
