"""Percentile bootstrap intervals of metrics over samples (Efron and Tibshirani 1993, chapter 13).

Resample r draws its samples from the named stream ("bootstrap", r), so all metrics, methods and tasks of n samples
share the same resamples, and neither the number of resamples asked for nor the memory used changes one of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError
from avbench.rng import numpy_stream

Statistic = Callable[[npt.NDArray[Any]], npt.NDArray[np.float64]]  # (r, n) -> (r,)
CHUNK_VALUES = 2**20  # draws held at a time: 8 MB of indices and as much of values


def resample_indices(n: int, resample: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Returns which of ``n`` samples make up one resample: (n,), drawn with replacement.

    Args:
        n: How many samples there are.
        resample: Which resample, from 0.
        seed: Of the draws.
    """
    return numpy_stream(seed, "bootstrap", resample).integers(n, size=n)


def intervals(
    values: npt.NDArray[Any],
    statistics: Mapping[str, Statistic],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Returns the bootstrap interval of each statistic of one per-sample output.

    Args:
        values: (n,) one number a sample.
        statistics: Name to a function from (r, n) to (r,), along the last axis.
        resamples: How many; none gives no intervals.
        seed: Seed of the draws.
        level: Share of the bootstrap distribution inside.

    Raises:
        InputError: No samples, or another shape.
    """
    if values.ndim != 1 or len(values) == 0:
        raise InputError(f"bootstrap: found values of shape {values.shape}, valid: (n,) with n of 1 or more.")
    if resamples == 0:
        return {}
    drawn = estimates(values, statistics, resamples=resamples, seed=seed)
    return {name: ends(found, level=level) for name, found in drawn.items()}


def estimates(
    values: npt.NDArray[Any], statistics: Mapping[str, Statistic], *, resamples: int, seed: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Returns each statistic of every resample, (R,); arguments as in :func:`intervals`."""
    found = {name: np.empty(resamples) for name in statistics}
    for part, index in chunks(len(values), resamples, seed):
        drawn = values[index]  # (r, n)
        for name, statistic in statistics.items():
            found[name][part] = statistic(drawn)
    return found


def chunks(n: int, resamples: int, seed: int) -> Iterator[tuple[slice, npt.NDArray[np.int64]]]:
    """Yields which resamples, as a slice, and the samples of each, (r, n), as many at a time as memory has room for.

    Args:
        n: How many samples there are.
        resamples: How many are drawn.
        seed: Of the draws.
    """
    step = max(1, CHUNK_VALUES // n)
    draw = _kept if resamples <= step else _drawn
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        yield slice(start, stop), draw(n, start, stop, seed)


def _drawn(n: int, start: int, stop: int, seed: int) -> npt.NDArray[np.int64]:
    return np.stack([resample_indices(n, r, seed) for r in range(start, stop)])


@functools.lru_cache(maxsize=2)
def _kept(n: int, start: int, stop: int, seed: int) -> npt.NDArray[np.int64]:
    """Returns what is drawn, which is the same for all metrics, streams and runs of as many clips."""
    found = _drawn(n, start, stop, seed)
    found.flags.writeable = False  # it is shared
    return found


def ends(drawn: npt.NDArray[np.float64], *, level: float = 0.95) -> tuple[float, float]:
    """Returns the percentile interval of estimates (R,), one or more."""
    low, high = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)
