"""Intervals of differences between two models against plain loops over the same resamples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from avbench.errors import InputError
from avbench.metrics import classification, evidence, paired, retrieval
from avbench.metrics.bootstrap import resample_indices
from avbench.metrics.evidence import Evidence

R = 60


def models(multi: bool) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    target = rng.random((50, 4)) < 0.3 if multi else rng.integers(0, 7, 50)
    right = target if multi else np.eye(7)[target]
    first, second = (right * lift + rng.standard_normal(right.shape) for lift in (2, 1))
    return first.astype(np.float32), second.astype(np.float32), target


def clips(n: int) -> Any:
    return np.array([f"clip{i}" for i in range(n)])


def student(difference: float, drawn: Any, n: int = 50) -> tuple[float, float, float]:
    """Returns interval and p-value from the spread of resamples, as textbooks have them."""
    error = np.std(drawn, ddof=1) * np.sqrt(n / (n - 1))
    law = stats.t(min(n, len(drawn)) - 1)
    half = law.ppf(0.975) * error
    return difference - half, difference + half, 2 * law.sf(abs(difference) / error) if error else 1.0


def of_ranks(values: Any) -> Evidence:
    return evidence.of_ranks(clips(len(values)), {"a2v": values})


@pytest.mark.parametrize("absent", ["present", "reference"])
@pytest.mark.parametrize("multi", [False, True])
def test_scores_against_a_loop(multi: bool, absent: Any) -> None:
    first, second, target = models(multi)
    pair = [evidence.of_scores(clips(50), each, target, absent=absent) for each in (first, second)]
    found = paired.compare(pair[0], pair[1], resamples=R, seed=3)
    whole = [classification.summarise(each, target, absent=absent) for each in (first, second)]
    assert set(found) == set(whole[0])
    drawn: dict[str, list[Any]] = {name: [] for name in found}
    for r in range(R):
        rows = resample_indices(50, r, 3)
        again = [classification.summarise(each[rows], target[rows], absent=absent) for each in (first, second)]
        for name in found:
            drawn[name].append([each[name] for each in again])
    quantiles = {}
    for name, result in found.items():
        both = np.array(drawn[name])  # (R, 2)
        if not name.startswith("top"):
            both = np.array(drawn["mAUC" if name == "d_prime" else name])
            both += [each["mAUC" if name == "d_prime" else name] for each in whole] - both.mean(axis=0)
        if name == "d_prime":
            both = np.vectorize(classification.d_prime)(both)
        apart = both[:, 0] - both[:, 1]
        assert result.difference == whole[0][name] - whole[1][name]
        assert (result.low, result.high, result.p) == pytest.approx(student(result.difference, apart), abs=1e-9)
        assert (result.p_flips is not None) == name.startswith("top")
        quantiles[name] = tuple(np.quantile(apart, (0.025, 0.975)))
    ends = paired.intervals(evidence.difference(*pair), resamples=R, seed=3)  # of one record: percentiles
    assert {name: pytest.approx(wanted, abs=1e-9) for name, wanted in quantiles.items()} == ends


def test_ranks_against_a_loop() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(1, 30, (2, 40)).astype(np.float64)
    found = paired.compare(of_ranks(first), of_ranks(second), resamples=R, seed=1)
    assert set(found) == {f"a2v/{name}" for name in retrieval.METRICS}
    for name in retrieval.METRICS:
        drawn = [
            retrieval.statistic(name, first[rows]) - retrieval.statistic(name, second[rows])
            for rows in (resample_indices(40, r, 1) for r in range(R))
        ]
        result = found[f"a2v/{name}"]
        assert (result.low, result.high, result.p) == pytest.approx(student(result.difference, drawn, 40))


def test_means_over_units_of_several_samples_against_a_loop() -> None:
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 4, 30).astype(np.float64)
    first, second = (evidence.Mean(rng.random(30) * counts, counts) for _ in range(2))
    pair = [evidence.Evidence(clips(30), {"x": float(m(np.arange(30)))}, {"x": m}) for m in (first, second)]
    result = paired.compare(pair[0], pair[1], resamples=R)["x"]
    drawn = []
    for r in range(R):
        rows = resample_indices(30, r)
        drawn.append((first.totals[rows].sum() - second.totals[rows].sum()) / counts[rows].sum())
    assert (result.low, result.high, result.p) == pytest.approx(student(result.difference, drawn, 30))


def test_means_over_different_samples_of_the_same_units() -> None:
    rng = np.random.default_rng(2)
    pair = []
    for _ in range(2):
        counts = rng.integers(1, 4, 30).astype(np.float64)
        mean = evidence.Mean(rng.random(30) * counts, counts)
        pair.append(evidence.Evidence(clips(30), {"x": float(mean(np.arange(30)))}, {"x": mean}))
    result = paired.compare(pair[0], pair[1], resamples=R)["x"]
    index = np.stack([resample_indices(30, r) for r in range(R)])
    drawn = pair[0].means["x"](index) - pair[1].means["x"](index)
    assert (result.low, result.high, result.p) == pytest.approx(student(result.difference, drawn, 30))
    assert result.p_flips is None


def test_swapping_the_models_changes_signs_and_no_p_value() -> None:
    first, second, target = models(multi=False)
    rng = np.random.default_rng(4)
    parts = [
        evidence.joined(
            [("", evidence.of_scores(clips(50), each, target)), ("r/", of_ranks(rng.integers(1, 50, 50).astype(float)))]
        )
        for each in (first, second)
    ]
    there, back = (paired.compare(parts[i], parts[1 - i], resamples=R) for i in (0, 1))
    assert set(there) == set(parts[0].values)
    for name, one in there.items():
        other = back[name]
        assert one.difference == -other.difference
        assert (one.p, one.p_flips) == (other.p, other.p_flips)
        assert one.low is not None
        assert other.high is not None
        assert one.low == pytest.approx(-other.high, abs=1e-12)


@pytest.mark.parametrize("n", [8, 15, 120])
def test_p_of_real_numbers_is_that_of_scipy(n: int) -> None:
    apart = np.random.default_rng(n).standard_normal(n) + 0.25
    wanted = stats.permutation_test(
        (apart,), np.mean, permutation_type="samples", n_resamples=40_000, rng=np.random.default_rng(0)
    ).pvalue
    (found,) = paired.p_flips({"x": evidence.Mean(apart, np.ones(n))}).values()
    assert found == pytest.approx(wanted, abs=1e-9 if n <= paired.EXACT else 0.015)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (3, 9), (700, 640), (12_000, 11_000)])
def test_p_of_hits_is_the_exact_binomial(wins: int, losses: int) -> None:
    apart = np.repeat([1.0, -1.0, 0.0], (wins, losses, 5))
    (found,) = paired.p_flips({"x": evidence.Mean(apart, np.ones(len(apart)))}).values()
    wanted = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert found == pytest.approx(wanted, rel=1e-9)


def test_intervals_of_means_are_those_of_scipy_but_for_the_draws() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.random((2, 200)) + np.array([[0.05], [0.0]])
    pair = [evidence.of_means(clips(200), {"x": each}) for each in (first, second)]
    result = paired.compare(pair[0], pair[1], resamples=4000)["x"]
    assert result.p == pytest.approx(stats.ttest_rel(first, second).pvalue, rel=0.1)
    wanted = stats.bootstrap((first - second,), np.mean, n_resamples=4000, method="percentile", rng=rng)
    assert (result.low, result.high) == pytest.approx(tuple(wanted.confidence_interval), abs=5e-3)


def test_a_model_does_not_differ_from_itself() -> None:
    first, _, target = models(multi=False)
    for own in (evidence.of_scores(clips(50), first, target), of_ranks(np.abs(first[:, 0]))):
        for result in paired.compare(own, own, resamples=R).values():
            assert (result.difference, result.low, result.high, result.p) == (0, 0, 0, 1)
            assert result.p_flips in (None, 1.0)


def test_degenerate_sets() -> None:
    perfect = evidence.of_scores(clips(4), np.eye(2)[[0, 1, 0, 1]], np.array([0, 1, 0, 1]))
    coin = evidence.of_scores(clips(4), np.full((4, 2), 0.5), np.array([0, 1, 0, 1]))
    found = paired.compare(perfect, coin, resamples=R)
    assert "d_prime" not in found  # infinite for the one
    assert found["top1"].difference == 0.5
    one = evidence.of_means(clips(1), {"x": np.array([1.0])}), evidence.of_means(clips(1), {"x": np.array([0.0])})
    result = paired.compare(*one, resamples=R)["x"]
    assert (result.low, result.high, result.p, result.p_flips) == (1, 1, None, 1)


def test_no_resamples_give_no_intervals_and_other_clips_are_refused() -> None:
    first, second, _ = models(multi=False)
    apart = evidence.difference(of_ranks(first[:, 0]), of_ranks(second[:, 0]))
    assert paired.intervals(apart, resamples=0) == {}
    with pytest.raises(InputError, match="the same clips"):
        paired.compare(of_ranks(first[:, 0]), of_ranks(second[:-1, 0]))
    with pytest.raises(InputError, match="the same clips"):
        evidence.joined([("", of_ranks(first[:, 0])), ("r/", of_ranks(second[:-1, 0]))])
    with pytest.raises(InputError, match="found no parts"):
        evidence.joined([])
