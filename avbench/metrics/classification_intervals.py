"""Bootstrap intervals of classification's metrics: clips are resampled."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from avbench.metrics import bootstrap
from avbench.metrics.classification import (
    GATHERED,
    MEANS,
    Absent,
    Array,
    Float64,
    check,
    columns,
    d_prime,
    places,
    summarise,
    top_k,
)
from avbench.metrics.shares import wilson

MOST_POSITIVE = 64  # clips of a class, up to which comparing each with all is faster than sorting them
COMPARED = 2**19  # comparisons held at a time: more would leave the cache, and take twice as long


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
    values = summarise(scores, target, absent=absent)
    if resamples == 0:
        return {}
    ends: dict[str, tuple[float, float]] = {}
    for k in places(scores.shape[1], target):
        hits = top_k(scores, target, k)
        ends[f"top{k}"] = wilson(float(hits.mean()), len(hits), level=level)
    tail = (1 - level) / 2
    drawn = resampled_means(scores, positive, absent=absent, resamples=resamples, seed=seed)
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
) -> Float64:
    """Returns mAP and mAUC of every resample, (2, R); NaN where no class has one.

    Args:
        scores: (n, C).
        positive: (n, C), as :func:`check` gives it.
        absent: As in :func:`summarise`.
        resamples: R.
        seed: Seed of the draws.
    """
    sums, counts = np.zeros((2, resamples)), np.zeros((2, resamples))
    weights = _weights(len(scores), resamples, seed)
    chunk = max(1, GATHERED // len(scores))
    for first in range(0, resamples, chunk):
        part = slice(first, first + chunk)
        for pair in statistics(scores, positive, weights[:, part]):
            for i, found in enumerate(pair):
                known = ~np.isnan(found)
                sums[i, part] += np.where(known, found, 0.0)
                counts[i, part] += known
    if absent == "reference":
        sums += np.array([*MEANS.values()])[:, None] * (scores.shape[1] - counts)
        counts[:] = scores.shape[1]
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / counts)


def statistics(
    scores: Array, positive: npt.NDArray[np.bool_], weights: npt.NDArray[np.uint8]
) -> Iterator[tuple[Float64, Float64]]:
    """Yields AP and AUC of each class that has positive clips, (R,) each; NaN where they are not defined.

    Args:
        scores: (n, C).
        positive: (n, C).
        weights: (n, R) how often each resample has each clip.
    """
    counts = np.count_nonzero(positive, axis=0)
    if counts.max() > MOST_POSITIVE:
        for column in columns(scores, positive):
            yield column.statistics(weights)
        return
    by_class = np.ascontiguousarray(scores.T)
    single, total = weights.astype(np.float32), weights.sum(axis=0, dtype=np.float32)
    present = np.flatnonzero(counts)
    size = max(1, COMPARED // (len(scores) * MOST_POSITIVE))
    for start in range(0, len(present), size):
        chosen = present[start : start + size]
        yield from zip(*_compared(by_class[chosen], positive[:, chosen].T, single, total), strict=True)


def _compared(
    scores: Array, positive: npt.NDArray[np.bool_], weights: npt.NDArray[np.float32], total: npt.NDArray[np.float32]
) -> tuple[Float64, Float64]:
    """Returns AP and AUC, (C, R) each: every positive clip is compared with all clips, and a product counts.

    Single precision counts clips exactly, up to 2^24.

    Args:
        scores: (C, n).
        positive: (C, n), one or more in each row.
        weights: (n, R).
        total: (R,) their sums.
    """
    most = np.count_nonzero(positive, axis=1).max()
    own = np.argsort(~positive, axis=1, kind="stable")[:, :most]  # (C, p); the rest of a row are no positive clips
    real = np.take_along_axis(positive, own, axis=1)
    level = np.take_along_axis(scores, own, axis=1)[..., None]  # (C, p, 1)
    as_good = (scores[:, None] >= level).astype(np.float32)  # (C, p, n)
    ranks = as_good @ weights  # (C, p, R) clips at its score or above
    hits = weights[own] * real[..., None]
    found = np.take_along_axis(as_good, own[:, None], axis=2) @ hits
    positives = hits.sum(axis=1)  # (C, R)
    beaten = total - ranks - (positives[:, None] - found)  # negatives below it
    ranked = np.sort(scores, axis=1)
    for c in np.flatnonzero((ranked[:, 1:] == ranked[:, :-1]).any(axis=1)).tolist():
        tied = (scores[c] == level[c]) & ~positive[c]  # (p, n), counted half
        beaten[c] += tied.astype(np.float32) @ weights / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        ap = (hits * found / np.maximum(ranks, 1).astype(np.float64)).sum(axis=1) / positives
        auc = (hits * beaten.astype(np.float64)).sum(axis=1) / (positives.astype(np.float64) * (total - positives))
    return ap, auc


@functools.lru_cache(maxsize=2)
def _weights(n: int, resamples: int, seed: int) -> npt.NDArray[np.uint8]:
    """Returns how often each resample draws each clip, (n, R); more than 255 times never happens."""
    counts = np.empty((resamples, n), np.uint8)
    for r in range(resamples):
        counts[r] = np.bincount(bootstrap.resample_indices(n, r, seed), minlength=n)
    found = np.ascontiguousarray(counts.T)
    found.flags.writeable = False  # it is shared
    return found
