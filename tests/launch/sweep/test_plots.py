"""The table, the CSV and the pictures that a sweep leaves."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from sweep_fakes import LAMBDA, FakePool, World, drive, fakes, sweep_of

from avbench.errors import RunError
from avbench.launch.sweep.course import Course
from avbench.launch.sweep.plots import slice_of, write_plots
from avbench.launch.sweep.show import TrialResult, frame, render, results

__all__ = ["fakes"]
RATIO = "method.masking_ratio"


def test_a_table_of_means_and_deviations_with_the_best_marked(fakes: World) -> None:
    sweep = sweep_of(fakes.folder, seeds=[0, 1])
    fakes.score = lambda settings, seed: {"0.01": 0.2, "0.1": 0.5, "1": 0.3}[settings[LAMBDA]] + 0.1 * seed
    study, _ = drive(sweep, FakePool(fakes))
    found = results(study, sweep)
    lines = render(sweep, found).splitlines()
    assert "seeds 0 1, mean ± standard deviation; * best" in lines[0]
    assert "retrieval a2v/R@1, %" in lines[2]
    assert lines[5].split() == ["1", "*", "0.1", "55.0", "±", "7.1", "complete,", "best"]
    table = frame(sweep, found, ["a", "b", "c"])
    assert list(table["retrieval a2v/R@1"]) == pytest.approx([0.25, 0.55, 0.35])
    assert list(table["retrieval a2v/R@1 seed 1"]) == pytest.approx([0.3, 0.6, 0.4])
    assert list(table["command"]) == ["a", "b", "c"]


def test_units_are_those_of_the_metrics(fakes: World) -> None:
    """A mean rank of 12.5 is no 1250 %, and an error of 0.5314 has more than one decimal."""
    names = ("retrieval a2v/mean_rank", "retrieval a2v/median_rank", "reconstruction audio/uniform@0.5/mse")
    tasks, objectives = ["retrieval", "reconstruction"], dict.fromkeys(names, "minimize")
    sweep = sweep_of(fakes.folder, space={LAMBDA: [0.1]}, task=tasks, objectives=objectives)
    found = [TrialResult(0, {LAMBDA: 0.1}, "complete", dict.fromkeys(names, (12.5314,)), best=True)]
    header, _, cells = render(sweep, found).splitlines()[2:5]
    assert "%" not in header
    assert cells.split()[3:6] == ["12.5", "12.5", "12.531"]
    drawing = slice_of(sweep, found, sweep.space[0])
    assert list(drawing.table["mean"]) == [12.5314] * 3
    assert all("%" not in axis.get_ylabel() for axis in drawing.canvas.axes)


def test_slices_and_importance(fakes: World) -> None:
    sweep = sweep_of(
        fakes.folder,
        space={LAMBDA: {"values": [0.01, 0.1, 1], "log": True}, RATIO: [0.5, 0.75]},
        objectives={"retrieval a2v/R@1": "maximize", "retrieval a2v/mean_rank": "minimize"},
        seeds=[0, 1],
    )
    fakes.score = lambda settings, seed: 0.1 * float(settings[LAMBDA]) + 0.01 * float(settings[RATIO]) + 0.001 * seed
    study, _ = drive(sweep, FakePool(fakes))
    written = list(write_plots(study, sweep, results(study, sweep), fakes.folder))
    # The second objective is the same in every trial: nothing explains it.
    assert written[-1] == "importance: retrieval a2v/mean_rank is the same in every trial."
    names = {path.name for path in written if isinstance(path, Path)}
    assert names == {f"slice_{key}.{kind}" for key in (LAMBDA, RATIO) for kind in ("png", "pdf", "csv")}
    table = pd.read_csv(fakes.folder / f"slice_{LAMBDA}.csv")
    own = table[(table["objective"] == "retrieval a2v/R@1") & (table["line"] == 0.5)]
    assert list(own[LAMBDA]) == [0.01, 0.1, 1]
    assert list(own["mean"]) == pytest.approx([100 * (0.1 * x + 0.005 + 0.0005) for x in (0.01, 0.1, 1)], rel=1e-4)

    one = sweep_of(fakes.folder, space={LAMBDA: [0.01, 0.1, 1], RATIO: [0.5, 0.75]}, seeds=[0, 1])
    study, _ = drive(one.__class__(**{**vars(one), "name": "one"}), FakePool(fakes))
    assert {
        p.name for p in write_plots(study, one, results(study, one), fakes.folder / "one") if isinstance(p, Path)
    } >= {"importance.png"}
    shares = pd.read_csv(fakes.folder / "one" / "importance.csv").set_index("parameter")["importance"]
    assert shares[LAMBDA] > 0.9
    assert shares.sum() == pytest.approx(1, abs=1e-4)


def test_where_nothing_completed_the_reason_is_said(fakes: World) -> None:
    sweep = sweep_of(fakes.folder)
    fakes.fails = lambda settings, seed: True
    study, failed = drive(sweep, FakePool(fakes))
    assert len(failed) == 3
    found = results(study, sweep)
    assert "fail" in render(sweep, found)
    assert list(write_plots(study, sweep, found, fakes.folder)) == [
        f"slice of {LAMBDA}: no trial completed.",
        "importance: one parameter is varied, it compares two or more.",
    ]


def test_ranges_and_names_can_be_drawn(fakes: World) -> None:
    sweep = sweep_of(
        fakes.folder,
        sampler={"name": "tpe", "startup": 2},
        trials=5,
        space={LAMBDA: {"float": [0.01, 1], "log": True}, "train.schedule": ["cosine", "constant"]},
    )
    study, _ = drive(sweep, FakePool(fakes))
    written = [
        path for path in write_plots(study, sweep, results(study, sweep), fakes.folder) if isinstance(path, Path)
    ]
    assert {path.stem for path in written} == {f"slice_{LAMBDA}", "slice_train.schedule", "importance"}


def test_progress_reads_whole_rows_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "stage" / "metrics.csv"
    progress = Course(path, "tuning_loss")
    assert progress.rows() == []
    path.parent.mkdir()
    path.write_text("step,loss,tuning_loss\n20,1.5,\n40,1.25,0.5\n60,1.0,0.")
    assert progress.rows() == [(40, 0.5)]
    assert progress.rows() == []
    with path.open("a") as handle:
        handle.write("25\n")
    assert progress.rows() == [(40, 0.5), (60, 0.25)]
    assert Course(tmp_path / "*" / "metrics.csv", "loss").rows() == [(20, 1.5), (40, 1.25), (60, 1.0)]
    with pytest.raises(RunError, match=r"found lost, valid: loss, tuning_loss"):
        Course(path, "lost").rows()
