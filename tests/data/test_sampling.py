"""Class-balanced sampling against the authors' definition, and its properties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avbench.data.feed.sampling import balanced_order, clip_weights


@dataclass(frozen=True)
class Table:
    offsets: np.ndarray
    codes: np.ndarray


def table(*labels: tuple[int, ...]) -> Table:
    offsets = np.cumsum([0, *map(len, labels)])
    return Table(offsets, np.array([code for each in labels for code in each]))


def test_weights_are_the_sums_over_classes() -> None:
    labels = table((0,), (0, 2), (2, 1), (0,))
    counts = {0: 3, 1: 1, 2: 2}
    expected = [sum(1000 / (counts[c] + 0.01) for c in each) for each in ((0,), (0, 2), (2, 1), (0,))]
    assert np.allclose(clip_weights(labels), expected)


def test_rare_classes_come_as_often_as_common_ones() -> None:
    labels = table(*[(0,)] * 900, *[(1,)] * 100)
    order = np.concatenate([balanced_order(labels, seed=0, epoch=epoch) for epoch in range(20)])
    assert order.dtype == np.int64
    assert abs((order >= 900).mean() - 0.5) < 0.02
    assert len(np.unique(order[order >= 900])) == 100


def test_a_draw_is_a_function_of_seed_and_epoch() -> None:
    labels = table(*[(i % 3,) for i in range(50)])
    first = balanced_order(labels, seed=1, epoch=4)
    assert np.array_equal(first, balanced_order(labels, seed=1, epoch=4))
    assert not np.array_equal(first, balanced_order(labels, seed=1, epoch=5))
    assert not np.array_equal(first, balanced_order(labels, seed=2, epoch=4))
