"""The arithmetic of a training step: weights are always float32, products may be shorter."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from avbench.config import Precision
from avbench.errors import InputError, unknown

if TYPE_CHECKING:
    import torch

_NAMES = ("auto", "fp32", "bf16", "fp16")


def resolve_precision(name: str, device: str) -> Precision:
    """Returns the precision that ``name`` means on a device.

    ``auto`` is bf16 on a GPU that has it, fp16 on an older one, fp32 on a CPU: there bf16 pays only for wide models
    on processors with instructions for it.

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
