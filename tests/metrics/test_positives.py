"""AP and AUC of all classes at once: the same bits as counted clip by clip."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from avbench.metrics import positives
from avbench.metrics.positives import Positives

Array = npt.NDArray[Any]
KINDS = ("several", "one label", "none of a class", "all of a class", "one clip")


def made(kind: str, draw: np.random.Generator) -> Array:
    """Returns which clips are of which class, (n, 5)."""
    n = 1 if kind == "one clip" else 83
    if kind == "one label":
        return np.asarray(np.arange(n)[:, None] % 5 == np.arange(5))
    found = draw.random((n, 5)) < (0.02, 0.1, 0.3, 0.5, 0.9)
    if kind == "none of a class":
        found[:, 2] = False
    if kind == "all of a class":
        found[:, 1] = True
    return found


def counted(scores: Array, positive: Array, weights: Array) -> tuple[float, float]:
    """Returns AP and AUC of one class and resample, clip by clip."""
    ap = auc = 0.0
    counts = weights.astype(int)
    for clip in np.flatnonzero(positive):
        as_good, level = scores >= scores[clip], scores == scores[clip]
        hits, found = int(counts[clip]), int(counts[as_good & positive].sum())
        ap += hits * found / max(int(counts[as_good].sum()), 1)
        beaten = int(counts[~as_good & ~positive].sum()) + int(counts[level & ~positive].sum()) / 2
        auc += hits * beaten
    hits, negatives = int(counts[positive].sum()), int(counts[~positive].sum())
    return (ap / hits if hits else np.nan), (auc / (hits * negatives) if hits * negatives else np.nan)


def by_level(scores: Array, positive: Array) -> float:
    """Returns AP of all clips, each once: a term for each score that a positive clip has, by rising score."""
    terms = []
    for level in np.unique(scores[positive]):
        as_good = scores >= level
        hits = np.count_nonzero(positive & (scores == level))
        terms.append(hits * (np.count_nonzero(positive & as_good) / np.count_nonzero(as_good)))
    return float(np.array(terms).sum() / np.count_nonzero(positive)) if terms else np.nan


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("ties", ["no", "some", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_same_bits_as_counted_clip_by_clip(kind: str, ties: str, dtype: type) -> None:
    draw = np.random.default_rng(0)
    positive = made(kind, draw)
    n, classes = positive.shape
    scores = {
        "no": draw.permutation(n * classes).reshape(n, classes) / 64 - 3,
        "some": draw.standard_normal((n, classes)).round(0),  # -0 and 0 among them
        "all": np.zeros((n, classes)),
    }[ties].astype(dtype)
    weights = draw.integers(0, 4, (n, 9)).astype(np.uint8)
    weights[:, 0] = 0
    weights[positive[:, -1], 1] = 0  # a class that a resample does not have
    found = Positives.of(scores, positive)
    wanted = [
        [counted(scores[:, c], positive[:, c], weights[:, r]) for r in range(weights.shape[1])] for c in range(classes)
    ]
    np.testing.assert_array_equal(np.moveaxis(found.resampled(weights), 0, 2), wanted)
    ap, auc = found.areas()
    np.testing.assert_array_equal(ap, [by_level(scores[:, c], positive[:, c]) for c in range(classes)])
    once = np.ones(n)
    np.testing.assert_array_equal(auc, [counted(scores[:, c], positive[:, c], once)[1] for c in range(classes)])


def test_memory_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(1)
    positive, scores = made("several", draw), draw.standard_normal((83, 5)).round(1)
    weights = draw.integers(0, 4, (83, 150)).astype(np.uint8)
    (whole,) = positives.in_parts(scores, positive)
    monkeypatch.setattr(positives, "HELD", 200)
    parts = list(positives.in_parts(scores, positive))
    assert len(parts) == 3
    for method, arguments in (("areas", ()), ("resampled", (weights,))):
        pairs = zip(*(getattr(each, method)(*arguments) for each in parts), strict=True)
        for each, all_at_once in zip(pairs, getattr(whole, method)(*arguments), strict=True):
            np.testing.assert_array_equal(np.concatenate(each), all_at_once)
