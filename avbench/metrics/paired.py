"""Two models on the same clips: intervals and p-values of the difference.

Both are judged on the same resamples, those of :mod:`avbench.metrics.bootstrap`, so that what makes clips hard for both
drops out; the estimator is that of means over seeds, :mod:`avbench.metrics.hierarchical`, of one seed. For many pairs,
:func:`compare` takes what the metrics are made of (:mod:`avbench.metrics.evidence`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from avbench.metrics import bootstrap, hierarchical
from avbench.metrics.evidence import Evidence, Mean, difference
from avbench.rng import numpy_stream

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]
Interval = tuple[float, float]

FLIPS = 10_000  # random signs behind a p-value, where there are too many to try all
EXACT = 16  # units that differ, up to which all signs are tried
_CHUNK_VALUES = 2**22  # signs held at a time: 32 MB in float64


class Paired(NamedTuple):
    """One metric of two models on the same units.

    Attributes:
        difference: First less second.
        low: Lower end of the 95 % interval of the difference; None: no resample has a value.
        high: Its upper end.
        p: Two-sided p-value of there being none, by the same estimator; None: nothing varies.
        p_flips: Two-sided p-value of exchanging the models unit by unit (exact where few units differ, or where they
            differ by hit or miss only: McNemar's test); None where the metric is not a mean.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_flips: float | None


def compare(first: Evidence, second: Evidence, *, resamples: int = 1000, seed: int = 0) -> dict[str, Paired]:
    """Compares two models in every metric that both have and that can be resampled.

    Args:
        first: One model's metrics.
        second: The other's, of the same units in the same order.
        resamples: How many; 1 or more.
        seed: Seed of the draws and of the signs.

    Raises:
        InputError: They are of different units.
    """
    apart = difference(first, second)
    flips = p_flips(apart.means, seed=seed)
    found = {}
    for name, drawn in apart.estimates(resamples, seed).items():
        value = apart.values[name]
        if not np.isfinite(drawn).any():
            found[name] = Paired(value, None, None, None, flips.get(name))
            continue
        estimate = hierarchical.mean(hierarchical.Resampled((0,), np.array([value]), drawn[None], len(apart.units)))
        found[name] = Paired(value, *estimate.interval(), estimate.p(), flips.get(name))
    return found


def intervals(apart: Evidence, *, resamples: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """Returns the 95 % interval of each difference; see :func:`avbench.metrics.evidence.difference`.

    Args:
        apart: The differences.
        resamples: How many; none gives no intervals.
        seed: Seed of the draws.
    """
    if resamples == 0:
        return {}
    drawn = {name: each[np.isfinite(each)] for name, each in apart.estimates(resamples, seed).items()}
    return {name: bootstrap.ends(each) for name, each in drawn.items() if len(each)}


def p_flips(means: Mapping[str, Mean], *, flips: int = FLIPS, seed: int = 0) -> dict[str, float]:
    """Returns two-sided p-values of mean differences under random signs (Fisher's randomisation test).

    If the models were as good, each unit's difference could as well have the other sign: p is the share of all signs
    that give a mean at least as far from zero.

    Args:
        means: Metric to the differences, (n,) units each.
        flips: Random signs, where more than :data:`EXACT` units differ by different amounts.
        seed: Seed of the signs.
    """
    found: dict[str, float] = {}
    drawn: dict[str, Float64] = {}
    for name, mean in means.items():
        apart = mean.totals[mean.totals != 0]
        if len(apart) and (np.abs(apart) == abs(apart[0])).all():
            found[name] = _binomial(int(np.count_nonzero(apart > 0)), len(apart))
        elif len(apart) <= EXACT:
            signs = 1.0 - 2.0 * (np.arange(2 ** len(apart))[:, None] >> np.arange(len(apart)) & 1)
            found[name] = float(_as_far(signs @ apart[:, None], apart[:, None]).mean())
        else:
            drawn[name] = mean.totals
    if drawn:
        apart = np.stack(list(drawn.values()), axis=1)  # (n, K)
        count, step = np.ones(len(drawn)), max(1, _CHUNK_VALUES // len(apart))
        for start in range(0, flips, step):
            size = (min(step, flips - start), len(apart))
            signs = 1.0 - 2.0 * numpy_stream(seed, "sign flips", start).integers(0, 2, size, dtype=np.int8)
            count += _as_far(signs @ apart, apart).sum(axis=0)
        found |= {name: float(each) / (flips + 1) for name, each in zip(drawn, count, strict=True)}
    return {name: found[name] for name in means}


def _as_far(sums: Float64, apart: Float64) -> npt.NDArray[np.bool_]:
    """Tells which sums (S, K) are at least as far from zero as those of ``apart`` (n, K), rounding aside."""
    return np.asarray(np.abs(sums) >= np.abs(apart.sum(axis=0)) - 1e-12 * np.abs(apart).sum(axis=0))


def _binomial(heads: int, n: int) -> float:
    """Returns the two-sided p-value of some heads in n tosses of a fair coin, exactly."""
    term = total = 1
    for k in range(min(heads, n - heads)):
        term = term * (n - k) // (k + 1)
        total += term
    return min(1.0, float(2 * total / 2**n))
