"""What a machine can do at most, what a process has held of its memory, and the time between two points."""

from __future__ import annotations

import resource
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch

from avbench.config import Precision
from avbench.training.precision import float32_products

_TYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}  # of square matrices; the best size differs between machines

# Dense TFLOP/s of the makers' data sheets: fp32 without tensor cores, then bf16 and fp16 with them, twice
# those of tf32. A GPU is known by the first line whose words its name holds, so the narrower names come first.
_DATA_SHEETS: tuple[tuple[tuple[str, ...], float, float], ...] = (
    (("H200", "NVL"), 60.0, 835.0),
    (("H200",), 67.0, 989.4),
    (("H100", "NVL"), 60.0, 835.0),
    (("H100", "PCIe"), 51.0, 756.0),
    (("H100", "HBM3"), 67.0, 989.4),
    (("A100",), 19.5, 312.0),
    (("L40S",), 91.6, 362.0),
)
_TERA = 1e12


def data_sheet_flops(gpu: str, precision: Precision) -> float | None:
    """Returns the FLOP/s that a GPU's data sheet promises, by its name in torch; None where it is not known.

    A slice of a GPU (MIG) has no data sheet.
    """
    words = gpu.replace("-", " ").split()
    if "MIG" in words:
        return None
    for names, fp32, short in _DATA_SHEETS:
        if set(names) <= set(words):
            return {"fp32": fp32, "tf32": short / 2}.get(precision, short) * _TERA
    return None


class Clock:
    """Times of the marks made on a device; on a GPU without waiting for it, so that its queue does not run dry."""

    def __init__(self, device: str) -> None:
        self._events: list[torch.cuda.Event] = []
        self._times: list[float] = []
        self._cuda = device == "cuda"

    def mark(self) -> None:
        """Notes the moment when all work given so far is done."""
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._events.append(event)
        else:
            self._times.append(time.perf_counter())

    def seconds(self) -> list[float]:
        """Returns the seconds between neighbouring marks, one fewer than marks."""
        if self._cuda:
            torch.cuda.synchronize()
            return [begin.elapsed_time(end) / 1e3 for begin, end in pairwise(self._events)]  # torch gives milliseconds
        return [end - begin for begin, end in pairwise(self._times)]


def matmul_flops(device: str, precision: Precision, *, repeats: int = 10) -> float:
    """Measures the best rate of a large square matrix product, in FLOP/s, with the threads torch has.

    Args:
        device: ``cpu`` or ``cuda``.
        precision: Type of both factors and of the product; tf32: of float32 with rounded factors.
        repeats: Products of each size, after one that is not counted.
    """
    with float32_products(precision, device):
        return max(_product_flops(side, device, precision, repeats) for side in _SIDES[device])


def _product_flops(side: int, device: str, precision: Precision, repeats: int) -> float:
    # Random numbers: a GPU multiplies zeros faster than it can keep up with data.
    left, right = (torch.randn(side, side, device=device).to(_TYPES[precision]) for _ in range(2))
    product = torch.mm(left, right)
    clock = Clock(device)
    clock.mark()
    for _ in range(repeats):
        torch.mm(left, right, out=product)
        clock.mark()
    return 2.0 * side**3 / min(clock.seconds())


def memory_bytes() -> int:
    """Returns what this process holds of the main memory now; 0 where the system does not tell (no /proc)."""
    return _status("VmRSS")


def peak_memory_bytes() -> int:
    """Returns the most this process has held of the main memory.

    Linux's ru_maxrss also counts the process it was forked from, so it serves only where there is no /proc.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status("VmHWM") or (peak if sys.platform == "darwin" else peak * 1024)


def _status(key: str) -> int:
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024  # given in kB
    return 0
