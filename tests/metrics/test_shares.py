"""Wilson's intervals: against SciPy's, at the ends, and of samples that are not independent."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from avbench.errors import InputError
from avbench.metrics.evidence import Mean
from avbench.metrics.shares import interval, wilson


@pytest.mark.parametrize("n", [1, 7, 1000])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_equal_to_scipy_s(n: int, level: float) -> None:
    for hits in {0, 1, n // 2, n - 1, n}:
        expected = binomtest(hits, n).proportion_ci(level, method="wilson")
        found = wilson(hits / n, n, level=level)
        assert found == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert 0 <= found[0] <= hits / n <= found[1] <= 1


def test_no_share_and_no_samples_are_refused() -> None:
    for share, n in ((-0.1, 5), (1.1, 5), (0.5, 0), (float("nan"), 5)):
        with pytest.raises(InputError, match="share: found"):
            wilson(share, n)
    assert interval(np.zeros(3), np.zeros(3)) is None


def test_chances_count_as_hits_drawn_with_them() -> None:
    """Equal embeddings: each of 100 queries is found with the chance 1/100, as of one hit among 100."""
    assert interval(np.full(100, 0.01), np.ones(100)) == pytest.approx(wilson(0.01, 100))


def test_samples_of_one_unit_count_as_far_as_they_differ() -> None:
    hits = np.array([4.0, 0, 4, 0, 4])  # clips of four frames that are all alike: five samples, not twenty
    assert interval(hits, np.full(5, 4.0)) == pytest.approx(wilson(0.6, 5))
    apart = Mean(np.array([2.0, 3, 2, 3, 2]), np.full(5, 4.0))  # as unlike as strangers, or more: never above twenty
    assert apart.interval() == pytest.approx(wilson(0.6, 20))
    for value in (0.0, 4.0):  # nothing tells how alike they are: a clip counts once
        assert interval(np.full(5, value), np.full(5, 4.0)) == pytest.approx(wilson(value / 4, 5))


def test_it_covers_the_truth_as_often_as_it_says_where_hits_are_rare() -> None:
    """Of 0.5 % a bootstrap of 200 has no spread in a third of all draws, and misses the truth there."""
    draws = np.random.default_rng(0).binomial(200, 0.005, 2000)
    covered = [low <= 0.005 <= high for low, high in (wilson(k / 200, 200) for k in draws)]
    assert np.mean(covered) > 0.9 > 0.64 > np.mean(draws > 0)
