"""Localization of sound in a picture: cIoU under the field's binarisations, its curves, and extended sets.

Source: docs/protocol/cavmae_sync.md 5.2-5.4 and 8.9: VGG-SS (LVS, EZ-VSL), Flickr-SoundNet (consensus weights), IS3
(adaptive cIoU, IIoU), and the extended sets with negatives (SLAVC). Every function takes a block of maps, so that
memory does not grow with the set; what it returns is one number a map.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError, unknown

Maps = npt.NDArray[np.floating[Any]]  # (n, H, W)
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Binarisation = Literal["ez", "lvs"]

BINARISATIONS: tuple[Binarisation, ...] = get_args(Binarisation)
HIT = 0.5  # cIoU from which an image counts as localized
THRESHOLDS: Float64 = np.array([0.05 * i for i in range(21)])  # of the AUC, as the reference computes them
CONFIDENT_SHARE = 4  # a map's confidence is the mean of its largest pixels, one in so many (SLAVC)


def check_maps(maps: npt.NDArray[Any], truth: npt.NDArray[Any] | None = None) -> None:
    """Checks a block of maps, and that its ground truth has its shape.

    Raises:
        InputError: Other axes than (n, H, W), no pixel, values that are not finite, or other shapes.
    """
    if maps.ndim != 3 or 0 in maps.shape[1:]:
        raise InputError(f"maps: found shape {maps.shape}, valid: (n, height, width).")
    if truth is not None and truth.shape != maps.shape:
        raise InputError(f"ground truth: found shape {truth.shape}, valid: that of the maps, {maps.shape}.")
    if maps.dtype != np.bool_ and not np.isfinite(maps).all():
        bad = int((~np.isfinite(maps)).any(axis=(1, 2)).sum())
        raise InputError(f"maps: found values that are not finite in {bad} of {len(maps)}, valid: finite numbers.")


def min_max(maps: Maps) -> Maps:
    """Returns each map scaled to [0, 1]; a constant map stays as it is, as in both references.

    Ranks of pixels stay too, so the binarisations need it not; blends and pictures do.

    Args:
        maps: (n, H, W).
    """
    check_maps(maps)
    low = maps.min(axis=(1, 2), keepdims=True)
    span = maps.max(axis=(1, 2), keepdims=True) - low
    flat = span == 0
    return np.asarray(np.where(flat, maps, (maps - low) / np.where(flat, 1, span)), dtype=maps.dtype)


def binarise(maps: Maps, rule: Binarisation) -> Bool:
    """Returns the predicted area: about the better half of each map's pixels.

    Args:
        maps: (n, H, W), any scale.
        rule: ``ez`` (EZ-VSL): at least the median; a constant map gives the whole image. ``lvs``: above the upper
            median, element P // 2 of the ascending sort; a constant map gives nothing.

    Returns:
        bool (n, H, W).

    Raises:
        InputError: An unknown rule, or maps that cannot be used.
    """
    check_maps(maps)
    flat = maps.reshape(len(maps), -1)
    if rule not in BINARISATIONS:
        raise unknown("binarisation", rule, BINARISATIONS)
    middle = flat.shape[1] // 2
    # No pixel lies between the two middle values: at least their mean, the median, is at least the upper one.
    threshold = np.partition(flat, middle, axis=1)[:, middle, None]
    return np.asarray(flat > threshold if rule == "lvs" else flat >= threshold).reshape(maps.shape)


def binarise_adaptive(maps: Maps, truth: npt.NDArray[Any]) -> Bool:
    """Returns as many of each map's best pixels as its ground truth has (IS3's adaptive cIoU).

    The threshold is element P - count of the ascending sort and must be exceeded, so count - 1 pixels are predicted
    where no two are equal, and nothing of a constant map. An empty ground truth counts as half the image.

    Args:
        maps: (n, H, W).
        truth: (n, H, W) weights; pixels above zero count.
    """
    check_maps(maps, truth)
    flat = maps.reshape(len(maps), -1)
    pixels = flat.shape[1]
    area = count(truth.reshape(len(maps), -1) > 0)
    area = np.where(area == 0, pixels // 2, area)
    threshold = np.take_along_axis(np.sort(flat, axis=1), (pixels - area)[:, None], axis=1)
    return np.asarray(flat > threshold).reshape(maps.shape)


def ciou(predicted: npt.NDArray[Any], truth: npt.NDArray[Any]) -> Float64:
    """Returns the consensus IoU of each image: sum(p g) / (sum(g) + sum(p [g = 0])).

    Args:
        predicted: (n, H, W), pixels above zero are predicted.
        truth: (n, H, W) weights in [0, 1]: 0 or 1 for boxes, in steps of one half for Flickr's consensus.

    Returns:
        (n,). With an empty ground truth 0, also where nothing is predicted (the reference divides zero by zero).
    """
    check_maps(predicted, truth)
    p = predicted.reshape(len(predicted), -1) > 0
    g = truth.reshape(len(truth), -1)
    inside = np.einsum("np,np->n", p, g, dtype=np.float64)
    whole = g.sum(axis=1, dtype=np.float64) + count(p & (g == 0))
    return np.asarray(np.divide(inside, whole, out=np.zeros(len(p)), where=whole > 0))


def count(marked: Bool) -> npt.NDArray[np.int64]:
    """Returns how many pixels of each row are marked, (n,) from (n, P)."""
    # Row by row: the sum along an axis turns every pixel into eight bytes first.
    return np.array([np.count_nonzero(row) for row in marked], dtype=np.int64)


def oracle_ciou(truth: npt.NDArray[Any]) -> Float64:
    """Returns the best cIoU that exactly half of the pixels (the larger half of an odd number) can reach.

    Ground-truth pixels come first, the heaviest of them before others, then pixels outside
    (docs/protocol/cavmae_sync.md 8.9).

    Args:
        truth: (n, H, W) weights in [0, 1].
    """
    flat = truth.reshape(len(truth), -1)
    half = (flat.shape[1] + 1) // 2
    whole = flat.sum(axis=1, dtype=np.float64)
    outside = half - count(flat > 0)
    inside = whole.copy()
    cut = outside < 0
    inside[cut] = np.partition(flat[cut], -half, axis=1)[:, -half:].sum(axis=1, dtype=np.float64)
    outside = np.maximum(outside, 0)
    return np.asarray(np.divide(inside, whole + outside, out=np.zeros(len(flat)), where=whole + outside > 0))


def centre_disc(size: int) -> Float64:
    """Returns a map, (size, size), that falls off with the distance to the image's centre."""
    distance = np.arange(size) - (size - 1) / 2
    return np.asarray(-np.hypot(distance[:, None], distance[None, :]))


