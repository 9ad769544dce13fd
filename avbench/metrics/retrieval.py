"""Ranks and metrics of paired retrieval, in blocks: memory does not grow with the square of the clips.

A clip's rank is one plus the candidates strictly more similar than its own counterpart plus half of those equal to it;
R@k is the share of clips found among the first k, ties broken at random: its expected value, k / n where all are equal.
Equal means within ``TIE``: similarities are computed in float64 from whatever precision the features have, so that
identical candidates differ by rounding (1e-15) only, while distinct float32 vectors differ by far more. Results
therefore do not depend on the block size or on how the matrix product is tiled. (The reference counts a tie several
times and drops queries with NaN; docs/protocol/cavmae.md 4.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError, unknown
from avbench.metrics.sides import BLOCK, BLOCK_VALUES, Aggregation, Array, Float64, block_size, sides, slices

Int64 = npt.NDArray[np.int64]

DIRECTIONS = ("a2v", "v2a")
RECALLS = (1, 5, 10)
METRICS = (*(f"R@{k}" for k in RECALLS), "median_rank", "mean_rank")
TIE = 1e-12  # similarities closer than this are equal


class _Pair(NamedTuple):
    a2v: Float64
    v2a: Float64


class Ranks(_Pair):
    """The rank of each clip's own counterpart, 1 is best, in steps of one half: a pair of (n,).

    Attributes:
        a2v: Of audio queries among visual candidates.
        v2a: Of visual queries among audio candidates.
        ties: How many other candidates are as similar as the own one, (n,) for each; None: not known.
    """

    ties: tuple[Int64 | None, Int64 | None]

    def __new__(cls, a2v: Float64, v2a: Float64, ties: tuple[Int64 | None, Int64 | None] = (None, None)) -> Ranks:
        """Makes the pair; arguments are the attributes."""
        self = super().__new__(cls, a2v, v2a)
        self.ties = ties
        return self


def _similarities(a: Float64, v: Float64, *, all_pairs: bool) -> Float64:
    """Returns the similarities of two blocks of units: (B, C) from (F, B, d) and (G, C, d).

    The largest over pairs of frames: of all F x G, or of those with the same index (of one, there is no choice).
    """
    frames, rows, width = a.shape
    columns = v.shape[1]
    if not all_pairs:
        result: Float64 = a[0] @ v[0].T
        for f in range(1, frames):
            np.maximum(result, a[f] @ v[f].T, out=result)
        return result
    # Several frames of a in one product: the other operand is then packed for the processor once, not once a frame.
    group = max(1, min(frames, BLOCK_VALUES // (rows * columns)))
    scratch = np.empty((group, rows, columns))
    result = np.full((rows, columns), -np.inf)
    for start in range(0, frames, group):
        part = a[start : start + group]
        out = scratch[: len(part)]
        for candidate in v:
            np.matmul(part.reshape(-1, width), candidate.T, out=out.reshape(-1, columns))
            np.maximum(result, out.max(axis=0), out=result)
    return result


def _own(a: Float64, v: Float64, *, all_pairs: bool) -> Float64:
    """Returns the similarity of each clip with its own counterpart: (B,) from (F, B, d) and (G, B, d)."""
    spec = "fbd,gbd->fgb" if all_pairs else "fbd,fbd->fb"
    own: Float64 = np.einsum(spec, a, v).reshape(-1, a.shape[1]).max(axis=0)
    return own


def similarity(audio: Array, visual: Array, *, aggregation: Aggregation = "diagonal_mean") -> Float64:
    """Returns the similarity of every audio with every visual clip, whole: for small sets and for looking at.

    Args:
        audio: (n, F, d), or (n, d) for one frame; any length but zero.
        visual: (m, G, d) or (m, d).
        aggregation: From the cosines of frames to one number: ``diagonal_mean`` and ``diagonal_max`` over frames of
            the same index, ``mean`` and ``max`` over all pairs (CAV-MAE Sync; docs/protocol/cavmae_sync.md 3).

    Returns:
        (n, m), in [-1, 1].

    Raises:
        InputError: Values that are not finite, vectors of zeros, or shapes that do not fit each other.
    """
    a, v = sides(audio, visual, aggregation, None)
    result = np.empty((len(a), len(v)))
    for rows in slices(len(a), block_size(a.features, None)):
        units = a.units(rows)
        for columns in slices(len(v), block_size(v.features, None)):
            result[rows, columns] = _similarities(units, v.units(columns), all_pairs=aggregation == "max")
    return result


def ranks(
    audio: Array,
    visual: Array,
    *,
    aggregation: Aggregation = "diagonal_mean",
    ids: Sequence[str] | None = None,
    block: int | None = None,
    scores: Array | None = None,
) -> Ranks:
    """Returns the rank of every clip's counterpart in both directions, from one pass over the similarities.

    Args:
        audio: (n, F, d), or (n, d) for one frame; of any length.
        visual: (n, G, d) or (n, d); row i belongs to row i of ``audio``.
        aggregation: As in :func:`similarity`.
        ids: The clips' names, for errors.
        block: Clips a side of one block; None: as many as fit about 200 MB. It does not change the result.
        scores: (n, n) similarities of sounds (rows) and pictures in place of cosines; then vectors are not looked at.

    Raises:
        InputError: Values that are not finite, vectors of zeros, or shapes that do not fit each other.
    """
    if scores is not None:
        return _counted(
            np.asarray(scores.diagonal(), np.float64),
            lambda rows: lambda columns: np.asarray(scores[rows, columns], np.float64),
            block or BLOCK,
        )
    a, v = sides(audio, visual, aggregation, ids)
    n, all_pairs = len(a), aggregation == "max"
    if len(v) != n:
        raise InputError(f"audio and visual: found {n} and {len(v)} clips, valid: the same, in pairs.")
    size = min(block_size(a.features, block), block_size(v.features, block))
    own = np.empty(n)
    for rows in slices(n, size):
        own[rows] = _own(a.units(rows), v.units(rows), all_pairs=all_pairs)

    def of_rows(rows: slice) -> Callable[[slice], Float64]:
        units = a.units(rows)
        return lambda columns: _similarities(units, v.units(columns), all_pairs=all_pairs)

    return _counted(own, of_rows, size)


def _counted(own: Float64, of_rows: Callable[[slice], Callable[[slice], Float64]], size: int) -> Ranks:
    """Returns the ranks of pairs from their similarities, (n,), and blocks (B, C) of all."""
    n = len(own)
    better, as_good = np.zeros((2, n), np.int64), np.zeros((2, n), np.int64)  # the latter: at least as similar
    for rows in slices(n, size):
        block_of = of_rows(rows)
        for columns in slices(n, size):
            block_similarities = block_of(columns)
            for lost, limit in ((better, TIE), (as_good, -TIE)):
                lost[0, rows] += np.count_nonzero(block_similarities > (own[rows] + limit)[:, None], axis=1)
                lost[1, columns] += np.count_nonzero(block_similarities > own[columns] + limit, axis=0)
    ties = as_good - better - 1  # the clip itself is as good
    found = 1 + better + ties / 2
    return Ranks(found[0], found[1], (ties[0], ties[1]))


def credit(k: int, values: Array, ties: npt.NDArray[Any] | None = None) -> Float64:
    """Returns how far each query counts in R@k: 1, 0 or, in a tie over place k, the chance of a random order.

    With b candidates better and t as good as its own, the own one is at each of the places b + 1 to b + t + 1 with the
    same chance, so k - b of t + 1 of them count.

    Args:
        k: Places.
        values: (...) ranks.
        ties: (...) other candidates as similar as the own one; None: not known, as in records before version 3 of the
            task, where a query counts in full if its rank is k or better.
    """
    if ties is None:
        return np.asarray(values <= k, np.float64)
    better = values - 1 - ties / 2
    return np.asarray(np.clip((k - better) / (ties + 1), 0.0, 1.0))


def statistic(name: str, values: Array, ties: npt.NDArray[Any] | None = None) -> Float64:
    """Returns one metric of ranks along their last axis.

    Args:
        name: One of ``METRICS``; ``R@k`` is the mean of :func:`credit`. In the median and the mean rank a tie counts
            half a place.
        values: (..., n) ranks.
        ties: (..., n) other candidates as similar as the own one; None: not known.

    Raises:
        InputError: An unknown name.
    """
    if name == "median_rank":
        return np.asarray(np.median(values, axis=-1))
    if name == "mean_rank":
        return np.asarray(values.mean(axis=-1, dtype=np.float64))
    if name in METRICS:
        return np.asarray(credit(int(name.removeprefix("R@")), values, ties).mean(axis=-1))
    raise unknown("metric", name, METRICS)


def summarise(found: Ranks) -> dict[str, float]:
    """Returns every metric of both directions, keyed ``a2v/R@1`` and so on; recalls are fractions."""
    return {
        f"{direction}/{name}": float(statistic(name, values, ties))
        for direction, values, ties in zip(DIRECTIONS, found, found.ties, strict=True)
        for name in METRICS
    }


def chance(n: int) -> dict[str, float]:
    """Returns what n candidates in random order give: k/n, and (n + 1)/2 for the ranks; keys of :func:`summarise`."""
    values = {f"R@{k}": min(1.0, k / n) for k in RECALLS} | dict.fromkeys(("median_rank", "mean_rank"), (n + 1) / 2)
    return {f"{direction}/{name}": values[name] for direction in DIRECTIONS for name in METRICS}
