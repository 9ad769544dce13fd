"""More threads for a training on a CPU while cores are idle, with the bits of one.

A small model's step takes two thirds of the time with a second thread, and longer where other work has that core. But
numbers must not follow the load. PyTorch adds up the gradients of LayerNorms' and convolutions' weights in as many
parts as there are threads, so one thread does that. That all else has the same bits is nowhere promised: a number of
threads is used if it gave a step the gradients of one.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from avbench.processes import own_cores

T = TypeVar("T")
log = logging.getLogger("avbench")
_MOST = 4  # so small a model was not measured with more
_PERIOD_S = 1.0  # between two looks at the load
_SPARE = 0.3  # of a core: so much other work is no reason to leave it


def free_cores(workers: int) -> int:
    """Returns how many threads torch may have beside ``workers`` other busy processes, from 1 to 4."""
    return max(1, min(torch.get_num_threads(), own_cores() - workers, _MOST))


def load() -> float:
    """Returns for how many seconds the cores of this process were idle or worked for it, all together, until now.

    Where the system does not tell what is idle (it does on Linux), nothing is.
    """
    idle = 0
    if hasattr(os, "sched_getaffinity") and (table := Path("/proc/stat")).exists():
        own = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        rows = (line.split() for line in table.read_text().splitlines() if line.startswith("cpu"))
        idle = sum(int(row[4]) + int(row[5]) for row in rows if row[0] in own)  # the second: waiting for a disk
    return idle / os.sysconf("SC_CLK_TCK") + time.process_time()


class Threads:
    """How many threads a step has: 1, 2 or 4, as there lately were cores for.

    Args:
        most: The most there may be; 1: what torch is set to, always.
        clock: Gives seconds.
        load: See :func:`load`.
    """

    def __init__(
        self, most: int = 1, clock: Callable[[], float] = time.monotonic, load: Callable[[], float] = load
    ) -> None:
        self._most, self._clock, self._load = most, clock, load
        self._looked, self._had = clock(), load()
        self._count = self._now = 1
        self._same = {1: True}  # whether a number gave the gradients of one

    @contextmanager
    def of(self, model: nn.Module) -> Iterator[Threads]:
        """Within the context, one thread adds up what would depend on their number in a model's backward pass."""
        handles = []
        if self._most > 1:
            parts = [part for part in model.modules() if isinstance(part, (nn.LayerNorm, nn.Conv2d))]
            handles = [part.register_forward_hook(self._add_up_alone) for part in parts]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def _add_up_alone(self, _: nn.Module, __: object, output: Tensor) -> None:
        if output.grad_fn is not None:
            output.grad_fn.register_prehook(lambda _: torch.set_num_threads(1))
            output.grad_fn.register_hook(lambda *_: torch.set_num_threads(self._now))

    def step(self, model: nn.Module, differentiate: Callable[[], T]) -> T:
        """Computes the gradients of a step.

        Args:
            model: Has no gradients yet.
            differentiate: Fills them; more than once where a number of threads is new.

        Returns:
            What ``differentiate`` does.
        """
        if self._most == 1:
            return differentiate()
        count = self._choose()
        if count not in self._same:
            self._same[count] = self._equals_one(model, differentiate, count)
        return self._with(count if self._same[count] else 1, differentiate)

    def _choose(self) -> int:
        """Returns the number of this step, which changes once a period at most."""
        seconds = self._clock() - self._looked
        if seconds >= _PERIOD_S:
            had = self._load()
            cores = (had - self._had) / seconds + _SPARE
            self._count = max(count for count in (1, 2, _MOST) if count == 1 or count <= min(cores, self._most))
            self._looked, self._had = self._looked + seconds, had
        return self._count

    def _equals_one(self, model: nn.Module, differentiate: Callable[[], T], count: int) -> bool:
        found = []
        for threads in (1, count):
            self._with(threads, differentiate)
            found.append([each.grad for each in model.parameters() if each.grad is not None])
            model.zero_grad(set_to_none=True)
        same = len(found[0]) == len(found[1]) and all(map(torch.equal, *found))
        if not same:
            log.info("%d threads give other last bits than one here, and are not used", count)
        return same

    def _with(self, count: int, differentiate: Callable[[], T]) -> T:
        self._now = count
        torch.set_num_threads(count)
        try:
            return differentiate()
        finally:
            torch.set_num_threads(1)