def hits(values: Float64) -> Float64:
    """Returns each image's share in cIoU@0.5, whose mean it is: 1 where cIoU is 0.5 or more."""
    return (values >= HIT).astype(np.float64)


def areas(values: Float64) -> Float64:
    """Returns each image's share in the AUC, whose mean it is.

    The AUC is the trapezoid area below the success rate (share of cIoU >= t) at the 21 ``THRESHOLDS``; it is linear
    in the images, so each has its own part.

    Args:
        values: (n,) cIoU.
    """
    reached = (values[:, None] >= THRESHOLDS).astype(np.float64)  # (n, 21)
    return np.asarray(((reached[:, 1:] + reached[:, :-1]) / 2) @ np.diff(THRESHOLDS))


def success_rates(values: Float64) -> Float64:
    """Returns the share of images at or above each of the ``THRESHOLDS``, (21,)."""
    return np.asarray((values[:, None] >= THRESHOLDS).mean(axis=0))


def group_minimum(values: Float64, groups: npt.NDArray[Any]) -> Float64:
    """Returns the worst cIoU of each image with several sources: of it come IIoU and IAUC (IS3).

    Args:
        values: (n,) cIoU.
        groups: (n,) which image each belongs to.

    Returns:
        (images,), in the order of the sorted groups.
    """
    names, index = np.unique(groups, return_inverse=True)
    found = np.full(len(names), np.inf)
    np.minimum.at(found, index, values)
    return found


