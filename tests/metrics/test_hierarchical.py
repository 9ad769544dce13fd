"""Means over seeds and their differences against plain loops, scipy, and a bootstrap that draws seeds and clips."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats

from avbench.errors import InputError
from avbench.metrics import evidence, hierarchical
from avbench.metrics.bootstrap import resample_indices
from avbench.metrics.hierarchical import Estimate, Resampled, Spread, difference, holm, mean

R = 400


def outputs(seeds: int, n: int, draw: int = 0, **sizes: float) -> Any:
    """Returns a number a seed and clip, (S, n): of the seed, the clip and the two together."""
    rng = np.random.default_rng(draw)
    of_seeds, of_clips = rng.standard_normal((seeds, 1)), rng.standard_normal((1, n))
    own = rng.standard_normal((seeds, n))
    return sizes.get("seed", 0.3) * of_seeds + sizes.get("clip", 1.0) * of_clips + sizes.get("own", 1.0) * own


def sample(values: Any, seeds: Any = None, resamples: int = R) -> Resampled:
    units = np.arange(values.shape[1])
    drawn = [evidence.of_means(units, {"x": row}).estimates(resamples, 0)["x"] for row in values]
    return Resampled(tuple(seeds or range(len(values))), values.mean(axis=1), np.stack(drawn), values.shape[1])


def in_loops(values: Any, statistic: Any = np.mean) -> tuple[float, float, float]:
    """Returns the parts of the variance of the mean over seeds, metric by metric and resample by resample."""
    count, n = values.shape
    table = np.array([[statistic(row[resample_indices(n, r)]) for r in range(R)] for row in values])
    of_means = [np.mean(table[:, r]) for r in range(R)]
    own = [[table[s, r] - of_means[r] for r in range(R)] for s in range(count)]
    grow = n / (n - 1)
    clips = np.var(of_means, ddof=1) * grow
    seeds = np.var([statistic(row) for row in values], ddof=1) / count if count > 1 else 0.0
    both = sum(np.var(row, ddof=1) for row in own) * grow / (count - 1) / count if count > 1 else 0.0
    return clips, seeds, both


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_it_is_a_plain_loop_over_seeds_and_resamples(seeds: int) -> None:
    values = outputs(seeds, 60)
    found = mean(sample(values))
    clips, of_seeds, both = in_loops(values)
    assert found.value == pytest.approx(values.mean())
    assert (found.spread.clips, found.spread.seeds, found.spread.both) == pytest.approx((clips, of_seeds, both))
    own = max(clips - both, 0)

    def tail(distance: float) -> float:
        """The error above a distance: that of the seeds, and the rest of it that of the clips, by quadrature."""
        if seeds == 1:
            return float(stats.t.sf(distance / np.sqrt(own), 59))
        steps = np.linspace(0, 1, 20_001)[1:-1]
        variance = own + of_seeds * (seeds - 1) / stats.chi2.ppf(steps, seeds - 1)
        return float(stats.t.sf(distance / np.sqrt(variance), 59 * (variance / own) ** 2).mean())

    low, high = found.interval()
    assert high - found.value == pytest.approx(found.value - low)
    assert tail(high - found.value) == pytest.approx(0.025, rel=2e-3)
    assert found.p(0.3) == pytest.approx(2 * tail(abs(found.value - 0.3)), rel=2e-3)
    assert found.p(low) == pytest.approx(0.05, rel=1e-6)


def test_the_error_is_a_sum_of_two_of_students() -> None:
    """Far out too, where the p-values of many tests are: against draws of the sum."""
    known = Estimate(0.0, Spread(clips=2.0, seeds=1.0, both=0.5), 3, 10_000, 10_000)
    draw = np.random.default_rng(0)
    errors = np.abs(np.sqrt(1.5) * draw.standard_normal(4_000_000) + draw.standard_t(2, 4_000_000))
    for p in (0.05, 0.005, 0.0005):
        assert (errors > known.quantile(p / 2)).mean() == pytest.approx(p, rel=0.05)
    assert Estimate(0.0, Spread(0.0, 1.0), 3, 99, 99).quantile(1e-6) == pytest.approx(stats.t.isf(1e-6, 2), rel=0.02)


def test_metrics_that_are_no_means_are_drawn_again_as_a_whole() -> None:
    values = np.abs(outputs(3, 50))
    median = [[np.median(row[resample_indices(50, r)]) for r in range(R)] for row in values]
    own = Resampled((0, 1, 2), np.median(values, axis=1), np.array(median), 50)
    found = mean(own).spread
    assert (found.clips, found.seeds, found.both) == pytest.approx(in_loops(values, np.median))


def test_the_parts_are_what_a_bootstrap_finds_that_draws_seeds_and_clips_together() -> None:
    """Owen 2007: clips + (S - 1) / S (seeds + both), here against all ways to draw the seeds of many draws of clips."""
    values, drawn = outputs(3, 40, seed=0.5), []
    for r in range(R):
        by_seed = values[:, resample_indices(40, r)].mean(axis=1)
        drawn.append([by_seed[list(chosen)].mean() for chosen in itertools.product(range(3), repeat=3)])
    together = np.var(drawn)
    found = mean(sample(values)).spread
    shrunk = 39 / 40  # a bootstrap's variance of 40 clips; ours is that of clips
    closed = shrunk * found.clips + 2 / 3 * (found.seeds + shrunk * found.both)
    assert together == pytest.approx(closed, rel=0.02)
    assert found.total != pytest.approx(together, rel=0.1)  # which has the one part twice, the other too small


def test_differences_are_paired_over_clips_and_over_seeds_where_these_match() -> None:
    first = outputs(3, 80, seed=1.0, own=0.3)
    second = first + 0.05 * outputs(3, 80, draw=1)
    own = [sample(each) for each in (first, second)]
    paired = difference(own[0], own[1])
    assert paired.error == pytest.approx(mean(sample(first - second)).error)
    turned = sample(second[[2, 0, 1]], seeds=(2, 0, 1))
    assert difference(own[0], turned).error == pytest.approx(paired.error)
    apart = difference(own[0], sample(second, seeds=(5, 6, 7)))
    assert apart.value == pytest.approx(paired.value)
    assert apart.error > 2 * paired.error
    assert apart.spread.clips == pytest.approx(paired.spread.clips)  # clips are the same ones all the same
    fewer = difference(own[0], sample(second[:2], seeds=(0, 1)))
    assert (fewer.seeds, fewer.value) == (2, pytest.approx(first.mean() - second[:2].mean()))


def test_one_seed_is_the_paired_t_test_and_clips_that_all_agree_leave_that_over_seeds() -> None:
    first, second = outputs(1, 300)[0], outputs(1, 300, draw=1)[0] + 0.1
    found = difference(sample(first[None], resamples=4000), sample(second[None], resamples=4000))
    wanted = stats.ttest_rel(first, second)
    assert found.p() == pytest.approx(wanted.pvalue, rel=0.1)
    assert found.interval() == pytest.approx(tuple(wanted.confidence_interval()), abs=0.01)
    means = np.array([0.31, 0.29, 0.36, 0.35])
    alike = mean(sample(np.repeat(means[:, None], 50, axis=1)))
    seeds = stats.ttest_1samp(means, 0.3)
    assert alike.p(0.3) == pytest.approx(seeds.pvalue, rel=1e-3)
    assert alike.interval() == pytest.approx(tuple(seeds.confidence_interval()), rel=1e-3)


def test_shares_have_intervals_within_0_and_1() -> None:
    hits = (np.random.default_rng(0).random((3, 50)) < 0.03).astype(float)
    low, high = mean(sample(hits)).interval(share=True)
    assert 0 < low < hits.mean() < high < 0.2
    low, high = mean(sample(np.zeros((3, 50)))).interval(share=True)
    assert (low, high) == pytest.approx((0, stats.binomtest(0, 50).proportion_ci(method="wilson").high), abs=5e-3)


def test_what_does_not_vary_is_not_tested() -> None:
    same = sample(np.full((3, 20), 0.7))
    assert mean(same).interval() == pytest.approx((0.7, 0.7), abs=1e-12)
    assert mean(same).p(0.5) is None
    assert difference(same, same).p() == 1.0
    assert mean(sample(np.ones((1, 1)))).p() is None


def test_resamples_without_a_value_are_left_out() -> None:
    own = sample(outputs(3, 40))
    holed = own.drawn.copy()
    holed[1, ::2] = np.nan
    found = mean(Resampled(own.seeds, own.values, holed, 40))
    kept = mean(Resampled(own.seeds, own.values, own.drawn[:, 1::2], 40))
    assert (found.error, found.resamples) == (kept.error, R // 2)


def test_the_smallest_difference_is_found_as_often_as_it_says() -> None:
    """Of a normal distribution with a known error: the normal power."""
    known = Estimate(0.0, Spread(clips=0.04), 1, 100_000, 100_000)
    size = known.shown(0.05)
    assert size == pytest.approx(0.2 * (1.959964 + 0.841621), rel=1e-3)
    found = np.abs(np.random.default_rng(0).normal(size, 0.2, 40_000)) > known.quantile(0.025)
    assert found.mean() == pytest.approx(0.8, abs=0.01)
    assert known.shown(0.05 / 20) > size


def test_holm_is_its_definition() -> None:
    found = [0.01, 0.04, 0.03, 0.005, 0.04]
    assert holm(found) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.09])
    assert holm(found, tests=10) == pytest.approx([0.09, 0.28, 0.24, 0.05, 0.28])
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.random(8) ** 3
        adjusted = holm(values.tolist())
        for level in (0.01, 0.05, 0.3):
            kept: set[int] = set()  # the step-down procedure at this level
            for rank, i in enumerate(np.argsort(values)):
                if values[i] > level / (8 - rank):
                    break
                kept.add(int(i))
            assert {i for i, p in enumerate(adjusted) if p <= level} == kept
    assert holm([]) == []


def test_outputs_of_other_shapes_are_refused() -> None:
    own = sample(outputs(3, 40))
    with pytest.raises(InputError, match="for 2 seeds"):
        Resampled((0, 1), own.values, own.drawn, 40)
    with pytest.raises(InputError, match="40 and 41 units"):
        difference(own, sample(outputs(3, 41)))
    assert hierarchical.LEVEL == 0.95


@pytest.mark.parametrize("seeds", [1, 2, 5])
@pytest.mark.parametrize("tail", [0.2, 0.025, 1e-4, 1e-7])
def test_the_quantile_is_the_distance_of_that_tail(seeds: int, tail: float) -> None:
    for clips, between in ((1e-4, 0.0), (1e-4, 1e-5), (1e-8, 1e-2), (0.0, 1e-3)):
        found = Estimate(0.0, Spread(clips, between), seeds, 1000, 1000)
        assert found.tail(found.quantile(tail)) == pytest.approx(tail, rel=1e-8)
