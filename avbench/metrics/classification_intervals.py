"""Bootstrap intervals of classification's metrics: clips are resampled."""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

from avbench.metrics import bootstrap
from avbench.metrics.classification import (
    MEANS,
    Absent,
    Array,
    Float64,
    PerClass,
    check,
    d_prime,
    means,
    places,
    top_k,
)
from avbench.metrics.positives import in_parts
from avbench.metrics.shares import wilson


def intervals(
    scores: Array,
    target: Array,
    *,
    absent: Absent = "present",
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Returns intervals over clips of what :func:`summarise` gives, for the same arguments.

    Those of top-k accuracies are Wilson's (:mod:`avbench.metrics.shares`), the others bootstrap intervals, whose
    resamples are those of :mod:`avbench.metrics.bootstrap`. AP and AUC are computed exactly for each: a clip drawn
    w times counts w times, and a class without positive clips in it is absent. A clip drawn twice stands beside itself,
    which lifts AP as if the set were smaller; the percentiles of mAP and mAUC are therefore moved by the difference of
    value and resamples' mean. They are intervals for the metric's expectation on test sets of this size.

    Args:
        scores: (n, C).
        target: (n,) or (n, C).
        absent: As in :func:`summarise`.
        resamples: How many; none gives no intervals.
        seed: Seed of the draws.
        level: Share of the bootstrap distribution inside.

    Raises:
        InputError: As in :func:`check`.
    """
    positive = check(scores, target)
    if resamples == 0:
        return {}
    ends: dict[str, tuple[float, float]] = {}
    for k in places(scores.shape[1], target):
        hits = top_k(scores, target, k)
        ends[f"top{k}"] = wilson(float(hits.mean()), len(hits), level=level)
    tail = (1 - level) / 2
    values, drawn = resampled_means(scores, positive, absent=absent, resamples=resamples, seed=seed)
    for (name, stands_for), means_of in zip(MEANS.items(), drawn, strict=True):
        estimates = means_of[np.isfinite(means_of)]
        if name in values and len(estimates):
            centred = np.clip(estimates - estimates.mean() + values[name], min(stands_for, 0.0), 1.0)
            low, high = np.quantile(centred, (tail, 1 - tail))
            ends[name] = float(low), float(high)
    if "d_prime" in values and "mAUC" in ends:
        ends["d_prime"] = d_prime(ends["mAUC"][0]), d_prime(ends["mAUC"][1])
    return {name: pair for name, pair in ends.items() if all(map(math.isfinite, pair))}


def resampled_means(
    scores: Array, positive: npt.NDArray[np.bool_], *, absent: Absent, resamples: int, seed: int
) -> tuple[dict[str, float], Float64]:
    """Returns mAP, mAUC and d' of all clips, and the first two of every resample, (2, R); NaN where no class has one.

    Args:
        scores: (n, C).
        positive: (n, C), as :func:`check` gives it.
        absent: As in :func:`summarise`.
        resamples: R.
        seed: Seed of the draws.
    """
    weights = _weights(len(scores), resamples, seed)
    parts = [(*each.areas(), *each.resampled(weights)) for each in in_parts(scores, positive)]
    ap, auc, *drawn = (np.concatenate(each) for each in zip(*parts, strict=True))
    known = ~np.isnan(drawn)  # (2, C, R)
    sums, counts = np.where(known, drawn, 0.0).sum(axis=1), known.sum(axis=1).astype(np.float64)
    if absent == "reference":
        sums += np.array([*MEANS.values()])[:, None] * (scores.shape[1] - counts)
        counts[:] = scores.shape[1]
    with np.errstate(invalid="ignore"):
        return means(PerClass(ap, auc), absent), np.asarray(sums / counts)


@functools.lru_cache(maxsize=2)
def _weights(n: int, resamples: int, seed: int) -> npt.NDArray[np.uint8]:
    """Returns how often each resample draws each clip, (n, R); more than 255 times never happens."""
    counts = np.empty((resamples, n), np.uint8)
    for r in range(resamples):
        counts[r] = np.bincount(bootstrap.resample_indices(n, r, seed), minlength=n)
    found = np.ascontiguousarray(counts.T)
    found.flags.writeable = False  # it is shared
    return found
