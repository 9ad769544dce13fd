"""What decides whether a record stands for a published row, and which recipes are ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import table_records

from avbench.launch.missing import missing
from avbench.launch.planner import shell
from avbench.report.tables import entry
from avbench.report.tables.layout import lay_out
from avbench.report.tables.table import Table, TableRow
from avbench.report.tables.tables_of import tables_of

TABLE_4 = {"train.batch_size": 48, "train.accumulate": 4, "train.epochs": 12, "train.steps": 0}
PAPERS = {**TABLE_4, "train.init": "imagenet-mae", "method.masking_ratio": 0.75, "method.lambda_c": 0.01}


def table(results: Path, name: str, settings: dict[str, Any], task: str = "classification", **changes: Any) -> Table:
    """A table of one record on the paper's data, of weights that were given."""
    data = {
        "data": "audioset-20k",
        "weights": "checkpoint",
        "settings": {"data.source": "audioset-20k", **settings},
        **changes,
    }
    table_records.scored(results, "a", "cavmae", task, {"joint": 1.0}, **data)
    (found,) = tables_of(results, [name])
    return found


def cell(found: Table, first: str, column: int = 0) -> Any:
    return next(row for row in found.rows if isinstance(row, TableRow) and row.stub[0] == first).cells[column]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, ""),
        ({"train.init": "timm:vit_base_patch16_224.mae"}, "train.init imagenet-mae-encoder (imagenet-mae)"),
        ({"train.init": ""}, "train.init none (imagenet-mae)"),
        ({"train.accumulate": 1}, "train.accumulate 1 (4)"),
        ({"data.n_frames": 16, "task.frames": "all"}, "data.n_frames 16 (10)"),
        ({"data.n_frames": 10, "task.frames": "middle"}, "task.frames middle (all)"),
    ],
)
def test_a_record_of_another_recipe_is_marked_with_the_difference(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    found = table(tmp_path, "table_02a", {**PAPERS, **change})
    assert ("other_settings" in cell(found, "0.01").marks) == bool(told)
    assert told in " ".join(found.notes)


def test_structured_masks_of_our_form_are_marked_in_table_14(tmp_path: Path) -> None:
    settings = {**PAPERS, "method.masking_strategy": "time", "method.masking_form": "exact"}
    found = table(tmp_path / "ours", "table_14", settings)
    assert "method.masking_form exact (reference)" in " ".join(found.notes)
    assert cell(
        table(tmp_path / "theirs", "table_14", {**settings, "method.masking_form": "reference"}), "Time"
    ).marks == ("other_n",)


def test_a_probe_fills_no_cell_of_fine_tuning_and_the_papers_probe_is_the_frozen_loop(tmp_path: Path) -> None:
    frozen = {**PAPERS, "task.freeze": True}
    assert cell(table(tmp_path / "1", "table_02a", frozen), "0.01").mean is None
    assert cell(table(tmp_path / "2", "table_02i", frozen), "CAV-MAE").mean is not None
    assert cell(table(tmp_path / "3", "table_02i", PAPERS), "CAV-MAE").mean is None
    assert cell(table(tmp_path / "4", "table_02i", PAPERS, task="linear_probe"), "CAV-MAE").mean is None
    (column,) = lay_out(entry.load("table_02i"), "soundshapes").columns
    assert (column.task, dict(column.where)) == ("linear_probe", {})  # ours, by its name
    (todo,) = (
        line
        for line in shell(missing(tmp_path, [entry.load("table_02i")], None))
        if line.startswith("avbench run") and "--recipe cavmae/base" in line
    )
    assert "--task classification" in todo
    assert "--data audioset-20k" in todo
    assert "probe-audioset20k" in todo


@pytest.mark.parametrize("name", ["table_05", "table_08"])
def test_recipes_that_the_paper_does_not_state_are_marked_as_ours(name: str) -> None:
    loaded = entry.load(name)
    assert all(row.ours for row in loaded.rows if row.method)
    assert any("Our recipe" in note for note in loaded.notes)


def test_the_mark_stands_at_the_number_on_the_papers_data_alone(tmp_path: Path) -> None:
    settings = {"data.source": "msrvtt", "method.lambda_c": 0.1}
    table_records.retrieval(tmp_path, "a", "cavmae", 2.0, data="msrvtt", settings=settings)
    (found,) = tables_of(tmp_path, ["table_08"])
    assert "ours" in cell(found, "CAV-MAE, λ_c=0.1").marks
    assert any(note.startswith("¶ our recipe") for note in found.notes)
    table_records.retrieval(tmp_path, "b", "cavmae", 2.0, settings={"method.lambda_c": 0.1})
    (other,) = tables_of(tmp_path, ["table_08"], "soundshapes")
    assert cell(other, "CAV-MAE, λ_c=0.1").marks == ()


def test_the_two_weights_of_cav_are_two_rows(tmp_path: Path) -> None:
    todo = shell(missing(tmp_path, [entry.load("table_03")], None))
    made = [line for line in todo if "avbench pretrain" in line and "--recipe cav/" in line]
    assert len(made) == 2
    assert sum("--recipe cav/lambda-0.1 " in line for line in made) == 1


def test_table_4_shows_the_shares_of_a_batch() -> None:
    from avbench.report.tables import hyperparameters

    for passes, text in ((4, "4x27"), (1, "108")):
        settings = {"train": {"accumulate": passes}, "stage": {"name": "pretrain"}}
        assert hyperparameters.FORMS["batch"](108, settings) == text
    found = hyperparameters.build(entry.load("table_04"))
    assert [cell(found, "Batch size", column).text for column in range(5)] == ["4x27", "4x12", "36", "48", "48"]
