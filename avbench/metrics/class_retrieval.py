"""Retrieval by class: how clips that share a label rank, beside the one counterpart that R@k looks for.

A candidate is relevant to a query if their clips share a label; the query's own counterpart always is. Average
precision asks only that. nDCG weighs a candidate by the labels in common over all labels of the two (Jaccard): 1 for
clips of the same labels, so that with one label a clip both ask the same. Candidates within ``TIE`` share a place:
precision is that at the end of their group, as in scikit-learn's ``average_precision_score``, and each counts as the
mean of its group in nDCG, as in ``ndcg_score``. So neither depends on the order of the clips.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError
from avbench.metrics.retrieval import TIE, similarity
from avbench.metrics.sides import Aggregation

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]

METRICS = ("mAP", "nDCG", "class@1", "right_class_misses")
BLOCK_VALUES = 2**21  # similarities of one block: 16 MB, and some ten arrays of as many values beside it


class ByClass(NamedTuple):
    """What one direction's queries find, (n,) each."""

    ap: Float64  # average precision of the relevant candidates
    ndcg: Float64
    class_hit: Float64  # the chance that the first candidate is relevant, ties in a random order
    right_miss: Float64  # the chance that it is relevant and not the own counterpart
    miss: Float64  # the chance that it is not the own counterpart


