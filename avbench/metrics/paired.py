"""Bootstrap intervals of the difference between two models on the same clips.

Both models are judged on the same resamples, those of :mod:`avbench.metrics.bootstrap`, so that what makes clips hard
for both drops out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError
from avbench.metrics import bootstrap, retrieval
from avbench.metrics.classification import MEANS, Absent, check, resampled_means, summarise, top_k

Array = npt.NDArray[Any]
Interval = tuple[float, float]


def values(first: Array, second: Array, *, resamples: int = 1000, seed: int = 0) -> Interval | None:
    """Returns the interval of the difference of two means, first less second.

    Args:
        first: (n,) one number a clip.
        second: (n,) the other model's, of the same clips.
        resamples: How many; none gives no interval.
        seed: Seed of the draws.

    Raises:
        InputError: Other shapes.
    """
    _same(first, second)
    found = bootstrap.intervals(
        np.subtract(first, second, dtype=np.float64),
        {"mean": lambda drawn: np.asarray(drawn.mean(axis=-1))},
        resamples=resamples,
        seed=seed,
    )
    return found.get("mean")


def ranks(first: Array, second: Array, *, resamples: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """Returns the interval of the difference in each metric of retrieval, from two models' ranks, (n,) each."""
    _same(first, second)

    def difference(name: str) -> bootstrap.Statistic:
        return lambda rows: retrieval.statistic(name, first[rows]) - retrieval.statistic(name, second[rows])

    differences = {name: difference(name) for name in retrieval.METRICS}
    return bootstrap.intervals(np.arange(len(first)), differences, resamples=resamples, seed=seed)


def scores(
    first: Array,
    second: Array,
    target: Array,
    *,
    absent: Absent = "present",
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Returns the intervals of the differences in ``mAP``, ``mAUC`` and, of one label a clip, ``top1`` and ``top5``.

    As in :func:`avbench.metrics.classification.intervals`, the percentiles of mAP and mAUC are moved by the difference
    of value and resamples' mean.

    Args:
        first: (n, C) scores.
        second: (n, C) the other model's, of the same clips.
        target: (n,) class indices or (n, C) zeros and ones.
        absent: What classes without positive clips count.
        resamples: How many; none gives no intervals.
        seed: Seed of the draws.

    Raises:
        InputError: Shapes that do not fit, or values that are not finite.
    """
    _same(first, second)
    found = [summarise(each, target, absent=absent) for each in (first, second)]
    ends: dict[str, Interval] = {}
    if resamples == 0:
        return ends
    for name in found[0]:
        if name.startswith("top"):
            hits = [top_k(each, target, int(name.removeprefix("top"))) for each in (first, second)]
            interval = values(hits[0], hits[1], resamples=resamples, seed=seed)
            if interval is not None:
                ends[name] = interval
    estimates = [
        resampled_means(each, check(each, target), absent=absent, resamples=resamples, seed=seed)
        for each in (first, second)
    ]
    for name, differences in zip(MEANS, estimates[0] - estimates[1], strict=True):
        drawn = differences[np.isfinite(differences)]
        if name in found[0] and name in found[1] and len(drawn):
            centred = drawn - drawn.mean() + found[0][name] - found[1][name]
            low, high = np.quantile(centred, (0.025, 0.975))
            ends[name] = float(low), float(high)
    return ends


def _same(first: Array, second: Array) -> None:
    if first.shape != second.shape:
        raise InputError(f"paired outputs: found shapes {first.shape} and {second.shape}, valid: the same clips.")
