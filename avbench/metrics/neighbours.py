"""Class scores of clips by their nearest training clips: cosine, each neighbour weighted by its similarity.

Source: Wu et al. 2018 (Unsupervised feature learning via non-parametric instance discrimination), section 3.4, with the
temperature 0.07 of that paper and of DINO. A neighbour of cosine s counts exp(s / temperature), and a class has the
share of the weights that its clips have: with one label a clip the scores of a clip add up to 1. Training clips that
are as near as the k-th (within ``TIE``) share the places that are left, so the scores depend on no order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError
from avbench.metrics.retrieval import TIE

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]

ROWS = 4096  # training clips compared at a time
QUERIES = 2048  # clips scored at a time: 64 MB of similarities


def scores(train: Array, labels: Array, judged: Array, *, k: int, temperature: float) -> npt.NDArray[np.float32]:
    """Returns the share of each class among the nearest training clips, (n, C).

    Args:
        train: (m, D) vectors of the training clips, of any length.
        labels: (m, C) zeros and ones.
        judged: (n, D).
        k: Neighbours, at most m.
        temperature: Above 0; the smaller, the more the nearest count.

    Raises:
        InputError: More neighbours than training clips, or shapes that do not fit.
    """
    if not 1 <= k <= len(train):
        raise InputError(f"k: found {k}, valid: 1 to {len(train)}, the training clips.")
    if train.ndim != 2 or judged.shape[1:] != train.shape[1:] or labels.shape[:1] != train.shape[:1]:
        shapes = f"{train.shape}, {labels.shape} and {judged.shape}"
        raise InputError(
            f"neighbours: found vectors, labels and clips to judge of {shapes}, valid: (m, D), (m, C), (n, D)."
        )
    found = np.empty((len(judged), labels.shape[1]), np.float32)
    for start in range(0, len(judged), QUERIES):
        part = slice(start, start + QUERIES)
        found[part] = _scores(train, labels, _unit(judged[part]), k, temperature)
    return found


def _scores(train: Array, labels: Array, queries: Float64, k: int, temperature: float) -> Float64:
    """Returns the scores of some clips: one pass finds the k-th similarity, a second one who is nearer or as near."""
    nearest = np.empty((len(queries), 0))
    for _, near in _similarities(train, queries):
        nearest = np.concatenate([nearest, near], axis=1)
        nearest = -np.partition(-nearest, min(k, nearest.shape[1]) - 1, axis=1)[:, :k]
    limit, best = nearest.min(axis=1, keepdims=True), nearest.max(axis=1, keepdims=True)
    above, tied = np.zeros((2, len(queries), labels.shape[1]))
    weights, counts = np.zeros((2, len(queries))), np.zeros((2, len(queries)))  # of those nearer, and as near
    for rows, near in _similarities(train, queries):
        closer = near > limit + TIE
        for side, (chosen, total) in enumerate(((closer, above), (~closer & (near >= limit - TIE), tied))):
            query, row = np.nonzero(chosen)
            weight = np.exp((near[query, row] - best[query, 0]) / temperature)
            weights[side] += np.bincount(query, weight, len(queries))
            counts[side] += np.bincount(query, minlength=len(queries))
            np.add.at(total, query, weight[:, None] * labels[rows][row])
    share = (k - counts[0]) / counts[1]
    return np.asarray((above + share[:, None] * tied) / (weights[0] + share * weights[1])[:, None])


def _similarities(train: Array, queries: Float64) -> Iterator[tuple[slice, Float64]]:
    """Yields which training clips, and each query's cosine with them, (B, rows)."""
    for start in range(0, len(train), ROWS):
        rows = slice(start, min(start + ROWS, len(train)))
        yield rows, queries @ _unit(train[rows]).T


def _unit(vectors: Array) -> Float64:
    """Returns vectors at unit length; one of zeros stays, and is as far from all."""
    values = vectors.astype(np.float64)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), np.finfo(np.float64).tiny))
