"""Intervals of shares: of samples that are hits, such as R@k, top-k accuracy and cIoU@0.5 (Wilson 1927).

A bootstrap of few or of almost unanimous samples is too narrow: of no hit among 1,000 it would claim that the share is
exactly 0. Where a tie makes a sample's hit a chance between 0 and 1, the interval is that of the share with all ties
broken at random: a hit drawn with a random chance of mean p is a hit with chance p.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError


def wilson(share: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Returns Wilson's score interval of a share.

    Args:
        share: In [0, 1].
        n: Samples, above 0; not whole where they are not independent, see :func:`interval`.
        level: Share of such intervals that hold the truth.

    Raises:
        InputError: No share, or no samples.
    """
    return score(share, n, NormalDist().inv_cdf((1 + level) / 2))


def score(share: float, n: float, width: float) -> tuple[float, float]:
    """Returns the shares of which the one found is at most ``width`` standard errors away.

    Args:
        share: In [0, 1].
        n: Samples, above 0.
        width: In standard errors, those of the shares at the ends.

    Raises:
        InputError: No share, or no samples.
    """
    if not 0 <= share <= 1 or not n > 0:
        raise InputError(f"share: found {share} of {n} samples, valid: 0 to 1 of more than none.")
    z2 = width**2
    centre, half = share + z2 / (2 * n), math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n)))
    # A share of 0 or 1 is its own end; rounding must not put it outside.
    low, high = (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)
    return (min(max(low, 0.0), share), max(min(high, 1.0), share))


def interval(totals: npt.NDArray[Any], counts: npt.NDArray[Any], *, level: float = 0.95) -> tuple[float, float] | None:
    """Returns the interval of a share over samples in units that were drawn as a whole; None of no samples.

    Samples of one unit (frames of a clip, sources of a picture) are alike, so they count as fewer: as many as would
    give the variance that the units' totals have, p (1 - p) / variance, and never more than there are samples.

    Args:
        totals: (units,) hits of each unit, whole or expected.
        counts: (units,) samples of each unit.
        level: As in :func:`wilson`.
    """
    n, units = float(counts.sum()), int(np.count_nonzero(counts))
    if units == 0:
        return None
    share = min(max(float(totals.sum()) / n, 0.0), 1.0)
    if n == units:
        return wilson(share, n, level=level)
    variance = float(((totals - share * counts) ** 2).sum()) / n**2
    # Without any difference between units nothing tells how alike their samples are: each unit counts once.
    alike = share * (1 - share) / variance if variance > 0 else float(units)
    return wilson(share, min(n, alike), level=level)
