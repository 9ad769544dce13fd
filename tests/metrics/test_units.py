"""Units and directions of metrics, in one place, and those that a task of another package states."""

from __future__ import annotations

from pathlib import Path

import pytest

from avbench import registry
from avbench.errors import InputError
from avbench.metrics import units
from avbench.metrics.units import PERCENT, PLAIN, SHARE, unit

#: Every last part of a metric that the tasks of this package record.
PERCENTS = ("mAP", "mAUC", "AP", "AUC", "IAUC", "AUC_adaptive", "IoU", "mIoU", "mIoU_adaptive", "F", "max_F1")
SHARES = ("R@1", "R@10", "top1", "top5", "cIoU@0.5", "cIoU_adaptive@0.5", "IIoU_adaptive@0.5", "peak", "LocAcc")


def test_units_of_the_metrics_of_all_tasks() -> None:
    assert {name: unit(f"x/{name}") for name in PERCENTS} == dict.fromkeys(PERCENTS, PERCENT)
    assert {name: unit(f"x/{name}") for name in SHARES} == dict.fromkeys(SHARES, SHARE)
    for name in ("median_rank", "mean_rank", "mse", "loss", "contrast_loss", "tuning_loss"):
        assert (unit(f"a2v/{name}").factor, unit(name).symbol, unit(name).better) == (1, "", "lower")
    assert (unit("joint/d_prime").factor, unit("d_prime").better) == (1, "higher")


def test_every_column_of_a_task_is_known() -> None:
    for entry in registry.entries("task").values():
        if entry.origin == "avbench":
            for name in entry.card["columns"]:
                assert unit(name, entry.name) is not PLAIN, name


def test_an_unknown_metric_is_a_plain_number_of_which_more_is_better() -> None:
    assert unit("joint/seconds") == PLAIN
    assert (PLAIN.factor, PLAIN.symbol, PLAIN.lower) == (1, "", False)


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "timed.py"
    entry = registry.Component("timed", "timed", path, "elsewhere", "task")
    monkeypatch.setattr(registry, "entries", lambda kind: {"timed": entry})
    units._stated.cache_clear()
    return path


def test_a_task_states_its_own(card: Path) -> None:
    card.write_text(
        'CARD = TaskCard(summary="s", needs=(), units={"latency": {"factor": 1000, "symbol": "ms", "digits": 1,'
        ' "better": "lower"}, "AP": {"factor": 1}})\n'
    )
    found = unit("gpu/latency", "timed")
    assert (found.factor, found.symbol, found.digits, found.lower) == (1000, "ms", 1, True)
    assert unit("AP", "timed").factor == 1
    assert unit("AP").factor == 100
    assert unit("R@1", "timed") == SHARE
    assert unit("R@1", "gone") == SHARE  # of a task that is not installed here
    units._stated.cache_clear()


@pytest.mark.parametrize(
    ("stated", "words"), [('{"scale": 2}', "found 'scale', valid: factor"), ('{"better": "up"}', "better: found up")]
)
def test_a_unit_that_is_none_is_refused(card: Path, stated: str, words: str) -> None:
    card.write_text(f'CARD = TaskCard(summary="s", needs=(), units={{"latency": {stated}}})\n')
    with pytest.raises(InputError, match=f"task 'timed': units of latency: {words}"):
        unit("latency", "timed")
    units._stated.cache_clear()
