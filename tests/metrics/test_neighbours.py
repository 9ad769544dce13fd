"""Scores of the nearest training clips against the definition written out, clip by clip; ties, blocks, extremes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.errors import InputError
from avbench.metrics import neighbours
from avbench.metrics.neighbours import scores

Array = npt.NDArray[Any]


def brute(train: Array, labels: Array, query: Array, k: int, temperature: float) -> Array:
    """The mean over which of the tied ones are taken is the share of the places left: each has the same chance."""
    cosines = [float(x @ query) / (np.linalg.norm(x) * np.linalg.norm(query)) for x in train.astype(np.float64)]
    limit = sorted(cosines, reverse=True)[k - 1]
    above = [i for i, s in enumerate(cosines) if s > limit + 1e-9]
    tied = [i for i, s in enumerate(cosines) if abs(s - limit) <= 1e-9]
    share = dict.fromkeys(above, 1.0) | {i: (k - len(above)) / len(tied) for i in tied}
    weight = {i: part * np.exp(cosines[i] / temperature) for i, part in share.items()}
    return np.asarray(sum(weight[i] * labels[i] for i in weight) / sum(weight.values()))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 10_000), st.data())
def test_scores_are_as_the_definition_says(m: int, classes: int, seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    k, temperature = data.draw(st.integers(1, m)), data.draw(st.sampled_from([0.07, 0.5]))
    train, judged = (rng.integers(-1, 2, (count, 2)).astype(np.float32) for count in (m, 3))
    for values in (train, judged):
        values[(values == 0).all(axis=1)] = (1, 0)
    labels = rng.integers(0, 2, (m, classes)).astype(bool)
    found = scores(train, labels, judged, k=k, temperature=temperature)
    for row, query in zip(found, judged.astype(np.float64), strict=True):
        assert row == pytest.approx(brute(train, labels, query, k, temperature), abs=1e-6)


def drawn() -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((50, 6)), np.eye(5, dtype=bool)[np.arange(50) % 5], rng.standard_normal((20, 6))


def test_blocks_order_and_length_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train, labels, judged = drawn()
    train[10:20] = train[:10]  # ties
    whole = scores(train, labels, judged, k=7, temperature=0.1)
    assert whole.sum(axis=1) == pytest.approx(np.ones(20))
    monkeypatch.setattr(neighbours, "ROWS", 9)
    monkeypatch.setattr(neighbours, "QUERIES", 3)
    order = np.random.default_rng(1).permutation(50)
    parts = scores(3.0 * train[order], labels[order], 0.2 * judged, k=7, temperature=0.1)
    np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_all_alike_give_the_shares_of_the_classes_and_one_neighbour_its_own() -> None:
    train, labels, judged = drawn()
    same = scores(np.ones((50, 6)), labels, judged, k=3, temperature=0.07)
    assert same == pytest.approx(np.full((20, 5), 0.2))
    assert (scores(train, labels, train, k=1, temperature=0.07) == labels).all()
    assert (scores(train, labels, train, k=50, temperature=1e-4) == labels).all()  # the nearest counts alone


@pytest.mark.parametrize("k", [0, 51])
def test_more_neighbours_than_clips_are_refused(k: int) -> None:
    train, labels, judged = drawn()
    with pytest.raises(InputError, match=rf"k: found {k}, valid: 1 to 50"):
        scores(train, labels, judged, k=k, temperature=0.1)


def test_shapes_that_do_not_fit_are_refused() -> None:
    train, labels, judged = drawn()
    with pytest.raises(InputError, match="found vectors, labels and clips to judge of"):
        scores(train, labels, judged[:, :4], k=3, temperature=0.1)
