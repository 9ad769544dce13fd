"""The benchmark of evaluation: both ways give the same numbers, and the table has every row."""

from __future__ import annotations

import pytest

from avbench.bench import evaluation
from avbench.metrics.classification import summarise


def test_the_plain_way_is_the_same_metric() -> None:
    scores, target = evaluation.labelled(200, 7)
    assert target.sum(axis=0).all()
    found = summarise(scores, target)
    assert evaluation.plain_classification(scores, target) == pytest.approx((found["mAP"], found["mAUC"]))


def test_rows_and_limits() -> None:
    costs = [evaluation.retrieval_cost("diagonal_mean", (40, 2, 8), plain=10), evaluation.classification_cost(100, 5)]
    assert [cost.limit_s for cost in costs] == [3.0, 3.0]
    assert [cost.scaled for cost in costs] == [True, False]
    lines = evaluation.table(costs).splitlines()
    assert len(lines) == 4
    assert "40 x 2 x 8" in lines[2]
    assert "(scaled)" in lines[2]
    assert "(scaled)" not in lines[3]
