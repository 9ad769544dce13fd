"""Where the positive clips of each class stand among all by their scores: what AP and ROC AUC are counts of.

All classes are counted at once. A resample counts a clip as often as it has drawn it; between two positive clips that
follow each other only the sum of these counts matters, so each clip is added once a class, by a sparse product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

HELD = 2**17  # numbers of an array held at a time: with more, memory would be what takes the time
MIN_RESAMPLES = 64  # fewer at a time would cost more than they spare


class Positives(NamedTuple):
    """The positive clips of C classes, class by class and by rising score: P of them.

    Attributes:
        order: (C, n) the clips of each class by rising score.
        clips: (P,) which clips they are.
        classes: (P,) of which class each is.
        ends: (C + 1,) where the positive clips of each class begin, and P.
        low: (P,) where in ``order``, counted through all classes, the clips of the same score begin.
        high: (P,) where they end.
        first: (P,) where among the P those of the same score begin.
        last: (P,) where they end.
    """

    order: Int64
    clips: Int64
    classes: Int64
    ends: Int64
    low: Int64
    high: Int64
    first: Int64
    last: Int64

    @classmethod
    def of(cls, scores: Array, positive: npt.NDArray[np.bool_]) -> Positives:
        """Returns those of some classes.

        Args:
            scores: (n, C).
            positive: (n, C) bool.
        """
        # Sorting half precision is many times slower than sorting the same numbers in single.
        by_class = np.ascontiguousarray(scores.T, np.float32 if scores.dtype == np.float16 else scores.dtype)
        order = np.argsort(by_class, axis=1)
        ranked = np.take_along_axis(by_class, order, axis=1)
        at = np.flatnonzero(np.take_along_axis(positive.T, order, axis=1))
        new = np.ones(order.shape, np.bool_)  # whether a clip is the first of its score
        np.not_equal(ranked[:, 1:], ranked[:, :-1], out=new[:, 1:])
        edges = np.append(np.flatnonzero(new), order.size)
        level = np.searchsorted(edges, at, side="right") - 1
        low = edges[level]
        classes = at // order.shape[1]
        return cls(
            order=order,
            clips=order.ravel()[at],
            classes=classes,
            ends=np.searchsorted(classes, np.arange(len(order) + 1)),
            low=low,
            high=edges[level + 1],
            first=np.searchsorted(low, low, side="left"),
            last=np.searchsorted(low, low, side="right"),
        )

    def areas(self) -> tuple[Float64, Float64]:
        """Returns AP and AUC of each class, (C,); NaN of a class without positive (AUC: or without negative) clips."""
        one = np.flatnonzero(self.first == np.arange(len(self.first)))  # of each score
        hits, classes, n = (self.last - self.first)[one], self.classes[one], self.order.shape[1]
        found = self.ends[classes + 1] - self.first[one]  # positive clips of this score or above
        below = self.low[one] - classes * n
        positives = np.diff(self.ends)
        beaten = below - (positives[classes] - found) + ((self.high - self.low)[one] - hits) / 2
        # A zero before each class: sums of consecutive numbers, even where there are none.
        begins = np.searchsorted(classes, np.arange(len(positives)))
        ap, auc = (
            np.add.reduceat(np.insert(terms, begins, 0.0), begins + np.arange(len(begins)))
            for terms in (hits * (found / (n - below)), hits * beaten)
        )
        with np.errstate(invalid="ignore"):
            return ap / positives, auc / (positives * (n - positives))

    def resampled(self, weights: npt.NDArray[np.uint8]) -> tuple[Float64, Float64]:
        """Returns AP and AUC of each class and resample, (C, R); NaN as in :meth:`areas`.

        Args:
            weights: (n, R) how often each resample has each clip.
        """
        step = max(MIN_RESAMPLES, HELD // max(1, len(self.clips)))
        parts = [self._resampled(weights[:, start : start + step]) for start in range(0, weights.shape[1], step)]
        ap, auc = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
        return ap, auc

    def _resampled(self, weights: npt.NDArray[np.uint8]) -> tuple[Float64, Float64]:
        n, classes, tied = self.order.shape[1], self.classes, self.high - self.low > 1
        bounds = np.arange(len(self.ends)) * n
        cuts = np.unique(np.concatenate([bounds, self.low, self.high[tied]]))
        # Single precision holds counts up to 2^24 exactly.
        before = _running(_sums(self.order.ravel(), cuts, weights.astype(np.float32)))  # through all classes
        hits = weights[self.clips]
        drawn = _running(hits)  # positive clips before
        ends, first = drawn[self.ends], drawn[self.first]
        reached = before[np.searchsorted(cuts, bounds)]
        positives, negatives = np.diff(ends, axis=0), np.diff(reached - ends, axis=0)
        lost = before[np.searchsorted(cuts, self.low)] - first  # negative clips before
        found = ends[classes + 1] - first  # positive clips of this score or above
        as_good = found + ((reached - ends)[classes + 1] - lost)
        beaten = (lost - (reached - ends)[classes]).astype(np.float64)
        if tied.any():  # ties count half
            level = before[np.searchsorted(cuts, self.high[tied])] - before[np.searchsorted(cuts, self.low[tied])]
            beaten[tied] += (level - (drawn[self.last[tied]] - first[tied])) / 2
        # Added in the order of clips, which is that of no model.
        by_clip = np.lexsort((self.clips, classes))
        with np.errstate(invalid="ignore"):
            ap = _sums(by_clip, self.ends, hits.astype(np.float64) * found / np.maximum(as_good, 1)) / positives
            auc = _sums(by_clip, self.ends, hits * beaten) / (positives.astype(np.float64) * negatives)
        return ap, auc


def in_parts(scores: Array, positive: npt.NDArray[np.bool_]) -> Iterator[Positives]:
    """Yields those of all classes in their order, some classes at a time; arguments as of :meth:`Positives.of`."""
    step = max(1, HELD // len(scores))
    for start in range(0, scores.shape[1], step):
        yield Positives.of(scores[:, start : start + step], positive[:, start : start + step])


def _sums(rows: Int64, cuts: Int64, values: Array) -> Array:
    """Returns the sums of some rows of values (m, R), between consecutive cuts: (len(cuts) - 1, R)."""
    from scipy.sparse import csr_array

    return np.asarray(csr_array((np.ones(len(rows), values.dtype), rows, cuts), (len(cuts) - 1, len(values))) @ values)


def _running(values: Array) -> npt.NDArray[np.int32]:
    """Returns the sums of all rows before each of (m, R), and of all: (m + 1, R)."""
    found = np.zeros((len(values) + 1, values.shape[1]), np.int32)
    np.cumsum(values.astype(np.int32), axis=0, dtype=np.int32, out=found[1:])
    return found
