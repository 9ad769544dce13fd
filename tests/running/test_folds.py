"""Records of all folds: their numbers, and the table that shows them."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import table_records

from avbench.cli import main
from avbench.compare.outputs import Outputs, measured
from avbench.metrics.evidence import of_scores
from avbench.report.records import Records
from avbench.report.tables.table import Table, TableRow
from avbench.report.tables.tables_of import tables_of
from avbench.running.folds import pooled
from avbench.store.records import write_record

SIZES = (20, 30, 25)  # clips of each fold
SKILL = {"audiomae": 3.0, "cavmae": 0.5}


def fold_record(results: Path, method: str, seed: int, fold: int) -> dict[str, Any]:
    draw = np.random.default_rng([seed, fold])
    ids = np.array([f"clip{fold}-{i}" for i in range(SIZES[fold - 1])])
    target = np.arange(len(ids)) % table_records.CLASSES
    scores = np.eye(table_records.CLASSES)[target] * SKILL[method]
    scores = (scores + draw.standard_normal(scores.shape)).astype(np.float32)
    evidence = of_scores(ids, scores, target)
    found = table_records.record(
        f"{method}{seed}{fold}",
        method,
        "linear_probe",
        seed,
        data="esc50",
        ids_sha256=f"fold {fold}",
        n=len(ids),
        metrics={f"audio/{name}": value for name, value in evidence.values.items()},
        chance={"audio/top1": 1 / table_records.CLASSES},
        selection={},
        wall_s={"evaluate": 1.0},
        device_hours=0.1,
        settings={"data.fold": fold, "data.source": "esc50"},
    )
    hits = evidence.means["top1"].totals
    write_record(results, found, {"id": ids, "target": target, "audio/top1": hits, "audio/scores": scores})
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def whole(results: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """The records of all folds of two methods and three seeds."""
    singles = [fold_record(results, method, s, fold) for method in SKILL for s in range(3) for fold in (1, 2, 3)]
    return {(record["method"], record["seed"]): record for record, _, _ in pooled(singles, results)}


def row(table: Table, name: str) -> TableRow:
    return next(each for each in table.body if each.stub[0] == name)


def test_a_mean_over_folds_counts_each_alike_and_one_over_clips_each_clip(
    results: Path, whole: dict[tuple[str, int], dict[str, Any]]
) -> None:
    assert len(whole) == 6
    for record in whole.values():
        single = record["folds"]["metrics"]["audio/top1"]
        assert record["metrics"]["audio/folds/top1"] == pytest.approx(statistics.fmean(single))
        assert record["metrics"]["audio/top1"] == pytest.approx(np.average(single, weights=SIZES))
        assert record["chance"]["audio/folds/top1"] == pytest.approx(1 / table_records.CLASSES)
        low, high = record["ci95"]["audio/folds/top1"]
        assert low < record["metrics"]["audio/folds/top1"] < high
    found = (each for each in Records(results).rows if each.split == "folds" and each.method == "cavmae")
    rows = sorted(found, key=lambda each: each.seed)
    drawn = Outputs(results).sample(measured(rows, "audio/folds/top1"))
    assert drawn is not None
    means = [whole["cavmae", seed]["metrics"]["audio/folds/top1"] for seed in range(3)]
    assert drawn.values.tolist() == pytest.approx(means)
    assert np.abs(drawn.drawn.mean(axis=1) - means).max() < 0.02


def test_the_table_of_transfer_shows_means_over_folds_and_seeds(
    results: Path, whole: dict[tuple[str, int], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    (table,) = tables_of(results, ["table_transfer"])
    for method, name in (("audiomae", "Audio-MAE"), ("cavmae", "CAV-MAE")):
        cell = row(table, name).cells[0]
        means = [100 * whole[method, seed]["metrics"]["audio/folds/top1"] for seed in range(3)]
        assert cell.mean == pytest.approx(statistics.fmean(means))
        assert cell.sd == pytest.approx(statistics.stdev(means))
        assert (cell.n, cell.n_seeds) == (sum(SIZES), 3)
    assert row(table, "Audio-MAE").cells[0].best == "best"
    assert row(table, "CAV-MAE").cells[0].p_holm is not None
    assert not row(table, "Visual-MAE").cells[0].runnable
    capsys.readouterr()
    assert main(["tables", "--missing", "table_transfer", "--results", str(results)]) == 0
    commands = capsys.readouterr().out.splitlines()
    by_set = {name: [line for line in commands if f"--data {name} " in line] for name in ("esc50", "ucf101", "fsd50k")}
    assert {len(lines) for lines in by_set.values()} == {12 - 2, 12}  # two methods have their probe of ESC-50
    assert all(("--folds" in line) == (name != "fsd50k") for name, lines in by_set.items() for line in lines)


def test_other_tables_show_all_folds_of_a_set_rather_than_one(
    results: Path, whole: dict[tuple[str, int], dict[str, Any]]
) -> None:
    (table,) = tables_of(results, ["table_summary"], "esc50")
    cells = [cell for cell in row(table, "Audio-MAE").cells if cell.mean is not None]
    assert [cell.run_ids for cell in cells] == [tuple(whole["audiomae", seed]["id"] for seed in range(3))]
