"""Ranks and metrics of paired retrieval, in blocks: memory does not grow with the square of the clips.

A clip's rank is one plus the candidates strictly more similar than its own counterpart plus half of those equal to it;
R@k is the share of clips found among the first k, ties broken at random: its expected value, k / n where all are equal.
Equal means within ``TIE``: similarities are computed in float64 from whatever precision the features have, so that
identical candidates differ by rounding (1e-15) only, while distinct float32 vectors differ by far more. Results
therefore do not depend on the block size or on how the matrix product is tiled. (The reference counts a tie several
times and drops queries with NaN; docs/protocol/cavmae.md 4.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError, unknown

Array = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Aggregation = Literal["diagonal_mean", "diagonal_max", "mean", "max"]

AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)
DIRECTIONS = ("a2v", "v2a")
RECALLS = (1, 5, 10)
METRICS = (*(f"R@{k}" for k in RECALLS), "median_rank", "mean_rank")
TIE = 1e-12  # similarities closer than this are equal
BLOCK = 2048  # clips a side of one block of similarities: 32 MB
BLOCK_VALUES = 2**23  # feature values a side of one block: 64 MB in float64
NAMED = 3  # clips named in an error


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


class _Side:
    """One modality's features, given out in blocks of unit vectors.

    Args:
        name: ``audio`` or ``visual``, for errors.
        features: (n, F, d), or (n, d) for one frame.
        ids: The clips' names, for errors; None: their row numbers.
        aggregation: How frames are combined.
    """

    def __init__(self, name: str, features: Array, ids: Sequence[str] | None, aggregation: Aggregation) -> None:
        if features.ndim not in (2, 3) or 0 in features.shape:
            raise InputError(f"{name}: found shape {features.shape}, valid: (clips, frames, width) or (clips, width).")
        self.features = features if features.ndim == 3 else features[:, None]  # (n, F, d)
        self.aggregation = aggregation
        norms = self._norms()  # (n, F)
        _refuse(name, "values that are not finite", ~np.isfinite(norms), ids, "finite numbers")
        _refuse(name, "a vector of zeros", norms == 0, ids, "vectors with a direction")
        # The mean of F dot products is one dot product of the frames laid end to end, each shortened to F ** -0.5.
        self.divisors = norms * np.sqrt(self.frames) if aggregation == "diagonal_mean" else norms

    def __len__(self) -> int:
        return len(self.features)

    @property
    def frames(self) -> int:
        return int(self.features.shape[1])

    @property
    def width(self) -> int:
        return int(self.features.shape[2])

    def _norms(self) -> Float64:
        norms = np.empty(self.features.shape[:2])
        # float32 squared cannot overflow float64, so a norm is finite exactly where its vector is.
        for rows in _slices(len(self.features), _block(self.features, None)):
            part = self.features[rows]
            with np.errstate(over="ignore", invalid="ignore"):
                norms[rows] = np.sqrt(np.einsum("nfd,nfd->nf", part, part, dtype=np.float64))
        return norms

    def units(self, rows: slice) -> Float64:
        """Returns what is multiplied for some clips: (F, B, d), (1, B, F d) for diagonal_mean, (1, B, d) for mean."""
        unit: Float64 = np.divide(self.features[rows], self.divisors[rows, :, None], dtype=np.float64)  # (B, F, d)
        if self.aggregation == "mean":
            return np.asarray(unit.mean(axis=1))[None]
        if self.aggregation == "diagonal_mean":
            return unit.reshape(1, len(unit), -1)
        return np.ascontiguousarray(unit.transpose(1, 0, 2))


def _refuse(name: str, what: str, bad: npt.NDArray[np.bool_], ids: Sequence[str] | None, valid: str) -> None:
    """Raises InputError where ``bad`` (n, F) marks any clip."""
    rows = np.flatnonzero(bad.any(axis=1))
    if len(rows) == 0:
        return
    named = ", ".join(f"row {row}" if ids is None else str(ids[row]) for row in rows[:NAMED].tolist())
    more = ", ..." if len(rows) > NAMED else ""
    raise InputError(
        f"{name}: found {what} in {len(rows)} of {len(bad)} clips ({named}{more}), valid: {valid};"
        " extract these clips again or leave them out."
    )


def _slices(n: int, block: int) -> Iterator[slice]:
    return (slice(start, min(start + block, n)) for start in range(0, n, block))


def _block(features: Array, block: int | None) -> int:
    """Returns the clips a block: the caller's number, or what keeps both its sides within a fixed memory."""
    values = int(np.prod(features.shape[1:]))
    return block or max(1, min(BLOCK, BLOCK_VALUES // values))


def _sides(audio: Array, visual: Array, aggregation: Aggregation, ids: Sequence[str] | None) -> tuple[_Side, _Side]:
    if aggregation not in AGGREGATIONS:
        raise unknown("aggregation", aggregation, AGGREGATIONS)
    a, v = _Side("audio", audio, ids, aggregation), _Side("visual", visual, ids, aggregation)
    if a.width != v.width:
        raise InputError(f"audio and visual: found widths {a.width} and {v.width}, valid: the same.")
    if aggregation.startswith("diagonal") and a.frames != v.frames:
        raise InputError(
            f"aggregation {aggregation}: found {a.frames} audio and {v.frames} visual frames, valid: as many of both;"
            " use mean or max."
        )
    return a, v


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
    a, v = _sides(audio, visual, aggregation, None)
    result = np.empty((len(a), len(v)))
    for rows in _slices(len(a), _block(a.features, None)):
        units = a.units(rows)
        for columns in _slices(len(v), _block(v.features, None)):
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
    a, v = _sides(audio, visual, aggregation, ids)
    n, all_pairs = len(a), aggregation == "max"
    if len(v) != n:
        raise InputError(f"audio and visual: found {n} and {len(v)} clips, valid: the same, in pairs.")
    size = min(_block(a.features, block), _block(v.features, block))
    own = np.empty(n)
    for rows in _slices(n, size):
        own[rows] = _own(a.units(rows), v.units(rows), all_pairs=all_pairs)

    def of_rows(rows: slice) -> Callable[[slice], Float64]:
        units = a.units(rows)
        return lambda columns: _similarities(units, v.units(columns), all_pairs=all_pairs)

    return _counted(own, of_rows, size)


def _counted(own: Float64, of_rows: Callable[[slice], Callable[[slice], Float64]], size: int) -> Ranks:
    """Returns the ranks of pairs from their similarities, (n,), and blocks (B, C) of all."""
    n = len(own)
    better, as_good = np.zeros((2, n), np.int64), np.zeros((2, n), np.int64)  # the latter: at least as similar
    for rows in _slices(n, size):
        block_of = of_rows(rows)
        for columns in _slices(n, size):
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
