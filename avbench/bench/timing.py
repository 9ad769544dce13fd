"""Comparing two ways of doing one thing in one run, repetitions interleaved, so that a busy machine hits both."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Timing:
    """One comparison: milliseconds of ours and of the plain way (medians), their ratio, and the ratio aimed at."""

    name: str
    ours_ms: float
    plain_ms: float
    ratio: float
    target: float


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limits torch to one thread inside the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compare(
    name: str,
    ours: Callable[[], Any],
    plain: Callable[[], Any],
    *,
    target: float,
    repeats: int = 30,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Times two functions alternately, after one call of each that is not counted.

    Args:
        name: What is compared.
        ours: The package's way.
        plain: The other way.
        target: The ratio aimed at.
        repeats: Calls of each.
        clock: Returns seconds; ``time.process_time`` counts the processor's, of all threads.

    Returns:
        Medians, and the median of the ratios of neighbouring calls.
    """
    ours(), plain()
    times: list[tuple[float, float]] = []
    for _ in range(repeats):
        start = clock()
        ours()
        middle = clock()
        plain()
        times.append((middle - start, clock() - middle))
    return Timing(
        name,
        ours_ms=1e3 * statistics.median(a for a, _ in times),
        plain_ms=1e3 * statistics.median(b for _, b in times),
        ratio=statistics.median(b / a for a, b in times),
        target=target,
    )


def table(rows: list[Timing]) -> str:
    """Returns the rows as a text table."""
    from tabulate import tabulate

    cells = [(row.name, row.ours_ms, row.plain_ms, row.ratio, row.target) for row in rows]
    return tabulate(cells, headers=("what", "ours ms", "plain ms", "ratio", "target"), floatfmt=".2f")
