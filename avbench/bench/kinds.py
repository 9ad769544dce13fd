"""Where the time of a step goes: shares of it by kind of operation, as torch's profiler sees them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import torch
from torch.profiler import ProfilerActivity, profile

IDLE = "idle"
# An operation is of the first kind that one of its words fits; torch's names are the same on all devices.
_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("between GPUs", ("nccl", "c10d", "gloo")),
    ("attention", ("attention", "softmax")),
    ("products", ("mm", "linear", "conv", "matmul")),
    ("LayerNorm", ("layer_norm",)),
    ("optimiser", ("adam", "optimizer")),
    ("copies", ("copy", "memcpy", "memset", "aten::cat", "clone", "pin_memory", "fill_", "zero_")),
    ("sorting", ("sort", "gather", "scatter", "index", "take_along")),
    ("elementwise", ("gelu", "add", "mul", "sub", "div", "sum", "mean", "pow", "exp", "log", "sqrt", "norm", "where")),
)
OTHER = "other"
KINDS = (*(name for name, _ in _KINDS), OTHER, IDLE)


def kind_of(operation: str) -> str:
    """Returns the kind of an operation of torch, by its name."""
    lower = operation.lower()
    return next((kind for kind, words in _KINDS if any(word in lower for word in words)), OTHER)


def shares(step: Callable[[], None], device: str) -> dict[str, float]:
    """Returns the share of each kind in the time of a step, and on a GPU the share in which nothing ran there.

    The profiler itself takes time, on a CPU with small models much of it: these are shares, not seconds.

    Args:
        step: Makes one step; it was made before, so that nothing is set up in it.
        device: ``cpu`` or ``cuda``.
    """
    gpu = device == "cuda"
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # the profiler tells of its own beginning and end, as errors
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    if gpu:
        torch.cuda.synchronize()
    with profile(activities=activities, acc_events=True) as found:
        begin = time.perf_counter()
        step()
        if gpu:
            torch.cuda.synchronize()
        wall_us = 1e6 * (time.perf_counter() - begin)
    attribute = "self_device_time_total" if gpu else "self_cpu_time_total"
    spent: dict[str, float] = {}
    for event in found.key_averages():
        # Of a GPU, kernels are listed beside the operations that queued them: each would count twice.
        if gpu and not str(event.device_type).endswith("CPU"):
            continue
        microseconds = float(getattr(event, attribute))
        spent[kind_of(event.key)] = spent.get(kind_of(event.key), 0.0) + microseconds
    return as_shares(spent, wall_us if gpu else 0.0)


def as_shares(spent: Mapping[str, float], wall: float) -> dict[str, float]:
    """Returns shares of the whole, the largest first.

    Args:
        spent: Time of each kind.
        wall: The time that passed; where it is more than all kinds together, the rest is idle.
    """
    busy = sum(spent.values())
    whole = max(busy, wall) or 1.0
    found = {**spent, **({IDLE: whole - busy} if whole > busy else {})}
    return {kind: value / whole for kind, value in sorted(found.items(), key=lambda item: -item[1]) if value > 0}
