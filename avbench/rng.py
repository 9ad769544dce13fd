"""Named random streams: every draw is a function of (seed, name, counters) and of nothing else.

A stream has no state that outlives its use, so a resumed run, a run with another number of workers and a run
on another number of processes make the same draws. Example: the order of epoch 3 is
``numpy_stream(seed, "order", 3).permutation(n)``.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def stream_seed(seed: int, name: str, *counters: int) -> int:
    """Returns a 63-bit seed for the stream ``name`` at ``counters`` (epoch, step, clip ...).

    Args:
        seed: The run's seed.
        name: What is drawn.
        *counters: Epoch, step, clip and so on.
    """
    key = ":".join([str(seed), name, *map(str, counters)])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


def numpy_stream(seed: int, name: str, *counters: int) -> np.random.Generator:
    """Returns NumPy's generator for the stream.

    Args:
        seed: The run's seed.
        name: What is drawn.
        *counters: Epoch, step, clip and so on.
    """
    return np.random.default_rng(stream_seed(seed, name, *counters))


def torch_stream(seed: int, name: str, *counters: int) -> torch.Generator:
    """Returns a CPU torch generator for the stream; draw on the CPU and move, so devices agree.

    Args:
        seed: The run's seed.
        name: What is drawn.
        *counters: Epoch, step, clip and so on.
    """
    import torch

    generator = torch.Generator(device="cpu")
    generator.manual_seed(stream_seed(seed, name, *counters))
    return generator
