"""Where to compute, and how many threads may do it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch

from avbench.errors import InputError, unknown
from avbench.processes import core_count

Device = Literal["cpu", "cuda"]
_NAMES = ("auto", "cpu", "cuda")


def resolve_device(name: str) -> Device:
    """Returns the device that ``name`` means on this machine.

    Args:
        name: ``auto`` (the GPU if there is one), ``cpu`` or ``cuda``.

    Raises:
        InputError: Another name, or ``cuda`` where torch finds no GPU.
    """
    if name not in _NAMES:
        raise unknown("device", name, _NAMES)
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        built = f"torch built for CUDA {torch.version.cuda}" if torch.version.cuda else "a torch built without CUDA"
        raise InputError(f"--device cuda: found no GPU ({built}), valid here: auto, cpu.")
    return "cuda" if found and name != "cpu" else "cpu"


@contextlib.contextmanager
def torch_threads(workers: int, threads: int = 0) -> Iterator[int]:
    """Limits torch to the cores that ``workers`` other busy processes leave, and restores the number afterwards.

    Args:
        workers: Processes that read clips meanwhile, one thread each.
        threads: Use no more than that; 0: as many as there are cores left.

    Yields:
        The number of threads; never more than torch was allowed before (OMP_NUM_THREADS).
    """
    before = torch.get_num_threads()
    used = max(1, min(before, core_count() - workers, threads or before))
    torch.set_num_threads(used)
    try:
        yield used
    finally:
        torch.set_num_threads(before)
