"""Heat maps against masks: average precision, IoU, the mIoU and F-score of AVSBench, ADE20K's pooled classes.

Source: docs/protocol/cavmae_sync.md 5.1 (DenseAV's ADE20K SoundPrompted) and 5.4 (AVSBench S4);
docs/protocol/embedded_set.md 3.
Functions take blocks of maps and give one value an image, but for ADE20K, whose classes pool the pixels of their
images.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError, unknown
from avbench.metrics.localization import Bool, Float64, Maps, check_maps, count

FScoreForm = Literal["whole_set", "per_batch"]

FORMS: tuple[FScoreForm, ...] = get_args(FScoreForm)
BETA2 = 0.3
F_THRESHOLDS: Float64 = np.linspace(0, 1 - 1e-10, 255)
POOLED_THRESHOLDS = 20  # of ADE20K's best IoU
EPS = 1e-7  # of AVSBench's IoU
TINY = 1e-20  # of AVSBench's precision and recall


def sigmoid(maps: npt.NDArray[Any]) -> Float64:
    """Returns 1 / (1 + exp(-x)) without overflow."""
    decay = np.exp(-np.abs(maps, dtype=np.float64))
    return np.asarray(np.where(maps >= 0, 1, decay) / (1 + decay))


def average_precision(scores: Maps, truth: npt.NDArray[Any]) -> Float64:
    """Returns the average precision of each row's pixels: the precision at every distinct score, weighted by recall.

    Args:
        scores: (n, P) or (n, H, W).
        truth: The same shape; pixels above zero are positive.

    Returns:
        (n,). Without a positive pixel 0, with positive ones only 1; equal scores throughout give their share.
    """
    values, positive = _rows(scores, truth)
    found = np.zeros(len(values))
    for row, (value, mark) in enumerate(zip(values, positive, strict=True)):
        if not mark.any():
            continue
        order = np.argsort(value)[::-1]
        value, mark = value[order], mark[order]
        last = np.flatnonzero(np.append(value[1:] != value[:-1], True))  # the last pixel of each distinct score
        tp = np.cumsum(mark)[last]
        found[row] = (np.diff(tp, prepend=0) * (tp / (last + 1))).sum() / mark.sum()
    return found


def iou_at_area(maps: Maps, truth: npt.NDArray[Any]) -> Float64:
    """Returns each map's IoU when it may mark as many pixels as the ground truth has.

    Pixels equal to the last one marked are marked too: a constant map marks the whole image.

    Args:
        maps: (n, H, W).
        truth: (n, H, W); pixels above zero count.

    Returns:
        (n,); 0 where the ground truth is empty.
    """
    values, positive = _rows(maps, truth)
    area = count(positive)
    place = np.clip(values.shape[1] - area, 0, values.shape[1] - 1)
    threshold = np.take_along_axis(np.sort(values, axis=1), place[:, None], axis=1)
    return iou((values >= threshold) & (area > 0)[:, None], positive)


def iou(predicted: npt.NDArray[Any], truth: npt.NDArray[Any]) -> Float64:
    """Returns intersection over union of each image, (n,); 0 where the union is empty."""
    p, g = _rows(predicted, truth)
    inside, union = count((p > 0) & g), count((p > 0) | g)
    return np.asarray(np.divide(inside, union, out=np.zeros(len(p)), where=union > 0))


def peak_hits(maps: Maps, truth: npt.NDArray[Any]) -> Float64:
    """Returns whether each map's largest pixel is in the ground truth, (n,); of several largest ones, their share."""
    values, positive = _rows(maps, truth)
    top = values == values.max(axis=1, keepdims=True)
    return np.asarray(count(top & positive) / count(top))


def avs_iou(predicted: npt.NDArray[Any], truth: npt.NDArray[Any]) -> Float64:
    """Returns AVSBench's IoU of each frame; their mean is its mIoU.

    Args:
        predicted: (n, H, W); pixels above zero are predicted: sigmoid above 0.5 in the protocol.
        truth: (n, H, W).

    Returns:
        (n,). Where the ground truth is empty, the share of pixels that are rightly left out.
    """
    p, g = _rows(predicted, truth)
    p = p > 0
    empty = ~g.any(axis=1)
    inside = np.where(empty, count(~p), count(p & g))
    union = np.where(empty, p.shape[1], count(p | g))
    return np.asarray(inside / (union + EPS))


