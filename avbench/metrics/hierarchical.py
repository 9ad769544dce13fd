"""The estimator behind every mean over seeds: its interval, its distance from chance, and its difference to another.

A mean over S seeds that judge the same n clips would be another with other seeds, and another with other clips. A
bootstrap that draws seeds and clips together (the pigeonhole bootstrap: Owen 2007) finds the variance

    clips + (S - 1) / S * (seeds + both)

``clips``: of the mean when clips alone are drawn; ``seeds``: of the S values, over S; ``both``: what is particular to a
seed on a clip, which is in each of the two. What drawing seeds would find is thus known, and clips alone are drawn, on
the resamples of :mod:`avbench.metrics.bootstrap`, the same of every seed and model. That variance has ``both`` twice,
and too little of the seeds where they are few; the one used here has neither fault:

    (clips - both) + seeds

Percentiles would take two or three seeds for all there are. The error is taken for the sum of two, each Student's t
with a variance of its own: of the clips with n - 1 degrees of freedom, of the seeds with S - 1 (Behrens 1929).
``benchmarks/coverage.py`` measures how often such intervals hold the truth.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from avbench.errors import InputError
from avbench.metrics import shares

Float64 = npt.NDArray[np.float64]
LEVEL, POWER = 0.95, 0.8
_HALVINGS = 60  # at most; about eight are needed
_CLOSE = 1e-10  # of a logarithm
_STEPS = 200
_NORMAL = 1e6  # degrees of freedom of what is as good as normal
_ROUNDING = 1e-12  # of values: less than this is no difference


@dataclass(frozen=True)
class Resampled:
    """One metric of one model, by seed.

    Attributes:
        seeds: S of them, each once.
        values: (S,) the metric over all units.
        drawn: (S, R) the metric on the resamples of the units, the same of every seed; not finite where it has none.
        units: How many units (clips) there are.
    """

    seeds: tuple[int, ...]
    values: Float64
    drawn: Float64
    units: int

    def __post_init__(self) -> None:
        count = len(self.seeds)
        if not count or self.values.shape != (count,) or self.drawn.ndim != 2 or len(self.drawn) != count:
            raise InputError(
                f"estimate: found values of {self.values.shape} and resamples of {self.drawn.shape} for"
                f" {count} seeds, valid: (S,) and (S, R)."
            )


@dataclass(frozen=True)
class Spread:
    """Variance of a mean over seeds and clips, in parts; see the module.

    Attributes:
        clips: Of drawing clips.
        seeds: Of drawing seeds; 0 of one seed, which tells nothing of others.
        both: What is in both.
    """

    clips: float
    seeds: float = 0.0
    both: float = 0.0

    @property
    def own(self) -> float:
        """What is of the clips alone."""
        return max(self.clips - self.both, 0.0)

    @property
    def total(self) -> float:
        """The variance of the mean."""
        return self.own + self.seeds


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, or a difference of two, and how far it could be from the truth.

    Attributes:
        value: The mean or the difference.
        spread: Its variance in parts.
        seeds: Seeds behind it; of unlike seeds the fewer. One: nothing is said of other seeds.
        units: Units behind it.
        resamples: Behind its variance.
    """

    value: float
    spread: Spread
    seeds: int
    units: int
    resamples: int

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(self.spread.total)

    def tail(self, distance: float) -> float:
        """Returns the chance of an error above a distance, which is above 0."""
        units = max(min(self.units, self.resamples) - 1, 1)
        if self.seeds < 2:
            return float(special.stdtr(units, -distance / self.error))
        # Of the seeds' error Student's t is a normal one of a variance that is drawn.
        scales, shares = _scales(self.seeds - 1)
        variance = self.spread.own + self.spread.seeds * scales
        known = variance * math.sqrt(units / _NORMAL)  # beside this, what is of the clips is known exactly
        freedom = units * (variance / np.maximum(self.spread.own, known)) ** 2
        return float(special.stdtr(freedom, -distance / np.sqrt(variance)) @ shares)

    def quantile(self, tail: float) -> float:
        """Returns the error that is exceeded with a chance of ``tail``, in (0, 0.5)."""
        if self.spread.total == 0:
            return 0.0
        low, high = 0.0, self.error
        while (above := self.tail(high)) > tail:
            low, high = high, 4 * high
        # Regula falsi of the logarithms (Illinois): tails fall about as those of a normal distribution.
        wanted = math.log(tail)
        ends = [math.log(self.tail(low)) - wanted if low else math.log(0.5) - wanted, math.log(above) - wanted]
        last = 0.0
        for _ in range(_HALVINGS):
            middle = high - ends[1] * (high - low) / (ends[1] - ends[0])
            at = math.log(self.tail(middle)) - wanted
            if abs(at) < _CLOSE or not low < middle < high:
                return middle
            if at > 0:
                low, ends = middle, [at, ends[1] / 2 if last > 0 else ends[1]]
            else:
                high, ends = middle, [ends[0] / 2 if last < 0 else ends[0], at]
            last = at
        return high

    def interval(self, *, level: float = LEVEL, share: bool = False) -> tuple[float, float]:
        """Returns the interval.

        Args:
            level: How many of such intervals are to hold the truth.
            share: Whether it is of a share of samples: then Wilson's, of as many independent samples as would have this
                standard error.
        """
        width = self.quantile((1 - level) / 2)
        if share and 0 <= self.value <= 1:
            alike = self.value * (1 - self.value) / self.spread.total if self.spread.total > 0 else 0.0
            if not alike:  # all hits or none
                return shares.wilson(self.value, self.units, level=level)
            return shares.score(self.value, alike, width / self.error)
        return self.value - width, self.value + width

    def p(self, other: float = 0.0) -> float | None:
        """Returns the two-sided p-value of the truth being ``other``; None: nothing varies, so it cannot be told."""
        distance = abs(self.value - other)
        if distance == 0:
            return 1.0
        if self.spread.total == 0 or self.units < 2 or not math.isfinite(distance):
            return None
        return min(1.0, 2 * self.tail(distance))

    def shown(self, p: float, *, power: float = POWER) -> float:
        """Returns the smallest true difference that would be found with a p-value below ``p``.

        Args:
            p: In (0, 1), after any correction.
            power: How often it would be found.
        """
        return self.quantile(p / 2) + self.quantile(1 - power)


