"""Class scores against sets of labels: whether one of the k best is right, F1, and modality confusion.

Source: VGGSounder (Zverev et al., ICCV 2025); definitions in docs/tasks.md. Equal scores are in a random order: what is
returned is the expected value, so that it depends on no order of classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.metrics.evidence import Mean

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]


def hit(scores: Array, labels: Array, k: int) -> Float64:
    """Returns how far one of the k best classes of each clip is right, (n,): 1, 0 or, in a tie, the chance of it.

    With r of the t classes that share the k-th place right, and m of these t among the k best, no right one is among
    them with the chance (t - r over m) / (t over m).

    Args:
        scores: (n, C), larger is likelier.
        labels: (n, C) bool.
        k: Places, at most C.
    """
    limit = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
    above, tied = scores > limit, scores == limit
    left = k - np.count_nonzero(above, axis=1)  # places for the tied ones
    count, right = np.count_nonzero(tied, axis=1), np.count_nonzero(tied & labels, axis=1)
    none = np.ones(len(scores))
    for drawn in range(int(left.max(initial=0))):
        more = drawn < left
        none[more] *= np.maximum(count - right - drawn, 0)[more] / (count - drawn)[more]
    return np.where((above & labels).any(axis=1), 1.0, 1.0 - none)


def f1(hits: Float64, labels: Array) -> Mean:
    """Returns the F1 score, over all clips and classes, of naming the best class of each clip.

    Twice the right ones over all that are named and all that are there.

    Args:
        hits: (n,) of :func:`hit` for one place.
        labels: (n, C) bool; clips without a label are left out.
    """
    size: Float64 = labels.sum(axis=1, dtype=np.float64)
    judged = (size > 0).astype(np.float64)
    return Mean(2.0 * hits * judged, (1.0 + size) * judged)


def share(hits: Float64, labels: Array) -> Mean:
    """Returns the share of clips that are hits, among those with a label.

    Args:
        hits: (n,).
        labels: (n, C) bool.
    """
    judged: Float64 = (np.count_nonzero(labels, axis=1) > 0).astype(np.float64)
    return Mean(hits * judged, judged)


def confusion(alone: Float64, together: Float64) -> Float64:
    """Returns how far each clip is right by one modality and wrong by both together, (n,).

    Args:
        alone: (n,) hits by the one modality, or the product of both modalities' hits.
        together: (n,) hits by sound and picture together.
    """
    return np.asarray(alone * (1 - together))