def f_curves(probabilities: Maps, truth: npt.NDArray[Any]) -> Float64:
    """Returns AVSBench's F-score of each frame at its 255 thresholds (beta^2 = 0.3; at or above is predicted).

    Args:
        probabilities: (n, H, W) in [0, 1]: the sigmoid of a network's map.
        truth: (n, H, W).

    Returns:
        (n, 255); NaN throughout where the ground truth is empty: such frames are left out.
    """
    values, positive = _rows(probabilities, truth)
    n, steps = len(values), len(F_THRESHOLDS)
    # How many thresholds each pixel reaches; a histogram of that, summed from above, counts pixels at each threshold.
    reached = _reached(values) + np.arange(n)[:, None] * (steps + 1)
    pixels = _from_above(np.bincount(reached.ravel(), minlength=n * (steps + 1)), n)
    tp = _from_above(np.bincount(reached[positive], minlength=n * (steps + 1)), n)
    total = positive.sum(axis=1, keepdims=True)
    precision, recall = tp / (pixels + TINY), tp / (total + TINY)
    below = BETA2 * precision + recall
    curve = np.divide((1 + BETA2) * precision * recall, below, out=np.zeros_like(below), where=below > 0)
    return np.where(total > 0, curve, np.nan)


def _reached(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Returns how many thresholds each value is at or above; they are even, so no search is needed."""
    last = len(F_THRESHOLDS) - 1
    place = np.clip(values * (last / F_THRESHOLDS[-1]), 0, last).astype(np.int64)
    # The quotient may be off by one threshold in rounding.
    place -= values < F_THRESHOLDS[place]
    return np.asarray(place + 1 + (values >= F_THRESHOLDS[np.minimum(place + 1, last)]) * (place < last))


def _from_above(histogram: npt.NDArray[np.int64], n: int) -> Float64:
    counts = histogram.reshape(n, -1)[:, ::-1].cumsum(axis=1)[:, ::-1]
    return counts[:, 1:].astype(np.float64)


def f_score(curves: Float64, *, form: FScoreForm = "whole_set", batch: int = 4) -> float:
    """Returns the F-score of a set: the largest mean over thresholds.

    Args:
        curves: (n, 255) see :func:`f_curves`.
        form: ``whole_set``: the mean curve over all frames, then its maximum. ``per_batch``: the maximum of each
            batch's mean curve, then the mean over batches, as published: it depends on the batch size and flatters.
        batch: Frames a batch in that form.

    Raises:
        InputError: An unknown form, or no frame.
    """
    if form not in FORMS:
        raise unknown("form", form, FORMS)
    if len(curves) == 0 or batch < 1:
        raise InputError(f"F-score: found {len(curves)} frames in batches of {batch}, valid: 1 or more of both.")
    if form == "whole_set":
        return _largest_mean(curves)
    # A batch of empty ground truths scores 0 in the reference.
    return float(np.mean([_largest_mean(curves[first : first + batch]) for first in range(0, len(curves), batch)]))


def _largest_mean(curves: Float64) -> float:
    kept = curves[~np.isnan(curves[:, 0])]
    return float(kept.mean(axis=0).max()) if len(kept) else 0.0


class ClassScore(NamedTuple):
    """What all pixels of one class's images give, fractions."""

    ap: float
    iou: float  # at the best of 20 thresholds


def pooled_class(scores: Maps, truth: npt.NDArray[Any]) -> ClassScore:
    """Returns ADE20K's scores of one class; the unweighted means over classes are mAP and mIoU (DenseAV).

    Pixels of all the class's images are pooled. IoU is the best of 20 thresholds evenly from the smallest to the
    largest pooled score, which must be exceeded; an empty union gives 0. The protocol's global min-max changes neither.

    Args:
        scores: (n, H, W) of all images of the class, on one scale.
        truth: (n, H, W).
    """
    check_maps(scores, truth)
    flat, mark = scores.reshape(1, -1), (truth > 0).reshape(1, -1)
    ap = float(average_precision(flat, mark)[0])
    value, positive = flat[0], mark[0]
    thresholds = np.linspace(value.min(), value.max(), POOLED_THRESHOLDS)
    best = 0.0
    for threshold in thresholds:
        predicted = value > threshold
        union = int((predicted | positive).sum())
        best = max(best, int((predicted & positive).sum()) / max(union, 1))
    return ClassScore(ap, best)


def _rows(values: npt.NDArray[Any], truth: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Bool]:
    """Returns scores and positives as (n, P)."""
    if values.ndim not in (2, 3) or values.shape != truth.shape or 0 in values.shape[1:]:
        raise InputError(
            f"maps and ground truth: found shapes {values.shape} and {truth.shape}, valid: both (n, H, W)."
        )
    if values.dtype != np.bool_ and not np.isfinite(values).all():
        raise InputError("maps: found values that are not finite, valid: finite numbers.")
    pixels = int(np.prod(values.shape[1:]))
    return values.reshape(len(values), pixels), np.asarray(truth.reshape(len(truth), pixels) > 0)
