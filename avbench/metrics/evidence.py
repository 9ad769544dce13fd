"""What metrics are made of, unit by unit, so that they can be resampled and two models compared on the same units.

A unit is what was drawn independently: a clip, a query of retrieval, a picture with all that was annotated in it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError
from avbench.metrics import bootstrap, retrieval, shares
from avbench.metrics.classification import MEANS, Absent, check, d_prime, places, summarise, top_k
from avbench.metrics.classification_intervals import resampled_means

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]
Draw = Callable[[int, int], Mapping[str, Float64]]  # resamples and seed -> metric to its estimates (R,)


@dataclass(frozen=True)
class Mean:
    """A metric that is a mean over samples, of which each unit has some.

    Attributes:
        totals: (units,) sums over the samples of each unit.
        counts: (units,) samples of each unit.
    """

    totals: Float64
    counts: Float64

    def __call__(self, index: Array) -> Float64:
        """Returns the mean over the samples of some units, (...,) from indices (..., n); 0 of no samples."""
        count = self.counts[index].sum(axis=-1)
        return np.asarray(self.totals[index].sum(axis=-1) / np.maximum(count, 1))

    @property
    def value(self) -> float:
        """The mean over the samples of all units."""
        return float(self.totals.sum() / self.counts.sum())

    def interval(self) -> tuple[float, float] | None:
        """Returns the 95 % interval where the mean is a share; see :func:`avbench.metrics.shares.interval`."""
        return shares.interval(self.totals, self.counts)

    def less(self, other: Mean) -> Mean:
        """Returns the difference to another model's mean over the same samples."""
        return Mean(self.totals - other.totals, self.counts)


class Later(Mapping[str, float]):
    """Values that are computed when the first is asked for: resamples of means need none."""

    def __init__(self, compute: Callable[[], Mapping[str, float]]) -> None:
        self._compute = compute

    @functools.cached_property
    def _values(self) -> Mapping[str, float]:
        return self._compute()

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _nothing(resamples: int, seed: int) -> Mapping[str, Float64]:
    return {}


@dataclass(frozen=True)
class Evidence:
    """Metrics of one model on a set of units, and what their resamples are drawn from.

    Attributes:
        units: (units,) names; two models can be compared where these are equal, in the same order.
        values: Every metric over all units.
        means: Those that are means.
        draw: Estimates of the others on the resamples of :mod:`avbench.metrics.bootstrap`; mAP and mAUC moved so that
            their mean is the value, as in :func:`avbench.metrics.classification_intervals.intervals`.
    """

    units: Array
    values: Mapping[str, float] = field(default_factory=dict)
    means: Mapping[str, Mean] = field(default_factory=dict)
    draw: Draw = _nothing

    def estimates(self, resamples: int, seed: int) -> dict[str, Float64]:
        """Returns each metric's estimates on the resamples, (R,); not finite where a resample has none."""
        drawn = dict(self.draw(resamples, seed))
        if self.means:
            drawn |= dict(zip(self.means, _mean_estimates(self.means, resamples, seed), strict=True))
        return {name: drawn[name] for name in self.values if name in drawn}


def _mean_estimates(means: Mapping[str, Mean], resamples: int, seed: int) -> Float64:
    """Returns estimates of all means at once, (K, R): how often each unit was drawn times what it adds."""
    totals = np.stack([mean.totals for mean in means.values()], axis=1)  # (n, K)
    counts = np.stack([mean.counts for mean in means.values()], axis=1)
    found = np.empty((len(means), resamples))
    for part, index in bootstrap.chunks(len(totals), resamples, seed):
        rows = len(index)
        weights = np.bincount((index + np.arange(rows)[:, None] * len(totals)).ravel(), minlength=index.size)
        weights = weights.reshape(rows, -1).astype(np.float64)  # (r, n)
        found[:, part] = ((weights @ totals) / np.maximum(weights @ counts, 1)).T
    return found


def of_means(units: Array, values: Mapping[str, Array]) -> Evidence:
    """Returns the evidence of metrics that are means of one number a unit, (n,) each."""
    ones = np.ones(len(units))
    return Evidence(
        units,
        {name: float(each.mean()) for name, each in values.items()},
        {name: Mean(np.asarray(each, np.float64), ones) for name, each in values.items()},
    )


def of_ranks(units: Array, ranks: Mapping[str, Array], ties: Mapping[str, Array] | None = None) -> Evidence:
    """Returns the evidence of retrieval: queries are drawn, each with the rank it has among all candidates.

    Args:
        units: (n,) names of the queries.
        ranks: Direction to the rank of each query's counterpart, (n,).
        ties: Direction to how many candidates are as similar as it; of those left out it is not known.
    """
    tied = ties or {}
    hits = {
        f"{side}/R@{k}": retrieval.credit(k, values, tied.get(side))
        for side, values in ranks.items()
        for k in retrieval.RECALLS
    }
    means = of_means(units, hits | {f"{side}/mean_rank": values for side, values in ranks.items()}).means

    def draw(resamples: int, seed: int) -> dict[str, Float64]:
        median = {"median_rank": lambda drawn: retrieval.statistic("median_rank", drawn)}
        return {
            f"{side}/{name}": estimates
            for side, values in ranks.items()
            for name, estimates in bootstrap.estimates(values, median, resamples=resamples, seed=seed).items()
        }

    metrics = {
        f"{side}/{name}": float(retrieval.statistic(name, values, tied.get(side)))
        for side, values in ranks.items()
        for name in retrieval.METRICS
    }
    return Evidence(units, metrics, means, draw)