def confidence(maps: Maps) -> Float64:
    """Returns how sure each map is that something sounds: the mean of its largest quarter of pixels (SLAVC).

    Args:
        maps: (n, H, W) on one scale for the whole set: no min-max.
    """
    check_maps(maps)
    flat = maps.reshape(len(maps), -1)
    kept = max(1, flat.shape[1] // CONFIDENT_SHARE)
    return np.asarray(np.partition(flat, -kept, axis=1)[:, -kept:].mean(axis=1, dtype=np.float64))


class Extended(NamedTuple):
    """Metrics of a set with negatives, fractions."""

    ap: float
    max_f1: float
    accuracy: float  # of localization: cIoU@0.5 of the positives


def extended(values: Float64, confidences: Float64, positive: Bool, *, form: str = "exact") -> Extended:
    """Returns AP, the best F1 over confidences, and localization accuracy of a set with negatives (SLAVC).

    At a confidence threshold, a positive that reaches it is a true positive where its cIoU is 0.5 or more and a false
    positive elsewhere; one that does not reach it is a false negative; a negative that reaches it is a false positive.
    Precision and recall of nothing are 1. Precision is made monotone, and AP is its sum over the steps of recall.

    Args:
        values: (n,) cIoU; of negatives unused.
        confidences: (n,) see :func:`confidence`.
        positive: (n,) whether something visible sounds.
        form: ``exact``: every confidence is a threshold, and recall starts from 0. ``reference``: AP takes 200
            thresholds, never the largest, and leaves out the first step of recall; F1 takes ten.

    Raises:
        InputError: An unknown form, no samples, or confidences that are not finite.
    """
    if form not in ("exact", "reference"):
        raise unknown("form", form, ("exact", "reference"))
    n = len(values)
    if n == 0 or not np.isfinite(confidences).all():
        raise InputError(f"extended set: found {n} samples, valid: one or more with finite confidences.")
    accuracy = float(hits(values[positive]).mean()) if positive.any() else 0.0
    order = np.sort(confidences)
    if form == "reference":
        thresholds = order[:-1][:: -max(1, n // 200)]
        precision, recall = _precision_recall(values, confidences, positive, thresholds)
        ap = float((_monotone(precision)[:-1] * np.diff(recall)).sum())
        best = _f1(*_precision_recall(values, confidences, positive, order[:: max(1, n // 10)]))
    else:
        precision, recall = _precision_recall(values, confidences, positive, np.unique(order)[::-1])
        ap = float((_monotone(precision) * np.diff(recall, prepend=0.0)).sum())
        best = _f1(precision, recall)
    return Extended(ap, float(best.max(initial=0.0)), accuracy)


def _precision_recall(
    values: Float64, confidences: Float64, positive: Bool, thresholds: Float64
) -> tuple[Float64, Float64]:
    """Returns precision and recall of the samples at or above each threshold, (t,) each."""
    order = np.argsort(confidences, kind="stable")
    right = positive & (values >= HIT)
    # Counts above a threshold, from counts below it.
    below = np.searchsorted(confidences[order], thresholds, side="left")
    tp = right.sum() - np.concatenate([[0], np.cumsum(right[order])])[below]
    detected = len(values) - below
    fn = np.concatenate([[0], np.cumsum(positive[order])])[below]
    precision = np.divide(tp, detected, out=np.ones(len(thresholds)), where=detected > 0)
    recall = np.divide(tp, tp + fn, out=np.ones(len(thresholds)), where=tp + fn > 0)
    return precision, recall


def _monotone(precision: Float64) -> Float64:
    return np.asarray(np.maximum.accumulate(precision[::-1])[::-1])


def _f1(precision: Float64, recall: Float64) -> Float64:
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros(len(total)), where=total > 0)
