"""Intervals of differences between two models against plain loops over the same resamples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from avbench.errors import InputError
from avbench.metrics import classification, paired, retrieval
from avbench.metrics.bootstrap import resample_indices

R = 60


def models(multi: bool) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    target = rng.random((50, 4)) < 0.3 if multi else rng.integers(0, 7, 50)
    right = target if multi else np.eye(7)[target]
    first, second = (right * lift + rng.standard_normal(right.shape) for lift in (2, 1))
    return first.astype(np.float32), second.astype(np.float32), target


@pytest.mark.parametrize("absent", ["present", "reference"])
@pytest.mark.parametrize("multi", [False, True])
def test_scores_against_a_loop(multi: bool, absent: Any) -> None:
    first, second, target = models(multi)
    found = paired.scores(first, second, target, absent=absent, resamples=R, seed=3)
    whole = [classification.summarise(each, target, absent=absent) for each in (first, second)]
    assert set(found) == set(whole[0]) - {"d_prime"}
    for name, (low, high) in found.items():
        estimates = []
        for r in range(R):
            rows = resample_indices(50, r, 3)
            pair = [classification.summarise(each[rows], target[rows], absent=absent) for each in (first, second)]
            estimates.append(pair[0][name] - pair[1][name])
        drawn = np.array(estimates)
        if not name.startswith("top"):
            drawn += whole[0][name] - whole[1][name] - drawn.mean()
        assert (low, high) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))), abs=1e-9)


def test_ranks_and_values_against_a_loop() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(1, 30, (2, 40)).astype(np.float64)
    found = paired.ranks(first, second, resamples=R, seed=1)
    for name, interval in found.items():
        drawn = [
            retrieval.statistic(name, first[rows]) - retrieval.statistic(name, second[rows])
            for rows in (resample_indices(40, r, 1) for r in range(R))
        ]
        assert interval == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))))
    assert set(found) == set(retrieval.METRICS)
    assert paired.values(first, second, resamples=R, seed=1) == pytest.approx(found["mean_rank"])


def test_a_model_does_not_differ_from_itself() -> None:
    first, _, target = models(multi=False)
    assert set(paired.scores(first, first, target, resamples=R).values()) == {(0.0, 0.0)}
    assert set(paired.ranks(first[:, 0], first[:, 0], resamples=R).values()) == {(0.0, 0.0)}


def test_no_resamples_give_no_intervals_and_other_clips_are_refused() -> None:
    first, second, target = models(multi=False)
    assert paired.scores(first, second, target, resamples=0) == {}
    assert paired.ranks(first[:, 0], second[:, 0], resamples=0) == {}
    assert paired.values(first[:, 0], second[:, 0], resamples=0) is None
    for call in (paired.values, paired.ranks):
        with pytest.raises(InputError, match="the same clips"):
            call(first[:, 0], second[:-1, 0])
    with pytest.raises(InputError, match="the same clips"):
        paired.scores(first, second[:-1], target)
