"""Where to compute, and how many threads may do it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from avbench.errors import InputError, unknown
from avbench.processes import own_cores

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
    found = name != "cpu" and has_gpu()
    if name == "cuda" and not found:
        import torch

        built = f"torch built for CUDA {torch.version.cuda}" if torch.version.cuda else "a torch built without CUDA"
        raise InputError(f"--device cuda: found no GPU ({built}), valid here: auto, cpu.")
    if found:
        # Of the library of matrix products: it reads this once, and without it may not give the same bits again.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return "cuda" if found else "cpu"


def has_gpu() -> bool:
    """Returns whether torch finds a GPU; where there is no driver, without importing torch, which takes a second."""
    if "torch" not in sys.modules and not _has_driver():
        return False
    import torch

    return torch.cuda.is_available()


def gpus() -> list[str]:
    """Returns the names by which CUDA_VISIBLE_DEVICES lets a process see each of the GPUs that this one sees."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]


def _has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")  # NVIDIA's, which torch opens, too
    except OSError:
        return Path("/dev/kfd").exists()  # AMD's
    return True


@contextlib.contextmanager
def torch_threads(workers: int, threads: int = 0) -> Iterator[int]:
    """Limits torch to the cores that ``workers`` other busy processes leave, and restores the number afterwards.

    Args:
        workers: Processes that read clips meanwhile, one thread each.
        threads: Use no more than that; 0: as many as there are cores left; -1: one.

    Yields:
        The number of threads; never more than torch was allowed before (OMP_NUM_THREADS).
    """
    import torch

    before = torch.get_num_threads()
    used = max(1, min(before, own_cores() - workers, abs(threads) or before))
    torch.set_num_threads(used)
    try:
        yield used
    finally:
        torch.set_num_threads(before)
