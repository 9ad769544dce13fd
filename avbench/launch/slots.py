"""How many jobs fit on this machine in parallel, and what each is given of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avbench.config import RunConfig


def local_slots(device: str, configs: Sequence[RunConfig], count: int = 0) -> tuple[list[dict[str, str]], list[str]]:
    """Shares this machine among jobs.

    Args:
        device: ``cpu`` or ``cuda``.
        configs: What the jobs compute.
        count: Jobs at a time; 0: one for each GPU, or as many as the cores have room for.

    Returns:
        The environment of each job that may run at a time, and settings for all that share the cores among them.
    """
    import torch

    from avbench.processes import core_count
    from avbench.training.device import gpus

    if device == "cuda":
        names = gpus()
        count = count or len(names)
        return [{"CUDA_VISIBLE_DEVICES": names[i % len(names)]} for i in range(count)], []
    cores = core_count()
    threads = max((abs(config.train.threads) or cores for config in configs), default=cores)
    count = count or max(1, cores // threads)
    share = max(1, cores // count)
    settings = [f"train.threads={share}"] if count > 1 and any(config.train.threads == 0 for config in configs) else []
    # Also for what is not training: threads that wait for a core of another job's would only turn.
    return [{"OMP_NUM_THREADS": str(min(share, torch.get_num_threads()))}] * count, settings