def mean(sample: Resampled) -> Estimate:
    """Returns the mean over a model's seeds."""
    whole = int(np.isfinite(sample.drawn).all(axis=0).sum())
    return Estimate(float(sample.values.mean()), _spread(sample), len(sample.seeds), sample.units, whole)


def difference(first: Resampled, second: Resampled) -> Estimate:
    """Returns first less second: paired over units, and over seeds where both have the same.

    Raises:
        InputError: They are of other numbers of units or resamples.
    """
    if first.units != second.units or first.drawn.shape[1] != second.drawn.shape[1]:
        raise InputError(
            f"estimate: found {first.units} and {second.units} units and {first.drawn.shape[1]} and"
            f" {second.drawn.shape[1]} resamples, valid: the same of both."
        )
    if set(first.seeds) == set(second.seeds):
        order = [second.seeds.index(seed) for seed in first.seeds]
        with np.errstate(invalid="ignore"):  # of two infinite values
            drawn = first.drawn - second.drawn[order]
        return mean(Resampled(first.seeds, first.values - second.values[order], drawn, first.units))
    whole = np.isfinite(first.drawn).all(axis=0) & np.isfinite(second.drawn).all(axis=0)
    means = first.drawn[:, whole].mean(axis=0) - second.drawn[:, whole].mean(axis=0)
    one, other = _spread(first), _spread(second)
    return Estimate(
        float(first.values.mean() - second.values.mean()),
        Spread(_variance(means, first.units), one.seeds + other.seeds, one.both + other.both),
        min(len(first.seeds), len(second.seeds)),
        first.units,
        len(means),
    )


def typical(estimates: Sequence[Estimate]) -> Estimate:
    """Returns no difference, with the mean variance of some estimates and the fewest seeds, units and resamples."""
    parts = [(each.spread.clips, each.spread.seeds, each.spread.both) for each in estimates]
    fewest = (min(getattr(each, name) for each in estimates) for name in ("seeds", "units", "resamples"))
    return Estimate(0.0, Spread(*np.mean(parts, axis=0).tolist()), *fewest)


def holm(found: Sequence[float], *, tests: int = 0) -> list[float]:
    """Returns p-values that hold for all tests of a family together (Holm 1979), in the order given.

    Args:
        found: The p-values of these tests.
        tests: How many tests the family has, where it has more: those left out are taken to find nothing.
    """
    count, highest = max(tests, len(found)), 0.0
    adjusted = [0.0] * len(found)
    for rank, i in enumerate(sorted(range(len(found)), key=lambda i: found[i])):
        highest = max(highest, min(1.0, (count - rank) * found[i]))
        adjusted[i] = highest
    return adjusted


@functools.cache
def _scales(freedom: int) -> tuple[Float64, Float64]:
    """Returns by what a variance of so many degrees of freedom may be too small, and the chance of each."""
    middles = (np.arange(_STEPS) + 0.5) / _STEPS
    shares = 4 * middles**3 / (4 * middles**3).sum()  # finer where the variance is far too small: there the tails are
    return freedom / special.chdtri(freedom, 1 - middles**4), shares


def _spread(sample: Resampled) -> Spread:
    drawn = sample.drawn[:, np.isfinite(sample.drawn).all(axis=0)]
    count, means = len(drawn), drawn.mean(axis=0)
    clips = _variance(means, sample.units)
    if count < 2:
        return Spread(clips)
    both = sum(_variance(own, sample.units) for own in drawn - means) / (count - 1) / count
    return Spread(clips, _variance(sample.values) / count, both)


def _variance(values: Float64, units: int = 0) -> float:
    """Returns the variance, 0 of what differs by rounding alone.

    Args:
        values: (R,) or (S,).
        units: Behind resamples, whose variance is too small by one unit's; 0: the values are no resamples.
    """
    if len(values) < 2 or units == 1:
        return 0.0
    found = float(values.var(ddof=1))
    if found <= (_ROUNDING * float(np.abs(values).max())) ** 2:
        return 0.0
    return found * units / (units - 1) if units else found
