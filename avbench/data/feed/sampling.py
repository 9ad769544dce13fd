"""Sampling by class: rare classes more often (docs/protocol/cavmae.md 2.3), or each class in its share."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from avbench.rng import numpy_stream

# The authors' constants: a class weighs 1000 / (clips that have it + 0.01).
_SCALE, _OFFSET = 1000.0, 0.01


class LabelTable(Protocol):
    """Which classes each clip has: those of clip i are ``codes[offsets[i] : offsets[i + 1]]``."""

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """(n + 1,)."""
        ...

    @property
    def codes(self) -> npt.NDArray[np.integer[Any]]:
        """(labels in all,) class indices."""
        ...


def clip_weights(labels: LabelTable) -> npt.NDArray[np.float64]:
    """Returns each clip's weight, the sum of those of its classes: (n,)."""
    per_class = _SCALE / (np.bincount(labels.codes) + _OFFSET)
    summed = np.concatenate(([0.0], np.cumsum(per_class[labels.codes])))
    weights: npt.NDArray[np.float64] = summed[labels.offsets[1:]] - summed[labels.offsets[:-1]]
    return weights


def balanced_order(labels: LabelTable, *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Returns the clips of an epoch, as many as there are, drawn with replacement by their weights: (n,) int64.

    Args:
        labels: Of the training clips, at least one each.
        seed: Seed of the run.
        epoch: Each epoch draws from a stream of its own.
    """
    bounds = np.cumsum(clip_weights(labels))
    stream = numpy_stream(seed, "balanced order", epoch)
    draws = np.sort(stream.random(len(bounds))) * bounds[-1]  # sorted, so that the search stays in the cache
    # side="right": a draw on a bound belongs to the next clip; rounding may put the largest draw on the last bound.
    order = np.minimum(np.searchsorted(bounds, draws, side="right"), len(bounds) - 1)
    return stream.permutation(order)


def share_of_each(
    strata: npt.NDArray[np.integer[Any]], share: float, random: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Returns which clips are drawn so that each stratum gives its share to within one clip: (n,) bool.

    Clips are laid out stratum by stratum, in random order within each, and every n-th is taken.

    Args:
        strata: (n,) the stratum of each clip, such as its class.
        share: Of the clips, in (0, 1].
        random: Draws the order.
    """
    n = len(strata)
    order = np.lexsort((random.random(n), strata))
    taken = np.zeros(n, np.bool_)
    taken[order[np.diff(np.floor(np.arange(n + 1) * share + 0.5)) > 0]] = True
    return taken
