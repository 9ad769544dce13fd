"""Classification metrics: average precision, ROC AUC, d', top-k accuracy, their chance levels and bootstrap intervals.

Source: docs/protocol/cavmae.md 3.4. Scores are compared in the precision they come in; everything else is float64.
Per-class numbers equal scikit-learn's ``average_precision_score`` and ``roc_auc_score``: clips of equal score share a
threshold.

A class without a positive clip among those judged (for the AUC also: without a negative one) has no AP and no AUC.
``present``, the default, averages over the other classes; ``reference`` counts AP 0 and AUC -1, as the authors' code
does. The two agree on complete test sets, where every class has clips; only the first means anything on a small part.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError, unknown
from avbench.metrics.positives import in_parts

Array = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]
Absent = Literal["present", "reference"]

ABSENT: tuple[Absent, ...] = get_args(Absent)
TOP = (1, 5)
METRICS = ("top1", "top5", "mAP", "mAUC", "d_prime")  # the first two of clips with one label each
MEANS = {"mAP": 0.0, "mAUC": -1.0}  # in the order of PerClass; what absent classes count by the reference's rule
_NAMED = 3  # clips named in an error


class PerClass(NamedTuple):
    """Average precision and area under the ROC curve of each class, (C,) each; NaN where a class has none."""

    ap: Float64
    auc: Float64


def check(scores: Array, target: Array) -> npt.NDArray[np.bool_]:
    """Checks scores and targets; returns which classes are right, (n, C).

    Args:
        scores: (n, C), one or more of both.
        target: (n,) class indices, of clips with one label each, or (n, C) of zeros and ones.

    Raises:
        InputError: Shapes that do not fit, scores that are not finite, class indices that do not exist, or targets that
            are neither 0 nor 1.
    """
    if scores.ndim != 2 or 0 in scores.shape:
        raise InputError(f"scores: found shape {scores.shape}, valid: (clips, classes), one or more of both.")
    n, classes = scores.shape
    bad = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(bad):
        named = ", ".join(f"row {row}" for row in bad[:_NAMED].tolist()) + (", ..." if len(bad) > _NAMED else "")
        raise InputError(
            f"scores: found values that are not finite in {len(bad)} of {n} clips ({named}), valid: finite numbers;"
            " the model has diverged, or its features are damaged."
        )
    if target.shape == (n,) and np.issubdtype(target.dtype, np.integer):
        if target.min() < 0 or target.max() >= classes:
            wrong = target.min() if target.min() < 0 else target.max()
            raise InputError(f"target: found class {wrong}, valid: 0 to {classes - 1}.")
        return np.asarray(target[:, None] == np.arange(classes))
    if target.shape != (n, classes):
        raise InputError(
            f"target: found shape {target.shape} of {target.dtype}, valid: ({n},) whole numbers or ({n}, {classes})."
        )
    positive = target == 1
    if not (positive | (target == 0)).all():
        raise InputError("target: found values other than 0 and 1, valid: 0 and 1; soft labels cannot be judged.")
    return np.asarray(positive)


def per_class(scores: Array, target: Array) -> PerClass:
    """Returns average precision and ROC AUC of each class; arguments and errors as in :func:`check`."""
    pairs = [each.areas() for each in in_parts(scores, check(scores, target))]
    return PerClass(*map(np.concatenate, zip(*pairs, strict=True)))


def d_prime(mean_auc: float) -> float:
    """Returns sqrt(2) times the normal quantile of the mean AUC; infinite for 0 and 1, NaN outside."""
    if not 0 < mean_auc < 1:
        return {0.0: -math.inf, 1.0: math.inf}.get(mean_auc, math.nan)
    return math.sqrt(2) * NormalDist().inv_cdf(mean_auc)


def top_k(scores: Array, target: Array, k: int) -> Float64:
    """Returns how far each clip's class is among the k best, (n,): 1, 0 or, in a tie, the chance of a random order.

    Equal scores for all C classes give k / C. Without ties this is what argmax and a sort give.

    Args:
        scores: (n, C).
        target: (n,) class indices.
        k: Places; k of C or more are always right.

    Raises:
        InputError: Targets of another shape, or as in :func:`check`.
    """
    if target.ndim != 1:
        raise InputError(f"top{k}: found targets of shape {target.shape}, valid: (n,), one label a clip.")
    check(scores, target)
    own = np.take_along_axis(scores, target[:, None].astype(np.int64), axis=1)
    better = np.count_nonzero(scores > own, axis=1)
    equal = np.count_nonzero(scores == own, axis=1)
    return np.asarray(np.clip((k - better) / equal, 0.0, 1.0))


def places(n_classes: int, target: Array) -> tuple[int, ...]:
    """Returns the k of the top-k accuracies that say something: none for several labels a clip."""
    return tuple(k for k in TOP if k == 1 or k < n_classes) if target.ndim == 1 else ()


def means(found: PerClass, absent: Absent) -> dict[str, float]:
    """Returns the means over classes, by the rule for those that have no value, and d'."""
    if absent not in ABSENT:
        raise unknown("rule for absent classes", absent, ABSENT)
    values: dict[str, float] = {}
    for (name, stands_for), per in zip(MEANS.items(), found, strict=True):
        missing = np.isnan(per)
        counted = per[~missing] if absent == "present" else np.where(missing, stands_for, per)
        values[name] = float(counted.mean()) if len(counted) else math.nan
    return _finite({**values, "d_prime": d_prime(values["mAUC"])})


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}


def summarise(scores: Array, target: Array, *, absent: Absent = "present") -> dict[str, float]:
    """Returns ``mAP``, ``mAUC`` and ``d_prime``; of clips with one label each ``top1`` and ``top5``, too.

    What is not a number is left out: ``top5`` where there are no more than five classes, ``d_prime`` where the mean
    AUC is 0 or 1, everything that no class has.

    Args:
        scores: (n, C); larger is likelier. mAP and mAUC compare clips, so they need probabilities, or their logarithms,
            rather than the logits of a softmax.
        target: (n,) class indices or (n, C) zeros and ones.
        absent: What classes without positive clips count; see the module.

    Raises:
        InputError: As in :func:`check`.
    """
    found = per_class(scores, target)
    values = {f"top{k}": float(top_k(scores, target, k).mean()) for k in places(scores.shape[1], target)}
    return values | means(found, absent)


def chance(target: Array, n_classes: int, *, absent: Absent = "present") -> dict[str, float]:
    """Returns what is reached without looking at the clip; keys of :func:`summarise`.

    Top-k: always the k most frequent classes of the clips judged. mAP: the mean over all orders of the clips, which is
    a little above a class's share p of positive clips: ((P - 1) / (n - 1) (n - H) + H) / n for P of n clips, H being
    the n-th harmonic number. mAUC one half, d' zero.

    Args:
        target: (n, C) 0 or 1, or (n,) class indices.
        n_classes: C.
        absent: What becomes of classes that no clip has.
    """
    n, harmonic = len(target), float((1 / np.arange(1, len(target) + 1)).sum())
    positives = np.bincount(target, minlength=n_classes) if target.ndim == 1 else np.count_nonzero(target, axis=0)
    ap = ((positives - 1) / max(n - 1, 1) * (n - harmonic) + harmonic) / n
    auc = np.where(positives < n, 0.5, np.nan)
    values: dict[str, float] = {}
    if target.ndim == 1:
        shares = np.sort(positives)[::-1] / n
        values = {f"top{k}": float(shares[:k].sum()) for k in places(n_classes, target)}
    return values | means(PerClass(*(np.where(positives > 0, each, np.nan) for each in (ap, auc))), absent)
