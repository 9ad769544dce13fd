"""The arithmetic of a training step: weights are always float32, products may be shorter."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from avbench.config import Precision
from avbench.errors import InputError, unknown

if TYPE_CHECKING:
    import torch

WIDE = 384  # the narrowest encoder for which bf16 pays on a CPU
_NAMES = ("auto", "fp32", "tf32", "bf16", "fp16")


def resolve_precision(name: str, device: str) -> Precision:
    """Returns the precision that ``name`` means on a device.

    ``auto`` is bf16 on a GPU that has it, fp16 on an older one, fp32 on a CPU; for runs see :func:`on_cpu`.

    Args:
        name: ``auto``, ``fp32``, ``tf32``, ``bf16`` or ``fp16``.
        device: ``cpu`` or ``cuda``.

    Raises:
        InputError: Another name, or one that the device cannot do.
    """
    if name == "auto":
        if device == "cpu":
            return "fp32"
        import torch

        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if name in ("fp16", "tf32") and device == "cpu":
        raise InputError(f"--precision: found {name} on a CPU, valid there: auto, fp32, bf16; or use --device cuda.")
    if name == "bf16" and device == "cuda":
        import torch

        if not torch.cuda.is_bf16_supported():
            raise InputError("--precision: found bf16, which this GPU does not have; valid: auto, fp32, fp16.")
    if name == "tf32":
        import torch

        if not torch.cuda.is_tf32_supported():
            raise InputError("--precision: found tf32, which this GPU does not have; valid: auto, fp32, fp16.")
    if name in ("fp32", "tf32", "bf16", "fp16"):
        return name  # type: ignore[return-value]  # narrowed by the line above
    raise unknown("precision", name, _NAMES)


def on_cpu(width: int) -> Precision:
    """Returns what ``auto`` means for training a model of some width on this processor.

    bf16 pays where the processor has instructions for it and the model is wide: measured side by side (AVX-512 with
    bf16, one thread), a step at width 192 takes 0.9 to 1.2 times as long as in fp32, at 384 to 768 0.5 to 0.8 times.
    """
    return "bf16" if width >= WIDE and bf16_instructions() else "fp32"


@functools.cache
def bf16_instructions() -> str:
    """Returns which instructions for bf16 this processor has, by their names in /proc/cpuinfo; "": none known."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return " ".join(name for name in ("avx512_bf16", "amx_bf16") if name in flags)


@contextlib.contextmanager
def float32_products(precision: Precision, device: str) -> Iterator[None]:
    """Sets how a GPU multiplies float32 inside the block: in full, or with factors of 10 bits (tf32) where asked for.

    By itself torch rounds the factors of convolutions, but not those of other products.

    Args:
        precision: The arithmetic.
        device: ``cpu`` or ``cuda``; a CPU always multiplies in full.
    """
    if device != "cuda":
        yield
        return
    import torch

    kinds = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]
    before = [kind.fp32_precision for kind in kinds]
    for kind in kinds:
        kind.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        for kind, value in zip(kinds, before, strict=True):
            kind.fp32_precision = value


@contextlib.contextmanager
def reproducible(device: str, *, wanted: bool) -> Iterator[None]:
    """Lets a GPU use only kernels that add up in a fixed order, so that training gives the same bits again.

    Args:
        device: ``cpu`` or ``cuda``; what runs on a CPU is reproducible by itself.
        wanted: Whether that is asked for.
    """
    if device != "cuda" or not wanted:
        yield
        return
    import torch
    from torch.utils import deterministic

    filling = "fill_uninitialized_memory"  # of a module that hides its attributes; it is for finding faults, and slow
    before = torch.are_deterministic_algorithms_enabled(), getattr(deterministic, filling)
    # Not with warnings alone: attention would then keep its kernel that adds up as it comes.
    torch.use_deterministic_algorithms(True)
    setattr(deterministic, filling, False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        setattr(deterministic, filling, before[1])


@contextlib.contextmanager
def autocast(precision: Precision, device: str) -> Iterator[None]:
    """Gives a forward pass its arithmetic: matrix products in the short type, the rest in float32.

    Args:
        precision: Which.
        device: ``cpu`` or ``cuda``.
    """
    with float32_products(precision, device):
        if precision in ("fp32", "tf32"):
            yield
            return
        import torch

        with torch.autocast(device, dtype=torch.bfloat16 if precision == "bf16" else torch.float16):
            yield


def gradient_scaler(precision: Precision, device: str) -> torch.amp.GradScaler:
    """Returns the scaler that keeps fp16 gradients from vanishing; for other precisions it does nothing."""
    import torch

    return torch.amp.GradScaler(device, enabled=precision == "fp16")