def of_scores(units: Array, scores: Array, target: Array, *, absent: Absent = "present") -> Evidence:
    """Returns the evidence of the metrics of :func:`avbench.metrics.classification.summarise`, for its arguments.

    Args:
        units: (n,) names of the clips.
        scores: (n, C).
        target: (n,) class indices or (n, C) zeros and ones.
        absent: What classes without positive clips count.

    Raises:
        InputError: Shapes that do not fit, or values that are not finite.
    """
    positive = check(scores, target)
    metrics = Later(lambda: summarise(scores, target, absent=absent))

    def draw(resamples: int, seed: int) -> dict[str, Float64]:
        values, drawn = resampled_means(scores, positive, absent=absent, resamples=resamples, seed=seed)
        found = {
            name: estimates - estimates[np.isfinite(estimates)].mean() + values[name]
            for name, estimates in zip(MEANS, drawn, strict=True)
            if name in values and np.isfinite(estimates).any()
        }
        if "mAUC" in found:
            found["d_prime"] = np.array([d_prime(area) for area in found["mAUC"].tolist()])
        return found

    hits = {f"top{k}": top_k(scores, target, k) for k in places(scores.shape[1], target)}
    means = of_means(units, hits).means
    return Evidence(units, metrics, means, draw)


def joined(parts: Sequence[tuple[str, Evidence]]) -> Evidence:
    """Returns the evidence of several parts of the metrics as one.

    Args:
        parts: What the keys of each are to begin with, and the part.

    Raises:
        InputError: No parts, or parts of different units.
    """
    if not parts:
        raise InputError("evidence: found no parts, valid: one or more.")
    units = parts[0][1].units
    for _, part in parts:
        _same(units, part.units)

    def draw(resamples: int, seed: int) -> dict[str, Float64]:
        return {f"{name}{key}": v for name, part in parts for key, v in part.draw(resamples, seed).items()}

    return Evidence(
        units,
        Later(lambda: {f"{name}{key}": value for name, part in parts for key, value in part.values.items()}),
        {f"{name}{key}": mean for name, part in parts for key, mean in part.means.items()},
        draw,
    )


def over_folds(evidence: Evidence, folds: Array) -> Evidence:
    """Returns evidence with the means over folds of its means: ``audio/folds/top1`` beside ``audio/top1``.

    Each fold counts alike, whatever the number of its samples; units are resampled from all folds together. What a fold
    has no samples of has no mean over folds.

    Args:
        evidence: Of the units of all folds.
        folds: (units,) the fold of each, from 0 on.
    """
    found = {}
    for name, mean in evidence.means.items():
        head, slash, last = name.rpartition("/")
        counts = np.bincount(folds, mean.counts)
        if counts.all():
            weights = (counts.mean() / counts)[folds]
            found[f"{head}{slash}folds/{last}"] = Mean(mean.totals * weights, mean.counts)
    values = Later(lambda: {**evidence.values, **{name: mean.value for name, mean in found.items()}})
    return Evidence(evidence.units, values, {**evidence.means, **found}, evidence.draw)


def difference(first: Evidence, second: Evidence) -> Evidence:
    """Returns the evidence of first less second, of the metrics that both have, on the same resamples.

    Raises:
        InputError: They are of different units.
    """
    _same(first.units, second.units)

    def draw(resamples: int, seed: int) -> dict[str, Float64]:
        own, others = (
            {**each.draw(resamples, seed), **_estimated(each, unlike, resamples, seed)} for each in (first, second)
        )
        found = {}
        for name in (name for name in own if name in others):
            known = min(len(own[name]), len(others[name]))  # an archive has the first resamples only
            with np.errstate(invalid="ignore"):  # of two infinite values
                found[name] = own[name][:known] - others[name][:known]
        return found

    shared = [name for name in first.means if name in second.means]
    alike = [name for name in shared if np.array_equal(first.means[name].counts, second.means[name].counts)]
    unlike = [name for name in shared if name not in alike]
    return Evidence(
        first.units,
        {name: value - second.values[name] for name, value in first.values.items() if name in second.values},
        {name: first.means[name].less(second.means[name]) for name in alike},
        draw,
    )


def _estimated(evidence: Evidence, names: list[str], resamples: int, seed: int) -> dict[str, Float64]:
    means = {name: evidence.means[name] for name in names}
    return dict(zip(means, _mean_estimates(means, resamples, seed), strict=True)) if means else {}


def _same(first: Array, second: Array) -> None:
    if not np.array_equal(first, second):
        raise InputError(
            f"paired outputs: found {len(first)} and {len(second)} samples, valid: the same clips in the same order."
        )
