"""Hits among sets of labels against every order of tied classes, F1 against counting, confusion by hand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from avbench.metrics.label_sets import confusion, f1, hit, share

Array = npt.NDArray[Any]


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 5), st.integers(0, 10_000), st.data())
def test_a_hit_is_the_share_of_orders_with_a_right_one_among_the_first(c: int, seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    k = data.draw(st.integers(1, c))
    scores, labels = rng.integers(0, 3, (4, c)).astype(np.float32), rng.random((4, c)) < 0.4
    for found, row, marks in zip(hit(scores, labels, k), scores, labels, strict=True):
        orders = [o for o in itertools.permutations(range(c)) if list(row[list(o)]) == sorted(row, reverse=True)]
        assert found == pytest.approx(np.mean([marks[list(order[:k])].any() for order in orders]))


def test_f1_is_scikit_learns_and_clips_without_labels_do_not_count() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.random((50, 6)), rng.random((50, 6)) < 0.3
    some = labels.any(axis=1)
    named = np.eye(6, dtype=bool)[scores.argmax(axis=1)]
    hits = hit(scores, labels, 1)
    found = f1(hits, labels)
    assert found.totals.sum() / found.counts.sum() == pytest.approx(
        f1_score(labels[some], named[some], average="micro")
    )
    mean = share(hits, labels)
    assert mean.totals.sum() / mean.counts.sum() == pytest.approx((named & labels)[some].any(axis=1).mean())


def test_confusion_is_right_alone_and_wrong_together() -> None:
    alone, together = np.array([1.0, 1.0, 0.0, 0.5]), np.array([0.0, 1.0, 0.0, 0.5])
    assert confusion(alone, together).tolist() == [1.0, 0.0, 0.0, 0.25]