def by_class(
    audio: Array, visual: Array, labels: Array, *, aggregation: Aggregation, scores: Array | None = None
) -> tuple[ByClass, ByClass]:
    """Returns what sounds find among pictures, and pictures among sounds.

    Args:
        audio: (n, F, d).
        visual: (n, G, d); row i belongs to row i of ``audio``.
        labels: (n, C) zeros and ones, one or more of each clip.
        aggregation: As in :func:`avbench.metrics.retrieval.similarity`.
        scores: (n, n) similarities in place of cosines, as for :func:`avbench.metrics.retrieval.ranks`.

    Raises:
        InputError: Features that cannot be compared, or labels of another shape.
    """
    n = len(audio)
    if labels.ndim != 2 or len(labels) != n or not labels.any(axis=1).all():
        raise InputError(f"labels: found shape {labels.shape} of {n} clips, valid: (clips, classes), one or more each.")
    marks = labels.astype(np.float32)
    size = max(1, BLOCK_VALUES // n)
    found: tuple[list[ByClass], list[ByClass]] = ([], [])
    for start in range(0, n, size):
        rows = np.arange(start, min(start + size, n))
        gains = _gains(marks[rows], marks)
        if scores is None:
            a2v, v2a = (
                similarity(audio[rows], visual, aggregation=aggregation),
                similarity(audio, visual[rows], aggregation=aggregation).T,
            )
        else:
            a2v, v2a = (np.asarray(side[rows], np.float64) for side in (scores, scores.T))
        found[0].append(_judge(a2v, gains, rows))
        found[1].append(_judge(v2a, gains, rows))
    first, second = (ByClass(*(np.concatenate(parts) for parts in zip(*side, strict=True))) for side in found)
    return first, second


def within(values: Array, labels: Array, *, aggregation: Aggregation) -> ByClass:
    """Returns what clips find among the others of their own modality; a clip is no candidate of its own.

    Where no other shares a label with a clip, there is nothing to find, and its numbers are 0 (see :func:`overlap`).

    Args:
        values: (n, F, d).
        labels: (n, C) zeros and ones.
        aggregation: As in :func:`avbench.metrics.retrieval.similarity`.

    Raises:
        InputError: As for :func:`by_class`, or there is one clip alone.
    """
    n = len(values)
    if n < 2:
        raise InputError(f"labels: found {n} clip, valid: two or more, to be compared with each other.")
    marks = labels.astype(np.float32)
    found = []
    for start in range(0, n, size := max(1, BLOCK_VALUES // n)):
        rows = np.arange(start, min(start + size, n))
        others = rows[:, None] != np.arange(n)
        alike, gains = similarity(values[rows], values, aggregation=aggregation), _gains(marks[rows], marks)
        alike, gains = (each[others].reshape(len(rows), n - 1) for each in (alike, gains))
        found.append(_judge(alike, gains, np.full(len(rows), -1)))
    return ByClass(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def chance_within(labels: Array) -> dict[str, float]:
    """Returns what a random order of the others gives on average, by metric, over clips that share a label with one.

    Args:
        labels: (n, C) zeros and ones.
    """
    n, others = len(labels), overlap(labels)
    judged = others > 0
    if not judged.any():
        return {}
    marks, size = labels.astype(np.float32), max(1, BLOCK_VALUES // n)
    harmonic, discounts = float((1 / np.arange(1, n)).sum()), _discounts(n - 1)
    ap = ((others - 1) / max(n - 2, 1) * (n - 1 - harmonic) + harmonic) / (n - 1)
    ndcg = np.zeros(n)
    for start in range(0, n, size):
        rows = np.arange(start, min(start + size, n))
        gains = _gains(marks[rows], marks)[rows[:, None] != np.arange(n)].reshape(len(rows), n - 1)
        ndcg[rows] = gains.mean(axis=1) * discounts.sum() / _ideal(gains)
    means = {"mAP": ap, "nDCG": ndcg, "class@1": others / (n - 1)}
    return {name: float(values[judged].mean()) for name, values in means.items()}


def overlap(labels: Array) -> npt.NDArray[np.int64]:
    """Returns how many others of the clips share a label with each, (n,), from (n, C) zeros and ones."""
    marks = labels.astype(np.float32)
    size = max(1, BLOCK_VALUES // len(marks))
    parts = (marks[start : start + size] @ marks.T > 0 for start in range(0, len(marks), size))
    return np.concatenate([np.count_nonzero(part, axis=1) for part in parts]) - 1


def chance(labels: Array) -> dict[str, float]:
    """Returns what a random order of the candidates gives on average, by metric.

    AP of R relevant ones of n: ((R - 1) / (n - 1) (n - H) + H) / n, H being the n-th harmonic number. nDCG: the mean
    gain at every place. A miss is as often of the right class as another clip shares a label.

    Args:
        labels: (n, C) zeros and ones.
    """
    n, others = len(labels), overlap(labels)
    harmonic = float((1 / np.arange(1, n + 1)).sum())
    ap = (others / max(n - 1, 1) * (n - harmonic) + harmonic) / n
    marks, discounts = labels.astype(np.float32), _discounts(n)
    size = max(1, BLOCK_VALUES // n)
    ndcg = np.empty(n)
    for start in range(0, n, size):
        gains = _gains(marks[start : start + size], marks)
        ndcg[start : start + size] = gains.mean(axis=1) * discounts.sum() / _ideal(gains)
    found = {"mAP": float(ap.mean()), "nDCG": float(ndcg.mean()), "class@1": float((others + 1).mean() / n)}
    return found | ({"right_class_misses": float(others.mean() / (n - 1))} if n > 1 else {})


def _gains(rows: npt.NDArray[np.float32], marks: npt.NDArray[np.float32]) -> Float64:
    """Returns the labels in common over all labels of each query and candidate, (B, n) in [0, 1]."""
    common = (rows @ marks.T).astype(np.float64)  # whole numbers, exact
    return np.asarray(common / (rows.sum(axis=1)[:, None] + marks.sum(axis=1) - common))


def _discounts(n: int) -> Float64:
    return np.asarray(1 / np.log2(np.arange(2, n + 2)))


def _ideal(gains: Float64) -> Float64:
    """Returns the DCG of the best order, (B,); 1 where nothing is relevant."""
    found = np.asarray(np.sort(gains, axis=1)[:, ::-1] @ _discounts(gains.shape[1]))
    return np.where(found > 0, found, 1.0)


def _judge(similarities: Float64, gains: Float64, own: npt.NDArray[np.int64]) -> ByClass:
    """Judges the order in which queries find candidates.

    Args:
        similarities: (B, n).
        gains: (B, n) of each candidate, 0 where it shares no label.
        own: (B,) each query's counterpart; -1 where it is no candidate.
    """
    n = similarities.shape[1]
    order = np.argsort(-similarities, axis=1, kind="stable")
    ranked, gain = (np.take_along_axis(each, order, axis=1) for each in (similarities, gains))
    relevant, mine = gain > 0, order == own[:, None]
    place = np.arange(n)
    begins = np.ones(ranked.shape, np.bool_)  # a group of equal candidates
    begins[:, 1:] = ranked[:, :-1] - ranked[:, 1:] > TIE
    ends = np.ones(ranked.shape, np.bool_)
    ends[:, :-1] = begins[:, 1:]
    first = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, place, n)[:, ::-1], axis=1)[:, ::-1]
    count = relevant.cumsum(axis=1)
    precision = np.take_along_axis(count, last, axis=1) / (last + 1)
    total = np.concatenate([np.zeros((len(gain), 1)), gain.cumsum(axis=1)], axis=1)
    mean = (np.take_along_axis(total, last + 1, axis=1) - np.take_along_axis(total, first, axis=1)) / (last - first + 1)
    top = first == 0
    size = np.count_nonzero(top, axis=1)
    hits, counterpart = (np.count_nonzero(top & each, axis=1) for each in (relevant, mine))
    return ByClass(
        ap=np.where(relevant, precision, 0.0).sum(axis=1) / np.maximum(count[:, -1], 1),
        ndcg=mean @ _discounts(n) / _ideal(gain),
        class_hit=hits / size,
        right_miss=(hits - counterpart) / size,  # the counterpart is relevant
        miss=(size - counterpart) / size,
    )
