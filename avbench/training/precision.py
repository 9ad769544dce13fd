"""The arithmetic of a training step: weights are always float32, products may be shorter."""

from __future__ import annotations

import contextlib
import functools
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from avbench.config import Precision
from avbench.errors import InputError, unknown

if TYPE_CHECKING:
    import torch

WIDE = 384  # the narrowest encoder for which bf16 pays on a CPU
_NAMES = ("auto", "fp32", "bf16", "fp16")


def resolve_precision(name: str, device: str) -> Precision:
    """Returns the precision that ``name`` means on a device.

    ``auto`` is bf16 on a GPU that has it, fp16 on an older one, fp32 on a CPU; for runs see :func:`on_cpu`.

    Args:
        name: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        device: ``cpu`` or ``cuda``.

    Raises:
        InputError: Another name, or one that the device cannot do.
    """
    if name == "auto":
        if device == "cpu":
            return "fp32"
        import torch

        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if name == "fp16" and device == "cpu":
        raise InputError("--precision: found fp16 on a CPU, valid there: auto, fp32, bf16; or use --device cuda.")
    if name == "bf16" and device == "cuda":
        import torch

        if not torch.cuda.is_bf16_supported():
            raise InputError("--precision: found bf16, which this GPU does not have; valid: auto, fp32, fp16.")
    if name in ("fp32", "bf16", "fp16"):
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


def autocast(precision: Precision, device: str) -> AbstractContextManager[object]:
    """Returns the context of a forward pass: matrix products in the short type, the rest in float32."""
    if precision == "fp32":
        return contextlib.nullcontext()
    import torch

    return torch.autocast(device, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)


def gradient_scaler(precision: Precision, device: str) -> torch.amp.GradScaler:
    """Returns the scaler that keeps fp16 gradients from vanishing; for other precisions it does nothing."""
    import torch

    return torch.amp.GradScaler(device, enabled=precision == "fp16")
