"""Bootstrap intervals: coverage, streams, memory."""

from __future__ import annotations

import functools
import tracemalloc

import numpy as np
import pytest

from avbench.errors import InputError
from avbench.metrics.bootstrap import CHUNK_VALUES, chunks, intervals, resample_indices
from avbench.metrics.retrieval import statistic

MEAN = {"mean": functools.partial(np.mean, axis=-1)}


def test_interval_of_a_mean_is_the_normal_one() -> None:
    values = np.random.default_rng(0).standard_normal(400)
    low, high = intervals(values, MEAN, resamples=4000)["mean"]
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.01)
    assert high == pytest.approx(values.mean() + half, abs=0.01)


def test_draws_are_those_of_each_resample_whether_they_are_kept_or_not() -> None:
    few, many = 30, CHUNK_VALUES // 4
    for n, resamples in ((few, 50), (few, 50), (many, 6)):  # the second time they are kept
        found = {part.start + i: row for part, rows in chunks(n, resamples, 3) for i, row in enumerate(rows)}
        assert list(found) == list(range(resamples))
        assert all((row == resample_indices(n, r, 3)).all() for r, row in found.items())
    ((_, kept),) = chunks(few, 50, 3)
    with pytest.raises(ValueError, match="read-only"):
        kept[0, 0] = 0


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    truth, covered = 0.3, 0
    for seed in range(200):
        hits = (np.random.default_rng(seed).random(200) < truth).astype(np.float64)
        low, high = intervals(hits, MEAN, resamples=200, seed=seed)["mean"]
        covered += low <= truth <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_median_and_recall_as_computed_one_by_one() -> None:
    values = np.random.default_rng(1).integers(1, 40, 50) / 2
    metrics = {name: functools.partial(statistic, name) for name in ("median_rank", "R@5")}
    found = intervals(values, metrics, resamples=200, seed=3)
    drawn = [values[resample_indices(50, r, 3)] for r in range(200)]
    assert found["median_rank"] == pytest.approx(np.quantile([np.median(x) for x in drawn], (0.025, 0.975)))
    assert found["R@5"] == pytest.approx(np.quantile([(x <= 5).mean() for x in drawn], (0.025, 0.975)))


def test_draws_depend_on_the_seed_and_on_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(100.0)
    first = intervals(values, MEAN, resamples=100)
    assert intervals(values, MEAN, resamples=100, seed=1) != first
    monkeypatch.setattr("avbench.metrics.bootstrap.CHUNK_VALUES", 700)
    assert intervals(values, MEAN, resamples=100) == first


def test_nothing_varies_with_one_sample_or_equal_ones() -> None:
    assert intervals(np.array([7.0]), MEAN)["mean"] == (7.0, 7.0)
    assert intervals(np.full(20, 3.0), MEAN)["mean"] == (3.0, 3.0)


def test_no_resamples_give_no_intervals_and_no_samples_an_error() -> None:
    assert intervals(np.arange(5.0), MEAN, resamples=0) == {}
    with pytest.raises(InputError, match="bootstrap"):
        intervals(np.zeros(0), MEAN)


def test_memory_is_bounded() -> None:
    values = np.arange(100_000.0)
    tracemalloc.start()
    try:
        intervals(values, MEAN, resamples=30)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40e6  # all 30 at once: 48 MB; all 1000: 1.6 GB
