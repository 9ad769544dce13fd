"""Classification metrics against scikit-learn, brute force and closed forms."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import average_precision_score, roc_auc_score, top_k_accuracy_score

from avbench.errors import InputError
from avbench.metrics import classification as metric
from avbench.metrics.bootstrap import resample_indices
from avbench.metrics.classification_intervals import intervals

Array = npt.NDArray[Any]


def clips(n: int = 60, classes: int = 7, seed: int = 0, *, levels: int = 0) -> tuple[Array, Array]:
    """Returns scores and multi-hot targets; ``levels``: how many distinct scores there are, for ties."""
    rng = np.random.default_rng(seed)
    target = (rng.random((n, classes)) < rng.uniform(0.05, 0.6, classes)).astype(np.int64)
    target[0] = 1
    target[1] = 0
    scores = rng.standard_normal((n, classes)) + target
    return (np.round(scores * levels / 4) if levels else scores), target


def slow_ap(scores: Array, target: Array) -> float:
    """Average precision by its definition: precision at each distinct score, weighted by the gain of recall."""
    total, recall, ap = target.sum(), 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        above = scores >= threshold
        gained = target[above].sum() / total
        ap += (gained - recall) * target[above].mean()
        recall = gained
    return float(ap)


def slow_auc(scores: Array, target: Array) -> float:
    pairs = itertools.product(scores[target == 1], scores[target == 0])
    return float(np.mean([(p > q) + (p == q) / 2 for p, q in pairs]))


@pytest.mark.parametrize("levels", [0, 3, 12])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_equals_scikit_learn_and_the_definition(levels: int, dtype: type) -> None:
    for seed in range(4):
        scores, target = clips(seed=seed, levels=levels)
        scores = scores.astype(dtype)
        found = metric.per_class(scores, target)
        columns = list(zip(scores.T, target.T, strict=True))
        assert found.ap == pytest.approx([average_precision_score(y, s) for s, y in columns], abs=1e-14)
        assert found.ap == pytest.approx([slow_ap(s, y) for s, y in columns], abs=1e-14)
        assert found.auc == pytest.approx([roc_auc_score(y, s) for s, y in columns], abs=1e-14)
        assert found.auc == pytest.approx([slow_auc(s, y) for s, y in columns], abs=1e-14)


def test_classes_without_positive_or_negative_clips() -> None:
    scores, target = clips()
    target[:, 0], target[:, 1] = 0, 1
    found = metric.per_class(scores, target)
    assert np.isnan(found.ap[0])
    assert found.ap[1] == 1
    assert np.isnan(found.auc[:2]).all()
    present = metric.summarise(scores, target)
    assert present["mAP"] == pytest.approx(found.ap[1:].mean())
    assert present["mAUC"] == pytest.approx(found.auc[2:].mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [average_precision_score(y, s) for s, y in zip(scores.T, target.T, strict=True)]
    reference = metric.summarise(scores, target, absent="reference")
    assert reference["mAP"] == pytest.approx(np.mean(theirs))
    assert reference["mAUC"] == pytest.approx((found.auc[2:].sum() - 2) / 7)
    complete = clips()
    assert metric.summarise(*complete) == metric.summarise(*complete, absent="reference")


def test_equal_scores_give_the_share_of_positives() -> None:
    _, target = clips()
    found = metric.per_class(np.ones(target.shape), target)
    assert found.ap == pytest.approx(target.mean(axis=0))
    assert (found.auc == 0.5).all()


def test_one_class_one_clip_and_nothing_to_find() -> None:
    assert metric.summarise(np.zeros((1, 1)), np.ones((1, 1))) == {"mAP": 1.0}
    assert metric.summarise(np.zeros((3, 2)), np.zeros((3, 2))) == {}
    assert metric.summarise(np.zeros((1, 2)), np.array([0]))["top1"] == 0.5
    assert "top5" not in metric.summarise(np.zeros((9, 5)), np.arange(9) % 5)
    assert "top5" in metric.summarise(np.zeros((9, 6)), np.arange(9) % 6)


def test_d_prime() -> None:
    for auc in (0.01, 0.5, 0.93):
        assert metric.d_prime(auc) == pytest.approx(math.sqrt(2) * norm.ppf(auc))
    assert (metric.d_prime(1.0), metric.d_prime(0.0)) == (math.inf, -math.inf)
    assert math.isnan(metric.d_prime(-0.2))
    perfect = metric.summarise(np.eye(4), np.arange(4))
    assert perfect == {"top1": 1.0, "mAP": 1.0, "mAUC": 1.0}


def test_top_k_without_ties_is_scikit_learns_and_with_ties_the_mean_over_orders() -> None:
    rng = np.random.default_rng(0)
    scores, target = rng.standard_normal((50, 9)), rng.integers(9, size=50)
    for k in (1, 5):
        theirs = top_k_accuracy_score(target, scores, k=k, labels=np.arange(9))
        assert metric.top_k(scores, target, k).mean() == pytest.approx(theirs)
    tied = np.array([[1.0, 3.0, 3.0, 3.0, 0.0]])
    assert [metric.top_k(tied, np.array([2]), k)[0] for k in (1, 2, 3, 4)] == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert metric.top_k(np.zeros((1, 5)), np.array([4]), 2)[0] == pytest.approx(2 / 5)
    assert (metric.top_k(scores, target, 9) == 1).all()


def test_order_of_clips_and_rising_transforms_change_nothing() -> None:
    scores, target = clips(levels=9)
    order = np.random.default_rng(1).permutation(len(scores))
    given = metric.summarise(scores, target)
    assert metric.summarise(scores[order], target[order]) == pytest.approx(given, abs=1e-14)
    assert metric.summarise(np.exp(scores) * 7, target) == given


def test_indices_are_multi_hot_targets() -> None:
    rng = np.random.default_rng(0)
    scores, target = rng.standard_normal((40, 6)), rng.integers(6, size=40)
    single, multi = metric.summarise(scores, target), metric.summarise(scores, np.eye(6, dtype=bool)[target])
    assert {name: single[name] for name in multi} == multi
    assert set(single) - set(multi) == {"top1", "top5"}


@pytest.mark.parametrize(
    ("scores", "target", "message"),
    [
        (np.array([[0.0, np.nan], [1.0, 2.0]]), np.array([0, 1]), r"not finite in 1 of 2 clips \(row 0\)"),
        (np.array([[0.0, np.inf]]), np.array([0]), "not finite"),
        (np.zeros((0, 3)), np.zeros(0, int), r"shape \(0, 3\)"),
        (np.zeros(3), np.zeros(3, int), r"shape \(3,\)"),
        (np.zeros((2, 3)), np.array([0, 3]), "found class 3, valid: 0 to 2"),
        (np.zeros((2, 3)), np.array([0, -1]), "found class -1"),
        (np.zeros((2, 3)), np.array([0.0, 1.0]), "whole numbers"),
        (np.zeros((2, 3)), np.zeros((3, 2)), "valid"),
        (np.zeros((1, 2)), np.array([[0.5, 0.5]]), "other than 0 and 1"),
    ],
)
def test_unusable_input_is_refused(scores: Array, target: Array, message: str) -> None:
    for function in (metric.summarise, metric.per_class, intervals):
        with pytest.raises(InputError, match=message):
            function(scores, target)


def test_unknown_rule_and_top_k_of_several_labels() -> None:
    scores, target = clips()
    with pytest.raises(InputError, match="present, reference"):
        metric.summarise(scores, target, absent="never")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one label a clip"):
        metric.top_k(scores, target, 1)


def test_chance_is_the_mean_over_all_orders() -> None:
    target = np.array([0, 0, 1, 0, 2])
    orders = np.array(list(itertools.permutations(range(5))), dtype=float)
    found = [metric.per_class(np.repeat(order[:, None], 4, axis=1), target) for order in orders]
    chance = metric.chance(target, 4)
    assert chance["mAP"] == pytest.approx(np.mean([f.ap[:3].mean() for f in found]))
    assert chance["mAUC"] == pytest.approx(np.mean([f.auc[:3].mean() for f in found]))
    assert chance["d_prime"] == 0
    assert chance["top1"] == 0.6
    reference = metric.chance(target, 4, absent="reference")
    assert reference["mAP"] == pytest.approx(chance["mAP"] * 3 / 4)
    assert reference["mAUC"] == pytest.approx((3 * 0.5 - 1) / 4)
    assert metric.chance(np.arange(12) % 6, 6)["top5"] == pytest.approx(5 / 6)
    assert metric.chance(np.ones((1, 1)), 1) == {"mAP": 1.0}


def drawn_one_by_one(scores: Array, target: Array, name: str, resamples: int, **options: Any) -> Array:
    values = []
    for r in range(resamples):
        rows = resample_indices(len(scores), r, 3)
        values.append(metric.summarise(scores[rows], target[rows], **options)[name])
    return np.array(values)


@pytest.mark.parametrize("absent", metric.ABSENT)
@pytest.mark.parametrize("levels", [0, 4])
def test_resamples_are_those_of_the_drawn_clips(absent: metric.Absent, levels: int) -> None:
    scores, target = clips(levels=levels)
    target[:, 3] = 0
    target[5:7, 3] = 1  # a class that some resamples lack
    value = metric.summarise(scores, target, absent=absent)
    found = intervals(scores, target, absent=absent, resamples=60, seed=3)
    for name in ("mAP", "mAUC"):
        drawn = drawn_one_by_one(scores, target, name, 60, absent=absent)
        moved = np.clip(drawn - drawn.mean() + value[name], -1, 1)
        assert found[name] == pytest.approx(np.quantile(moved, (0.025, 0.975)), abs=1e-12)
    assert found["d_prime"] == pytest.approx([metric.d_prime(end) for end in found["mAUC"]])


def test_top_1_interval_is_wilsons() -> None:
    rng = np.random.default_rng(0)
    scores, target = rng.standard_normal((80, 3)), rng.integers(3, size=80)
    found = intervals(scores, target, resamples=50, seed=3)
    hits = int((scores.argmax(axis=1) == target).sum())
    expected = binomtest(hits, 80).proportion_ci(0.95, method="wilson")
    assert found["top1"] == pytest.approx((expected.low, expected.high))
    assert intervals(scores, target, resamples=0) == {}


def test_seed_changes_the_resamples() -> None:
    scores, target = clips()
    assert intervals(scores, target, resamples=40) != intervals(scores, target, resamples=40, seed=1)


def test_interval_of_rare_classes_covers_the_expectation() -> None:
    def draw(seed: int) -> tuple[Array, Array]:
        rng = np.random.default_rng(seed)
        target = (rng.random((300, 12)) < 0.03).astype(int)
        return rng.standard_normal((300, 12)) + target, target

    expectation = np.mean([metric.summarise(*draw(seed))["mAP"] for seed in range(200)])
    ends = [intervals(*draw(seed), resamples=100)["mAP"] for seed in range(60)]
    assert 0.8 <= np.mean([low <= expectation <= high for low, high in ends]) <= 1


def test_of_perfect_scores_only_the_share_has_a_spread() -> None:
    """That 60 of 60 are right does not say that all are: Wilson's interval goes down to 94 %."""
    found = intervals(np.eye(3)[np.arange(60) % 3], np.arange(60) % 3, resamples=30)
    assert {name: found[name] for name in ("mAP", "mAUC")} == dict.fromkeys(("mAP", "mAUC"), (1.0, 1.0))
    assert found["top1"] == pytest.approx((60 / (60 + 1.96**2), 1.0), abs=1e-5)


def test_needs_no_torch() -> None:
    code = "import sys, avbench.metrics.classification; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
